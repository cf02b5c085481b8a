//! The trainer against numpy: `golden/generate.py` wrote the cases in double
//! precision and documents their form.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod train;

use std::fs;
use std::path::Path;
use std::str::FromStr;

use train::{Case, Way};
use zfl_nn::{
    Activation, BLOCK_FAST, Draw, Hyperparameters, Layer, Loss, Model, Rounding, Shape, Targets,
    ValueTable,
};

/// Largest difference from double precision: of `x`, `2e-5 × max(1, |x|)`.
const TOLERANCE: f64 = 2e-5;

/// The lines of a case.
struct Golden(Vec<(String, String)>);

impl Golden {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| line.split_once(": ").unwrap())
            .map(|(key, values)| (key.to_owned(), values.to_owned()));
        Self(lines.collect())
    }

    fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let of_key = self.0.iter().filter(move |line| line.0 == key);
        of_key.map(|line| line.1.as_str())
    }

    fn has(&self, key: &str) -> bool {
        self.all(key).next().is_some()
    }

    fn text<'a>(&'a self, key: &'a str) -> &'a str {
        let mut lines = self.all(key);
        let line = lines.next().unwrap();
        assert!(lines.next().is_none(), "{key} twice");
        line
    }

    fn list<T: FromStr>(&self, key: &str) -> Vec<T> {
        self.text(key).split(' ').map(number).collect()
    }

    fn one<T: FromStr>(&self, key: &str) -> T {
        number(self.text(key))
    }

    fn model(&self) -> Model {
        let [height, width, channels] = self.list("input")[..] else {
            panic!("input");
        };
        let layers: Vec<Layer> = self.all("layer").map(layer).collect();
        let loss = match self.text("loss") {
            "cross-entropy" => Loss::CrossEntropy,
            "mean-squared-error" => Loss::SquaredError,
            other => panic!("loss {other}"),
        };
        let model = Model::new(Shape::image(height, width, channels), &layers, loss).unwrap();
        model.freeze(self.one("frozen")).unwrap()
    }

    fn hyperparameters(&self) -> Hyperparameters {
        Hyperparameters {
            epochs: self.one("epochs"),
            batch_size: self.one("batch-size"),
            learning_rate: self.one("learning-rate"),
            momentum: self.one("momentum"),
            nesterov: self.text("nesterov") == "1",
            weight_decay: self.one("weight-decay"),
            clip_norm: self.one("clip-norm"),
            proximal: self.one("proximal"),
            rounding: Rounding::Nearest,
        }
    }
}

fn number<T: FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("number {text:?}"))
}

fn layer(text: &str) -> Layer {
    let words: Vec<&str> = text.split(' ').collect();
    let activation = |name: &str| match name {
        "identity" => Activation::Identity,
        "relu" => Activation::Relu,
        "leaky-relu" => Activation::LeakyRelu,
        "tanh" => Activation::Tanh,
        "sigmoid" => Activation::Sigmoid,
        other => panic!("activation {other}"),
    };
    match words[..] {
        ["dense", outputs, name] => Layer::Dense {
            outputs: number(outputs),
            activation: activation(name),
        },
        ["conv", filters, kernel, stride, padding, name] => Layer::Conv2d {
            filters: number(filters),
            kernel: number(kernel),
            stride: number(stride),
            padding: number(padding),
            activation: activation(name),
        },
        ["max-pool", size] => Layer::MaxPool { size: number(size) },
        ["average-pool", size] => Layer::AveragePool { size: number(size) },
        ["flatten"] => Layer::Flatten,
        _ => panic!("layer {text}"),
    }
}

#[track_caller]
fn assert_near(what: &str, found: f64, expected: f64) {
    let most = TOLERANCE * expected.abs().max(1.0);
    assert!(
        (found - expected).abs() <= most,
        "{what}: {found}, numpy found {expected}"
    );
}

fn check(path: &Path) {
    let name = path.display();
    let golden = Golden::read(path);
    let (labels, values): (Vec<u8>, Vec<f32>) = if golden.has("labels") {
        (golden.list("labels"), Vec::new())
    } else {
        (Vec::new(), golden.list("targets"))
    };
    let samples: Vec<u8> = golden.list("bytes");
    let initial: Vec<f32> = golden.list("initial");
    let mut case = Case {
        model: golden.model(),
        hyperparameters: golden.hyperparameters(),
        draw: Draw {
            seed: golden.one("seed"),
            client: golden.one("client"),
            round: golden.one("round"),
        },
        samples: &samples,
        targets: if golden.has("labels") {
            Targets::Labels(&labels)
        } else {
            Targets::Values(&values)
        },
        scale: golden.one("value-scale"),
    };
    let orders: Vec<&str> = golden.all("order").collect();
    let losses: Vec<f64> = golden.list("epoch-losses");
    let expected: Vec<f64> = golden.list("final");
    for block in [1, BLOCK_FAST] {
        let way = Way {
            block,
            units: 7,
            sparse: block > 1,
        };
        let mut parameters = Vec::new();
        // As many epochs at first as are needed to see each one's loss.
        for (epochs, (order, loss)) in (1..).zip(orders.iter().zip(&losses)) {
            case.hyperparameters.epochs = epochs;
            let trained = case.train(&initial, way, f32::NAN).unwrap();
            let order: Vec<u16> = order.split(' ').map(number).collect();
            assert_eq!(trained.order, order, "{name}: order of epoch {epochs}");
            let what = format!("{name}: loss of epoch {epochs}");
            assert_near(&what, trained.last_epoch.loss(), *loss);
            assert_near(&name.to_string(), trained.first_epoch.loss(), losses[0]);
            parameters = trained.parameters;
        }
        assert_eq!(case.hyperparameters, golden.hyperparameters(), "{name}");
        assert_eq!(parameters.len(), expected.len(), "{name}");
        for (index, (found, expected)) in parameters.iter().zip(&expected).enumerate() {
            let what = format!("{name}: parameter {index}");
            assert_near(&what, f64::from(*found), *expected);
        }
        let frozen = case.model.frozen_parameter_count();
        assert_eq!(parameters[..frozen], initial[..frozen], "{name}");
        let mut scratch = vec![f32::NAN; case.model.evaluation_len()];
        let evaluation = case
            .model
            .evaluate(
                &parameters,
                &samples,
                case.targets,
                &ValueTable::new(case.scale),
                &mut scratch,
            )
            .unwrap();
        assert_eq!(evaluation.sample_count, golden.one::<usize>("samples"));
        assert_near(
            &name.to_string(),
            evaluation.loss(),
            golden.one("final-loss"),
        );
        if golden.has("final-correct") {
            let correct: usize = golden.one("final-correct");
            assert_eq!(evaluation.correct_count, correct, "{name}");
        }
    }
}

#[test]
fn training_agrees_with_numpy() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            check(&path);
            count += 1;
        }
    }
    assert_eq!(count, 10, "golden cases");
}
