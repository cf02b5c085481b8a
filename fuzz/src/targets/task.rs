//! Tasks: what is decoded is written as it was read; its model is bounded and
//! says beforehand what it needs, whatever its shape.

use zfl_client::Needs;
use zfl_nn::{Draw, Task, TaskError, Training};

/// Decodes `bytes` as a task.
pub(crate) fn check(bytes: &[u8]) {
    let task = match Task::decode(bytes) {
        Ok(task) => task,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            match error {
                TaskError::Truncated { needed, present } => {
                    assert!(present == bytes.len() && needed > present);
                    assert!(needed <= Task::BYTES_MAX);
                }
                TaskError::Field { offset, .. } => assert!(offset < bytes.len()),
                TaskError::Shape(_) => {}
            }
            return;
        }
    };
    let written = task.encode();
    let written = written.as_slice();
    assert!(written.len() <= bytes.len());
    // Bytes without a meaning are written as 0, and where a layer has no such
    // number whatever stood there is: so the task is compared, not its bytes.
    let again = Task::decode(written).expect("what was written");
    assert!(equal(&task, &again), "{task:?} became {again:?}");
    assert_eq!(again.encode().as_slice(), written);

    assert!(task.trained_bytes() <= task.parameter_bytes());
    let inputs = task.model.input_count();
    for (samples, block) in [(1, 1), (100, 1), (65_535, 16)] {
        let needs = Needs::of_share(samples, inputs)
            .with_block(block)
            .with_task(&task);
        assert!(needs.total_bytes() >= task.parameter_bytes());
        let draw = Draw {
            seed: 1,
            client: 0,
            round: 1,
        };
        // Whether it is refused or not: it takes no memory of its own.
        let made = Training::<f32>::new(task.model, task.hyperparameters, samples, block, draw);
        if let Err(error) = made {
            assert!(!error.to_string().is_empty());
        }
    }
}

/// Equal with numbers that are not finite, which a task may carry to where
/// they are refused.
fn equal(left: &Task, right: &Task) -> bool {
    let bits = |task: &Task| {
        let how = task.hyperparameters;
        [
            how.learning_rate,
            how.momentum,
            how.weight_decay,
            how.clip_norm,
            how.proximal,
        ]
        .map(f32::to_bits)
    };
    let (a, b) = (left.hyperparameters, right.hyperparameters);
    left.model == right.model
        && left.format == right.format
        && bits(left) == bits(right)
        && (a.epochs, a.batch_size, a.nesterov, a.rounding)
            == (b.epochs, b.batch_size, b.nesterov, b.rounding)
}
