//! The global model as a safetensors file, and its hash.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use sha2::{Digest, Sha256};
use zfl_nn::Model;

/// Why a checkpoint could not be written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The tensors do not make a file.
    #[error("failed to encode checkpoint {path}")]
    Encode {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: safetensors::SafeTensorError,
    },
    /// The file cannot be written.
    #[error("failed to write checkpoint {path}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Writes the model: tensors `dense0.weight` of shape `[inputs, outputs]` or
/// `conv0.weight` of shape `[kernel rows, kernel columns, input channels,
/// filters]`, `dense0.bias` of shape `[outputs]`, and so on, `f32`. (PyTorch
/// keeps them transposed.) The metadata tell the round.
///
/// The file appears whole or not at all. Gives what it holds.
///
/// # Errors
/// When it cannot be encoded or written.
pub fn save(
    path: &Path,
    model: &Model,
    parameters: &[f32],
    round: u32,
) -> Result<Vec<u8>, CheckpointError> {
    let bytes = little_endian(parameters);
    let encode = |source| CheckpointError::Encode {
        path: path.to_owned(),
        source,
    };
    let mut tensors = Vec::new();
    let mut rest = &*bytes;
    let mut take = |count: usize| {
        let (head, tail) = rest
            .split_at_checked(count * size_of::<f32>())
            .unwrap_or((rest, &[]));
        rest = tail;
        head
    };
    for layer in model.tensors() {
        let shape = layer.weight_shape().to_vec();
        let weights = TensorView::new(Dtype::F32, shape, take(layer.weight_count));
        let bias = TensorView::new(Dtype::F32, vec![layer.bias_count], take(layer.bias_count));
        tensors.push((format!("{layer}.weight"), weights.map_err(encode)?));
        tensors.push((format!("{layer}.bias"), bias.map_err(encode)?));
    }
    // One entry only: several would come in any order, and equal models must
    // make equal files.
    let metadata = HashMap::from([("round".to_owned(), round.to_string())]);
    let file = safetensors::serialize(tensors, Some(metadata)).map_err(encode)?;
    let partial = path.with_extension("partial");
    std::fs::write(&partial, &file)
        .and_then(|()| std::fs::rename(&partial, path))
        .map(|()| file)
        .map_err(|source| CheckpointError::Write {
            path: path.to_owned(),
            source,
        })
}

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("failed to read {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no safetensors file.
    #[error("{} is no safetensors file: {source}", path.display())]
    Decode {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: safetensors::SafeTensorError,
    },
    /// It is of another model.
    #[error("{} is of another model: {what}", path.display())]
    OtherModel {
        /// Which file.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// It holds a number that is none.
    #[error("{}: value {index} of tensor `{tensor}` is not a finite number", path.display())]
    NonFinite {
        /// Which file.
        path: PathBuf,
        /// In which tensor.
        tensor: String,
        /// Which of its values, from 0.
        index: usize,
    },
}

/// Largest checkpoint that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 30;

/// Reads parameters of `model` from a file as [`save`] writes it. Tensors of
/// layers that the model does not have are an error, as are missing ones.
///
/// # Errors
/// When the file cannot be read, is of another model, or holds a number that
/// is not finite.
pub fn load(path: &Path, model: &Model) -> Result<Vec<f32>, LoadError> {
    let read = |source| LoadError::Read {
        path: path.to_owned(),
        source,
    };
    let other = |what| LoadError::OtherModel {
        path: path.to_owned(),
        what,
    };
    let bytes_max = std::fs::metadata(path).map_err(read)?.len();
    if bytes_max > FILE_BYTES_MAX {
        return Err(other(format!("{bytes_max} bytes are too many")));
    }
    let file = std::fs::read(path).map_err(read)?;
    let tensors =
        safetensors::SafeTensors::deserialize(&file).map_err(|source| LoadError::Decode {
            path: path.to_owned(),
            source,
        })?;
    let mut parameters = Vec::with_capacity(model.parameter_count());
    let mut known = Vec::new();
    for layer in model.tensors() {
        let bias_shape = [layer.bias_count];
        for (name, shape) in [
            (format!("{layer}.weight"), layer.weight_shape()),
            (format!("{layer}.bias"), bias_shape.as_slice()),
        ] {
            let Ok(view) = tensors.tensor(&name) else {
                let names = tensors.names().join(", ");
                return Err(other(format!("no tensor `{name}` among {names}")));
            };
            if view.dtype() != Dtype::F32 || view.shape() != shape {
                return Err(other(format!(
                    "tensor `{name}` is {:?} {:?}, the model has F32 {shape:?}",
                    view.dtype(),
                    view.shape(),
                )));
            }
            let values = from_little_endian(view.data());
            if let Some(index) = values.iter().position(|value| !value.is_finite()) {
                return Err(LoadError::NonFinite {
                    path: path.to_owned(),
                    tensor: name,
                    index,
                });
            }
            parameters.extend(values);
            known.push(name);
        }
    }
    match tensors
        .names()
        .into_iter()
        .find(|name| !known.iter().any(|known| known == name))
    {
        Some(name) => Err(other(format!("the model has no tensor `{name}`"))),
        None => Ok(parameters),
    }
}

/// SHA-256 of the parameters as little-endian `f32`, in hexadecimal: equal
/// exactly when the models are, bit for bit.
pub fn hash(parameters: &[f32]) -> String {
    let digest = Sha256::digest(little_endian(parameters));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The parameters as they go over the wire.
pub(crate) fn little_endian(parameters: &[f32]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        return Cow::Borrowed(bytemuck::cast_slice(parameters));
    }
    let bytes = parameters.iter().flat_map(|value| value.to_le_bytes());
    Cow::Owned(bytes.collect())
}

/// The parameters of a payload; a part of a value at its end is left out.
pub(crate) fn from_little_endian(payload: &[u8]) -> Vec<f32> {
    let (values, _) = payload.as_chunks::<{ size_of::<f32>() }>();
    let mut parameters = vec![0.0f32; values.len()];
    bytemuck::cast_slice_mut(&mut parameters).copy_from_slice(values.as_flattened());
    if cfg!(target_endian = "big") {
        for value in &mut parameters {
            *value = f32::from_le_bytes(value.to_ne_bytes());
        }
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;
    use zfl_nn::{Activation, Loss};

    #[test]
    fn a_checkpoint_can_be_read_back() {
        let model = Model::mlp(3, &[2, 2], Activation::Relu, Loss::CrossEntropy).unwrap();
        let parameters: Vec<f32> = (0..14).map(|i| i as f32 * 0.5).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("round-001.safetensors");
        save(&path, &model, &parameters, 1).unwrap();
        let file = std::fs::read(&path).unwrap();
        for _ in 0..8 {
            save(&path, &model, &parameters, 1).unwrap();
            assert!(
                std::fs::read(&path).unwrap() == file,
                "same model, same file"
            );
        }
        let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
        let view = tensors.tensor("dense1.weight").unwrap();
        assert_eq!(view.shape(), [2, 2]);
        assert_eq!(view.data(), &*little_endian(&parameters[8..12]));
        assert_eq!(
            tensors.tensor("dense0.bias").unwrap().data(),
            &*little_endian(&parameters[6..8])
        );
        assert_eq!(hash(&parameters).len(), 64);
        assert_ne!(hash(&parameters), hash(&parameters[1..]));

        assert_eq!(from_little_endian(&little_endian(&parameters)), parameters);
        assert_eq!(from_little_endian(&[0, 0, 128, 63, 1]), [1.0]);

        assert_eq!(load(&path, &model).unwrap(), parameters);
        let check = |path: &Path, model: &Model, text: &str| {
            let error = load(path, model).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        };
        let of =
            |widths: &[usize]| Model::mlp(3, widths, Activation::Relu, Loss::CrossEntropy).unwrap();
        check(
            &path,
            &of(&[4, 2]),
            "`dense0.weight` is F32 [3, 2], the model has F32 [3, 4]",
        );
        check(&path, &of(&[2, 2, 2]), "no tensor `dense2.weight`");
        check(&path, &of(&[2]), "the model has no tensor `dense1.");
        check(&folder.path().join("none"), &model, "failed to read");
        let text = folder.path().join("text");
        std::fs::write(&text, "no tensors").unwrap();
        check(&text, &model, "is no safetensors file");
        let mut with_nan = parameters.clone();
        with_nan[9] = f32::NAN;
        save(&text, &model, &with_nan, 1).unwrap();
        check(
            &text,
            &model,
            "value 1 of tensor `dense1.weight` is not a finite number",
        );

        let missing = folder.path().join("none/x.safetensors");
        let error = save(&missing, &model, &parameters, 1).unwrap_err();
        assert!(error.to_string().contains("none/x.safetensors"), "{error}");
    }
}
