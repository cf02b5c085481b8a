//! One client-round of W1 and of W2 (MNIST) on the host, as a yardstick:
//! `client_round FOLDER [W1|W2]`, where FOLDER holds the unpacked IDX files.
#![expect(clippy::print_stdout, reason = "an example reports")]

use std::error::Error;
use std::time::Instant;

use zfl_nn::{
    Activation, Draw, Hyperparameters, Initialisation, Loss, Memory, Model, NonZeroBuffer,
    Progress, Targets, Training, ValueTable,
};
use zfl_seed::{Purpose, Stream};

const INPUT_COUNT: usize = 784;

fn run(
    name: &str,
    widths: &[usize],
    batch: usize,
    count: usize,
    epochs: u32,
    block: usize,
    sparse: bool,
) -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).unwrap_or_default();
    let images = std::fs::read(format!("{file}/train-images-idx3-ubyte"))?;
    let labels = std::fs::read(format!("{file}/train-labels-idx1-ubyte"))?;
    let samples = &images[16..][..count * INPUT_COUNT];
    let labels = &labels[8..][..count];
    let model = Model::mlp(INPUT_COUNT, widths, Activation::Relu, Loss::CrossEntropy)?;
    let hyper = Hyperparameters::sgd(epochs, batch, 0.1);
    let mut parameters = vec![0.0; model.parameter_count()];
    model.initialise(
        &mut parameters,
        Initialisation::Auto,
        &mut Stream::new(1, Purpose::InitialWeights, 0),
    )?;
    let len = model.workspace_len::<f32>(count, &hyper, block).total();
    let mut workspace = vec![0.0; len];
    let mut order = vec![0; count];
    let table = ValueTable::new(1.0 / 255.0);
    let mut non_zero = NonZeroBuffer::default();
    let began = Instant::now();
    non_zero.find(samples, INPUT_COUNT, &table)?;
    println!("find {:?}", began.elapsed());
    for _ in 0..30 {
        let began = cpu();
        let draw = Draw {
            seed: 1,
            client: 0,
            round: 1,
        };
        let mut training = Training::new(model, hyper, count, block, draw)?;
        let mut memory = Memory {
            parameters: &mut parameters,
            workspace: &mut workspace,
            order: &mut order,
            samples,
            targets: Targets::Labels(labels),
            table: &table,
            non_zero: sparse.then(|| non_zero.view()),
        };
        while training.advance(&mut memory, 256)? == Progress::Working {}
        let elapsed = std::time::Duration::from_nanos(cpu() - began);
        println!(
            "{name} block {block} sparse {sparse}: {:.1} ms, {:.3} us a sample, accuracy {:.3}",
            elapsed.as_secs_f64() * 1e3,
            elapsed.as_secs_f64() * 1e6 / (count * epochs as usize) as f64,
            training.last_epoch().accuracy()
        );
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let which = std::env::args().nth(2).unwrap_or_default();
    for (block, sparse) in [(16, true), (1, false)] {
        if block == 1 && !which.is_empty() {
            continue;
        }
        if which != "W2" {
            run("W1", &[16, 10], 600, 1200, 5, block, sparse)?;
        }
        if which != "W1" {
            run("W2", &[200, 200, 10], 10, 600, 1, block, sparse)?;
        }
    }
    Ok(())
}

fn cpu() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|t| t.parse().ok())
        .unwrap_or(0)
}
