//! Random models.

use proptest::prelude::*;
use zfl_nn::{Activation, Layer, Loss, Model, Shape};

const ACTIVATIONS: [Activation; 5] = [
    Activation::Identity,
    Activation::Relu,
    Activation::LeakyRelu,
    Activation::Tanh,
    Activation::Sigmoid,
];

fn activation() -> impl Strategy<Value = Activation> {
    prop::sample::select(&ACTIVATIONS[..])
}

/// A layer of an image; it may be larger than its input.
fn image_layer() -> impl Strategy<Value = Layer> {
    let conv = (1usize..=6, 1usize..=3, 1usize..=2, 0usize..=2, activation()).prop_map(
        |(filters, kernel, stride, padding, activation)| Layer::Conv2d {
            filters,
            kernel,
            stride,
            padding: padding.min(kernel - 1),
            activation,
        },
    );
    prop_oneof![
        3 => conv,
        1 => (1usize..=3).prop_map(|size| Layer::MaxPool { size }),
        1 => (1usize..=3).prop_map(|size| Layer::AveragePool { size }),
    ]
}

/// Up to three dense layers of at most `width_max` and one of outputs.
fn dense_layers(width_max: usize) -> impl Strategy<Value = Vec<Layer>> {
    let hidden = prop::collection::vec((1..=width_max, activation()), 0..=3);
    (hidden, 1usize..=6).prop_map(|(hidden, outputs)| {
        let last = (outputs, Activation::Identity);
        let dense = |(outputs, activation)| Layer::Dense {
            outputs,
            activation,
        };
        hidden.into_iter().chain([last]).map(dense).collect()
    })
}

fn loss() -> impl Strategy<Value = Loss> {
    prop::sample::select(&[Loss::CrossEntropy, Loss::SquaredError][..])
}

/// Perceptrons and convolutional networks, some of their layers frozen.
pub(crate) fn models(width_max: usize) -> impl Strategy<Value = Model> {
    let flat = (1..=width_max, dense_layers(width_max))
        .prop_map(|(inputs, layers)| (Shape::flat(inputs), layers));
    let image = (
        (1usize..=8, 1usize..=8, 1usize..=5),
        prop::collection::vec(image_layer(), 1..=4),
        dense_layers(width_max),
    )
        .prop_map(|((height, width, channels), image, dense)| {
            let shape = Shape::image(height, width, channels);
            let flatten = [Layer::Flatten].into_iter();
            let output = Layer::Dense {
                outputs: 1,
                activation: Activation::Identity,
            };
            // Only what fits on the layers before it stays.
            let mut layers = Vec::new();
            for layer in image {
                layers.push(layer);
                let whole: Vec<Layer> = layers.iter().copied().chain(flatten.clone()).collect();
                let whole = [&whole[..], &[output]].concat();
                if Model::new(shape, &whole, Loss::CrossEntropy).is_err() {
                    layers.pop();
                }
            }
            layers.extend(flatten.chain(dense));
            (shape, layers)
        });
    (prop_oneof![flat, image], loss(), 0usize..=3).prop_map(|((shape, layers), loss, frozen)| {
        let model = Model::new(shape, &layers, loss).unwrap();
        model.freeze(frozen).unwrap_or(model)
    })
}
