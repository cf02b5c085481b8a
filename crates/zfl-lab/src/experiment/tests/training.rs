//! The table `training`.

use insta::assert_snapshot;

use super::*;

#[test]
fn training_that_cannot_be() {
    let training = |lines: &str| refused(&format!("[training]\n{lines}\n"));
    assert_snapshot!(training("batch-size = 0"), @r"
    trial.toml:2:14: `training.batch-size` is 0
    | batch-size = 0
    |              ^
    help: `training.batch-size`: a whole number from 1 to 65535
    ");
    assert_snapshot!(training("loss = \"hinge\""), @r#"
    trial.toml:2:8: `training.loss` is "hinge"
    | loss = "hinge"
    |        ^^^^^^^
    help: `training.loss`: "cross-entropy" or "mean-squared-error"
    "#);
    assert_snapshot!(training("momentum = 1"), @r"
    trial.toml:2:12: `training.momentum` is 1
    | momentum = 1
    |            ^
    help: `training.momentum`: a number from 0, below 1
    ");
    assert_snapshot!(training("momentum = 0.99999999999"), @r"
    trial.toml:2:12: `training.momentum` is 0.99999999999
    | momentum = 0.99999999999
    |            ^^^^^^^^^^^^^
    help: `training.momentum`: a number from 0, below 1
    ");
    assert_snapshot!(training("momentum = -0.5"), @r"
    trial.toml:2:12: `training.momentum` is -0.5
    | momentum = -0.5
    |            ^^^^
    help: `training.momentum`: a number from 0, below 1
    ");
    assert_snapshot!(training("nesterov = true"), @r"
    trial.toml:2:12: `training.nesterov` without momentum
    | nesterov = true
    |            ^^^^
    help: set `training.momentum`, such as 0.9, or leave nesterov out
    ");
    assert_snapshot!(training("nesterov = 1"), @r"
    trial.toml:2:12: `training.nesterov`: invalid type: integer `1`, expected a boolean
    | nesterov = 1
    |            ^
    help: `training.nesterov`: true or false; true only with training.momentum above 0
    ");
    assert_snapshot!(training("weight-decay = -1e-4"), @r"
    trial.toml:2:16: `training.weight-decay` is -1e-4
    | weight-decay = -1e-4
    |                ^^^^^
    help: `training.weight-decay`: a number from 0 that single precision can hold
    ");
    assert_snapshot!(training("clip-norm = 0"), @r"
    trial.toml:2:13: `training.clip-norm` is 0
    | clip-norm = 0
    |             ^
    help: `training.clip-norm`: a number above 0 that single precision can hold
    ");
    assert_snapshot!(training("proximal = 1e39"), @r"
    trial.toml:2:12: `training.proximal` is 1e39
    | proximal = 1e39
    |            ^^^^
    help: `training.proximal`: a number from 0 that single precision can hold
    ");
    assert_snapshot!(training("momentun = 0.9"), @r"
    trial.toml:2:1: unknown key `momentun` in `training`
    | momentun = 0.9
    | ^^^^^^^^
    help: did you mean `momentum`? allowed in `training`: epochs, batch-size, learning-rate, loss, momentum, nesterov, weight-decay, clip-norm, proximal, arithmetic, weight-bits, rounding, schedule
    ");
    assert_snapshot!(training("arithmetic = \"float\""), @r#"
    trial.toml:2:14: `training.arithmetic` is "float"
    | arithmetic = "float"
    |              ^^^^^^^
    help: `training.arithmetic`: "f32" or "fixed"
    "#);
    assert_snapshot!(training("arithmetic = \"fixed\"\nweight-bits = 12"), @r#"
    trial.toml:3:15: `training.weight-bits` is 12
    | weight-bits = 12
    |               ^^
    help: `training.weight-bits`: 32, 16 or 8; only with training.arithmetic = "fixed"
    "#);
    assert_snapshot!(training("arithmetic = \"fixed\"\nrounding = \"up\""), @r#"
    trial.toml:3:12: `training.rounding` is "up"
    | rounding = "up"
    |            ^^^^
    help: `training.rounding`: "nearest" or "stochastic"; only with training.arithmetic = "fixed"
    "#);
    assert_snapshot!(training("weight-bits = 8"), @r#"
    trial.toml:2:15: `training.weight-bits` without fixed-point arithmetic
    | weight-bits = 8
    |               ^
    help: set `training.arithmetic = "fixed"`, or leave weight-bits out
    "#);
    assert_snapshot!(training("arithmetic = \"f32\"\nrounding = \"nearest\""), @r#"
    trial.toml:3:12: `training.rounding` without fixed-point arithmetic
    | rounding = "nearest"
    |            ^^^^^^^^^
    help: set `training.arithmetic = "fixed"`, or leave rounding out
    "#);
    assert_snapshot!(training("arithmetic = \"fixed\"\nmomentum = 0.9"), @r#"
    trial.toml:3:12: `training.momentum` with fixed-point arithmetic
    | momentum = 0.9
    |            ^^^
    help: fixed-point training is plain gradient descent: leave `training.momentum` out, or set `training.arithmetic = "f32"`
    "#);
    assert_snapshot!(training("arithmetic = \"fixed\"\nweight-decay = 1e-4"), @r#"
    trial.toml:3:16: `training.weight-decay` with fixed-point arithmetic
    | weight-decay = 1e-4
    |                ^^^^
    help: fixed-point training is plain gradient descent: leave `training.weight-decay` out, or set `training.arithmetic = "f32"`
    "#);
    assert_snapshot!(training("arithmetic = \"fixed\"\nclip-norm = 5"), @r#"
    trial.toml:3:13: `training.clip-norm` with fixed-point arithmetic
    | clip-norm = 5
    |             ^
    help: fixed-point training is plain gradient descent: leave `training.clip-norm` out, or set `training.arithmetic = "f32"`
    "#);
    assert_snapshot!(training("arithmetic = \"fixed\"\nproximal = 0.1"), @r#"
    trial.toml:3:12: `training.proximal` with fixed-point arithmetic
    | proximal = 0.1
    |            ^^^
    help: fixed-point training is plain gradient descent: leave `training.proximal` out, or set `training.arithmetic = "f32"`
    "#);
}

#[test]
fn arithmetic_has_its_defaults() {
    let arithmetic = |lines: &str| {
        experiment(&format!("[training]\n{lines}\n"), &[])
            .training
            .arithmetic
    };
    let fixed = |weight_bits, rounding| Arithmetic::Fixed {
        weight_bits,
        rounding,
    };
    assert_eq!(arithmetic(""), Arithmetic::F32);
    let text = "arithmetic = \"fixed\"\nmomentum = 0\nproximal = 0.0\nnesterov = false";
    assert_eq!(
        arithmetic(text),
        fixed(WeightBits::ThirtyTwo, Rounding::Nearest)
    );
    let text = "arithmetic = \"fixed\"\nweight-bits = 16";
    assert_eq!(
        arithmetic(text),
        fixed(WeightBits::Sixteen, Rounding::Stochastic)
    );
    let text = "arithmetic = \"fixed\"\nweight-bits = 8";
    assert_eq!(
        arithmetic(text),
        fixed(WeightBits::Eight, Rounding::Stochastic)
    );
    let text = "arithmetic = \"fixed\"\nweight-bits = 8\nrounding = \"nearest\"";
    assert_eq!(
        arithmetic(text),
        fixed(WeightBits::Eight, Rounding::Nearest)
    );
}

#[test]
fn schedules_that_cannot_be() {
    let schedule = |text: &str| refused(&format!("[training.schedule{text}\n"));
    assert_snapshot!(schedule("]"), @r"
    trial.toml:1:1: `training.schedule` says nothing
    | [training.schedule]
    | ^^^^^^^^^^^^^^^^^^^
    help: `training.schedule`: exactly one of the tables step, exponential, cosine, warm-up
    ");
    assert_snapshot!(schedule(".step]\nevery = 10"), @r"
    trial.toml:1:1: `training.schedule.step`: missing key `factor`
    | [training.schedule.step]
    | ^^^^^^^^^^^^^^^^^^^^^^^^
    help: `training.schedule.step`: a table with every and factor
    ");
    assert_snapshot!(schedule(".step]\nevery = 0\nfactor = 0.5"), @r"
    trial.toml:2:9: `training.schedule.step.every` is 0
    | every = 0
    |         ^
    help: `training.schedule.step.every`: a whole number of rounds from 1 to 1000000
    ");
    assert_snapshot!(schedule(".step]\nevery = 1\nfactor = 1.5"), @r"
    trial.toml:3:10: `training.schedule.step.factor` is 1.5
    | factor = 1.5
    |          ^^^
    help: `training.schedule.step.factor`: a number above 0, at most 1
    ");
    assert_snapshot!(schedule(".exponential]\nfactor = 0"), @r"
    trial.toml:2:10: `training.schedule.exponential.factor` is 0
    | factor = 0
    |          ^
    help: `training.schedule.exponential.factor`: a number above 0, at most 1
    ");
    assert_snapshot!(schedule(".cosine]\nminimum = 0.2"), @r"
    trial.toml:2:11: `training.schedule.cosine.minimum` is 0.2
    | minimum = 0.2
    |           ^^^
    help: `training.schedule.cosine.minimum`: a number from 0 to training.learning-rate
    ");
    assert_snapshot!(schedule(".warm-up]\nrounds = 1_000_001"), @r"
    trial.toml:2:10: `training.schedule.warm-up.rounds` is 1_000_001
    | rounds = 1_000_001
    |          ^^^^^^^^^
    help: `training.schedule.warm-up.rounds`: a whole number of rounds from 1 to 1000000
    ");
    assert_snapshot!(schedule(".warmup]\nrounds = 5"), @r"
    trial.toml:1:20: unknown key `warmup` in `training.schedule`
    | [training.schedule.warmup]
    |                    ^^^^^^
    help: did you mean `warm-up`? allowed in `training.schedule`: step, exponential, cosine, warm-up
    ");
    assert_snapshot!(schedule(
        ".cosine]\n[training.schedule.warm-up]\nrounds = 5"
    ), @r"
    trial.toml:2:1: `training.schedule.warm-up` beside `training.schedule.cosine`
    | [training.schedule.warm-up]
    | ^^^^^^^^^^^^^^^^^^^^^^^^^^^
    help: `training.schedule`: exactly one of the tables step, exponential, cosine, warm-up
    ");
    assert_snapshot!(refused("[training]\nschedule = \"cosine\"\n"), @r#"
    trial.toml:2:12: `training.schedule`: invalid type: string "cosine", expected a table
    | schedule = "cosine"
    |            ^^^^^^^^
    help: `training.schedule`: exactly one of the tables step, exponential, cosine, warm-up
    "#);
}
