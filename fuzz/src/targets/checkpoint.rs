//! Checkpoints: what is loaded suits the model, is finite, and is the same
//! when it was saved and loaded again.

use std::path::PathBuf;
use std::sync::LazyLock;

use zfl_nn::{Activation, Layer, Loss, Model, Shape};
use zfl_server::checkpoint::{LoadError, hash, load, save};

use crate::input::Input;

static MODELS: LazyLock<[Model; 2]> = LazyLock::new(models);

/// The models that checkpoints are loaded for.
pub(crate) fn models() -> [Model; 2] {
    let dense = Model::mlp(3, &[2, 2], Activation::Relu, Loss::CrossEntropy);
    let conv = Model::new(
        Shape::image(4, 4, 1),
        &[
            Layer::Conv2d {
                filters: 2,
                kernel: 3,
                stride: 1,
                padding: 0,
                activation: Activation::Relu,
            },
            Layer::Flatten,
            Layer::Dense {
                outputs: 2,
                activation: Activation::Identity,
            },
        ],
        Loss::CrossEntropy,
    );
    [dense, conv].map(|model| model.expect("a model"))
}

static FILE: LazyLock<PathBuf> = LazyLock::new(|| crate::targets::scratch("safetensors"));

/// The first byte says which model it is for.
pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let model = &MODELS[usize::from(input.byte() & 1)];
    std::fs::write(&*FILE, input.rest()).expect("room for a file");
    let found = load(&FILE, model);
    match found {
        Ok(parameters) => {
            assert_eq!(parameters.len(), model.parameter_count());
            assert!(parameters.iter().all(|value| value.is_finite()));
            save(&FILE, model, &parameters, 1).expect("room for a file");
            let again = load(&FILE, model).expect("what was saved");
            assert_eq!(hash(&again), hash(&parameters));
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("zfl-fuzz-"), "{text}");
            assert!(!matches!(error, LoadError::Read { .. }), "{text}");
        }
    }
    std::fs::remove_file(&*FILE).expect("the file that was written");
}
