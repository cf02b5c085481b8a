//! A small data set that can be learnt, and the run without HTTP.

use std::time::Duration;

use zfl_nn::{
    Activation, Draw, Format, Hyperparameters, Initialisation, Loss, Memory, Model, Progress,
    Targets, Task, Training, ValueTable,
};
use zfl_seed::{Purpose, Stream};
use zfl_server::strategy::{Update, fed_avg};
use zfl_server::{
    Deadlines, Initial, Options, Plan, Policy, Schedule, Shares, TestSet, checkpoint,
};

pub(crate) const INPUT_COUNT: u32 = 16;
pub(crate) const CLASS_COUNT: u32 = 4;
const HIDDEN: u32 = 8;
const VALUE_SCALE: f32 = 1.0 / 16.0;
const TEST_SAMPLE_COUNT: u32 = 200;
/// Deadlines that no test means to meet.
pub(crate) const NEVER: Duration = Duration::from_secs(3600);

/// A pattern for each class, with noise; the shares differ in size.
#[derive(Clone)]
pub(crate) struct Patterns {
    shares: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Samples in the share of a client.
pub(crate) fn share_size(client: u32) -> u32 {
    20 + 7 * client
}

/// Samples of noisy patterns, and their labels.
fn draw(id: u32, sample_count: u32) -> (Vec<u8>, Vec<u8>) {
    let mut patterns = Stream::new(99, Purpose::Partition, u32::MAX);
    let patterns: Vec<u8> = (0..CLASS_COUNT * INPUT_COUNT)
        .map(|_| if patterns.below(2) == 0 { 0 } else { 16 })
        .collect();
    let mut noise = Stream::new(99, Purpose::Partition, id);
    let mut samples = Vec::new();
    let mut labels = Vec::new();
    for _ in 0..sample_count {
        let label = noise.below(CLASS_COUNT);
        let width = INPUT_COUNT as usize;
        for value in &patterns[label as usize * width..][..width] {
            samples.push(match noise.below(10) {
                0 => 16 - value,
                _ => *value,
            });
        }
        labels.push(label as u8);
    }
    (samples, labels)
}

impl Patterns {
    pub(crate) fn of_clients(client_count: u32) -> Self {
        Self {
            shares: (0..client_count)
                .map(|client| draw(client, share_size(client)))
                .collect(),
        }
    }

    fn share(&self, client: u32) -> &(Vec<u8>, Vec<u8>) {
        &self.shares[client as usize]
    }
}

impl Shares for Patterns {
    fn input_count(&self) -> u32 {
        INPUT_COUNT
    }
    fn class_count(&self) -> u32 {
        CLASS_COUNT
    }
    fn value_scale(&self) -> f32 {
        VALUE_SCALE
    }
    fn sample_count(&self, client: u32) -> u32 {
        share_size(client)
    }
    fn samples(&self, client: u32) -> Vec<u8> {
        self.share(client).0.clone()
    }
    fn targets(&self, client: u32) -> zfl_server::Targets {
        zfl_server::Targets::Labels(self.share(client).1.clone())
    }
}

pub(crate) fn test_set() -> TestSet {
    let (samples, labels) = draw(1_000_000, TEST_SAMPLE_COUNT);
    TestSet {
        samples,
        targets: zfl_server::Targets::Labels(labels),
        target_unit: 1.0,
        value_scale: VALUE_SCALE,
    }
}

/// All clients in every round, all of them needed; change what a test is
/// about.
pub(crate) fn options(client_count: u32) -> Options {
    Options {
        plan: Plan {
            seed: 7,
            task: Task {
                model: model(),
                hyperparameters: Hyperparameters::sgd(3, 8, 0.2),
                format: Format::F32,
            },
            initial: Initial::Drawn(Initialisation::Auto),
            rounds: 4,
            client_count,
            clients_per_round: client_count,
            quorum: client_count,
            policy: Policy::default(),
            schedule: Schedule::Constant,
            target_accuracy: None,
            resume: None,
        },
        deadlines: Deadlines {
            ready: NEVER,
            round: NEVER,
        },
        parallel: None,
        threads: 2,
    }
}

/// What a run comes to: for each round, from 0, accuracy and hash.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Course {
    pub(crate) accuracies: Vec<f64>,
    pub(crate) hashes: Vec<String>,
}

impl Course {
    pub(crate) fn add(&mut self, accuracy: f64, hash: String) {
        self.accuracies.push(accuracy);
        self.hashes.push(hash);
    }
}

pub(crate) fn model() -> Model {
    let widths = [HIDDEN as usize, CLASS_COUNT as usize];
    let inputs = INPUT_COUNT as usize;
    Model::mlp(inputs, &widths, Activation::Relu, Loss::CrossEntropy).unwrap()
}

pub(crate) fn parameter_count() -> usize {
    model().parameter_count()
}

/// The clients of a round, as the coordinator must draw them.
fn selection(plan: &Plan, round: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..plan.client_count).collect();
    Stream::for_round(plan.seed, Purpose::Selection, 0, round).shuffle(&mut order);
    order.split_off((plan.client_count - plan.clients_per_round) as usize)
}

/// The run without coordinator, client and HTTP: the trainer and the mean.
pub(crate) fn plain_run(options: &Options) -> Course {
    let plan = &options.plan;
    let (model, shares) = (model(), Patterns::of_clients(plan.client_count));
    let mut course = Course {
        accuracies: Vec::new(),
        hashes: Vec::new(),
    };
    let test = test_set();
    let zfl_server::Targets::Labels(labels) = &test.targets else {
        panic!("the problem has classes");
    };
    let table = ValueTable::new(VALUE_SCALE);
    let mut note = |global: &[f32]| {
        let mut scratch = vec![0.0; model.evaluation_len()];
        let evaluation = model
            .evaluate(
                global,
                &test.samples,
                Targets::Labels(labels),
                &table,
                &mut scratch,
            )
            .unwrap();
        course.add(evaluation.accuracy(), checkpoint::hash(global));
    };
    let mut global = vec![0.0; model.parameter_count()];
    let mut stream = Stream::new(plan.seed, Purpose::InitialWeights, 0);
    model
        .initialise(&mut global, Initialisation::Auto, &mut stream)
        .unwrap();
    note(&global);
    for round in 1..=plan.rounds {
        let mut updates = Vec::new();
        for client in selection(plan, round) {
            let (samples, labels) = shares.share(client);
            let mut hyperparameters = plan.task.hyperparameters;
            hyperparameters.learning_rate = plan
                .schedule
                .learning_rate(hyperparameters.learning_rate, round);
            let count = labels.len();
            let draw = Draw {
                seed: plan.seed,
                client,
                round,
            };
            let mut training = Training::new(model, hyperparameters, count, 1, draw).unwrap();
            let mut parameters = global.clone();
            let workspace_len = model.workspace_len::<f32>(count, &hyperparameters, 1);
            let mut memory = Memory {
                parameters: &mut parameters,
                workspace: &mut vec![0.0; workspace_len.total()],
                order: &mut vec![0; count],
                samples,
                targets: Targets::Labels(labels),
                table: &table,
                non_zero: None,
            };
            while training.advance(&mut memory, 1000).unwrap() == Progress::Working {}
            updates.push(Update {
                client,
                sample_count: share_size(client),
                staleness_weight: 1.0,
                parameters,
            });
        }
        global = fed_avg::aggregate(&mut updates).unwrap();
        note(&global);
    }
    course
}
