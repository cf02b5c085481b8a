//! One client's round of the MNIST experiment on the host: 1,200 samples of
//! 784 inputs, a fifth of them not zero, 5 epochs, batches of 600, a 784-16-10
//! network. Prints how long it took, as a yardstick for what an emulator takes
//! for the same work on the same machine at the same moment.
#![expect(clippy::print_stdout, reason = "an example reports")]

use std::error::Error;
use std::time::Instant;

use zfl_nn::{Activation, Hyperparameters, Layer, Memory, Mlp, Progress, Training, ValueTable};
use zfl_seed::{Purpose, Stream};

const SAMPLE_COUNT: usize = 1200;
const INPUT_COUNT: usize = 784;
const CLASS_COUNT: u32 = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let model = Mlp::new(
        INPUT_COUNT,
        &[
            Layer {
                output_count: 16,
                activation: Activation::Relu,
            },
            Layer {
                output_count: 10,
                activation: Activation::Identity,
            },
        ],
    )?;
    let mut stream = Stream::new(1, Purpose::Partition, 0);
    let mut samples = Vec::with_capacity(SAMPLE_COUNT * INPUT_COUNT);
    for _ in 0..SAMPLE_COUNT * INPUT_COUNT {
        let value = match stream.below(5) {
            0 => stream.below(255) + 1,
            _ => 0,
        };
        samples.push(u8::try_from(value)?);
    }
    let labels = (0..SAMPLE_COUNT)
        .map(|_| u8::try_from(stream.below(CLASS_COUNT)))
        .collect::<Result<Vec<_>, _>>()?;
    let hyperparameters = Hyperparameters {
        epochs: 5,
        batch_size: 600,
        learning_rate: 0.1,
    };
    let mut parameters = vec![0.0; model.parameter_count()];
    model.initialise(
        &mut parameters,
        &mut Stream::new(1, Purpose::InitialWeights, 0),
    )?;
    let mut workspace = vec![0.0; model.workspace_len(SAMPLE_COUNT, hyperparameters.batch_size)];
    let mut order = vec![0; SAMPLE_COUNT];
    let table = ValueTable::new(1.0 / 255.0);

    let began = Instant::now();
    let mut training = Training::new(model, hyperparameters, SAMPLE_COUNT, 1, 0, 1)?;
    let mut memory = Memory {
        parameters: &mut parameters,
        workspace: &mut workspace,
        order: &mut order,
        samples: &samples,
        labels: &labels,
        table: &table,
    };
    while training.advance(&mut memory, 1024)? == Progress::Working {}
    println!(
        "host time {:.1} ms, loss {:.4} in the last epoch",
        began.elapsed().as_secs_f64() * 1e3,
        training.last_epoch().loss()
    );
    Ok(())
}
