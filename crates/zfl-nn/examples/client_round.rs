//! Times one client-round of the two MNIST workloads on the host, as a yardstick:
//!
//! ```sh
//! cargo run --release -p zfl-nn --features std --example client_round        # W1
//! cargo run --release -p zfl-nn --features std --example client_round W2
//! ```
//!
//! MNIST is looked for as `zfl run` does. The shortest of several times is what the
//! machine can do; the others are what else it does.
#![expect(clippy::print_stdout, reason = "an example reports")]

use std::error::Error;
use std::time::{Duration, Instant};

use zfl_data::{LoadOptions, SearchPath};
use zfl_nn::{
    Activation, BLOCK_FAST, Draw, Hyperparameters, Initialisation, Loss, Memory, Model,
    NonZeroBuffer, Progress, Targets, Training, ValueTable,
};
use zfl_seed::{Purpose, Stream};

const SEED: u64 = 1;
const REPETITIONS: usize = 30;
/// Work of one call; on the host nothing else waits.
const UNITS: usize = 256;

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        None | Some("W1") => time(&[16, 10], 1200, Hyperparameters::sgd(5, 600, 0.1)),
        Some("W2") => time(&[200, 200, 10], 600, Hyperparameters::sgd(1, 10, 0.1)),
        Some(other) => Err(format!("`{other}`, expected W1 or W2").into()),
    }
}

fn time(widths: &[usize], count: usize, how: Hyperparameters) -> Result<(), Box<dyn Error>> {
    let search = SearchPath::from_environment(None);
    let data = zfl_data::load("mnist", &LoadOptions::new(search, SEED))?.train;
    let inputs = data.input_count();
    let samples = data.samples().get(..count * inputs).ok_or("too few")?;
    let labels = data.labels().get(..count).ok_or("too few")?;
    let model = Model::mlp(inputs, widths, Activation::Relu, Loss::CrossEntropy)?;
    let mut initial = vec![0.0; model.parameter_count()];
    let mut stream = Stream::new(SEED, Purpose::InitialWeights, 0);
    model.initialise(&mut initial, Initialisation::Auto, &mut stream)?;
    let table = ValueTable::new(data.value_scale());
    let mut non_zero = NonZeroBuffer::default();
    non_zero.find(samples, inputs)?;

    for (name, block, knows_zeros) in [
        ("as native clients", BLOCK_FAST, true),
        ("as devices", 1, false),
    ] {
        let len = model.workspace_len::<f32>(count, &how, block).total();
        let mut workspace = vec![0.0; len];
        let mut order = vec![0; count];
        let mut shortest = Duration::MAX;
        let mut accuracy = 0.0;
        for _ in 0..REPETITIONS {
            let mut parameters = initial.clone();
            let began = Instant::now();
            let draw = Draw {
                seed: SEED,
                client: 0,
                round: 1,
            };
            let mut training = Training::new(model, how, count, block, draw)?;
            let mut memory = Memory {
                parameters: &mut parameters,
                workspace: &mut workspace,
                order: &mut order,
                samples,
                targets: Targets::Labels(labels),
                table: &table,
                non_zero: knows_zeros.then(|| non_zero.view()),
            };
            while training.advance(&mut memory, UNITS)? == Progress::Working {}
            shortest = shortest.min(began.elapsed());
            accuracy = training.last_epoch().accuracy();
        }
        println!(
            "{name:<18} {:6.2} ms, accuracy of the last epoch {accuracy:.3}",
            shortest.as_secs_f64() * 1e3
        );
    }
    Ok(())
}
