//! The global model on the test set, on several threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::task::JoinSet;
use zfl_nn::{Evaluation, InputError, Model, ValueTable};

use crate::{CoordinatorError, Quality, TestSet};

/// Samples that are evaluated in one piece. The pieces' sums are added in the
/// order of the samples, so that the loss has the same bits for any number of
/// threads.
const PIECE_SAMPLES: usize = 250;

/// What all threads of an evaluation share.
struct Work {
    model: Model,
    parameters: Arc<Vec<f32>>,
    test: Arc<TestSet>,
    next: AtomicUsize,
    is_over: AtomicBool,
}

/// Ends an evaluation that nobody waits for any more.
struct EndOnDrop(Arc<Work>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

type Pieces = Vec<(usize, Result<Evaluation, InputError>)>;

impl Work {
    /// Evaluates pieces until none is left.
    fn run(&self) -> Pieces {
        let mut scratch = vec![0.0; self.model.evaluation_len()];
        let table = ValueTable::new(self.test.value_scale);
        let mut done = Vec::new();
        loop {
            let piece = self.next.fetch_add(1, Ordering::Relaxed);
            let Some((samples, targets)) = self.piece(piece) else {
                return done;
            };
            if self.is_over.load(Ordering::Relaxed) {
                return done;
            }
            let evaluated =
                self.model
                    .evaluate(&self.parameters, samples, targets, &table, &mut scratch);
            done.push((piece, evaluated));
        }
    }

    /// Samples of a piece and what they should come to; `None` beyond the last.
    fn piece(&self, piece: usize) -> Option<(&[u8], zfl_nn::Targets<'_>)> {
        let TestSet {
            samples, targets, ..
        } = &*self.test;
        let (inputs, count) = (self.model.input_count(), targets.len());
        // Whole, so that what does not fit together is told as such.
        if samples.len() != count.saturating_mul(inputs) {
            let whole = targets.piece(0, count)?;
            return (piece == 0).then_some((samples, whole));
        }
        let start = piece.checked_mul(PIECE_SAMPLES)?;
        let end = count.min(start.checked_add(PIECE_SAMPLES)?);
        if start >= end {
            return None;
        }
        let piece = targets.piece(start, end)?;
        Some((samples.get(start * inputs..end * inputs)?, piece))
    }
}

/// Evaluates `parameters` on the test set, on at most `threads` threads.
pub(crate) async fn evaluate(
    model: Model,
    parameters: &Arc<Vec<f32>>,
    test: &Arc<TestSet>,
    threads: usize,
) -> Result<Quality, CoordinatorError> {
    let work = Arc::new(Work {
        model,
        parameters: Arc::clone(parameters),
        test: Arc::clone(test),
        next: AtomicUsize::new(0),
        is_over: AtomicBool::new(false),
    });
    let _end = EndOnDrop(Arc::clone(&work));
    let useful = test.targets.len().div_ceil(PIECE_SAMPLES);
    let mut tasks = JoinSet::new();
    for _ in 0..threads.min(useful).max(1) {
        let work = Arc::clone(&work);
        tasks.spawn_blocking(move || work.run());
    }
    let mut pieces = Pieces::new();
    while let Some(done) = tasks.join_next().await {
        pieces.extend(done.map_err(|_| CoordinatorError::EvaluationCutOff)?);
    }
    pieces.sort_unstable_by_key(|(piece, _)| *piece);
    let mut whole = Evaluation::default();
    for (_, evaluated) in pieces {
        whole.merge(&evaluated?);
    }
    Ok(Quality::of(&whole, &test.targets, test.target_unit))
}
