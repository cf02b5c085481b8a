//! The global model on the test set, on several threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::task::JoinSet;
use zfl_nn::{Evaluation, InputError, Model, Targets, ValueTable};

use crate::{CoordinatorError, TestSet};

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
            let Some((samples, labels)) = self.piece(piece) else {
                return done;
            };
            if self.is_over.load(Ordering::Relaxed) {
                return done;
            }
            let evaluated = self.model.evaluate(
                &self.parameters,
                samples,
                Targets::Labels(labels),
                &table,
                &mut scratch,
            );
            done.push((piece, evaluated));
        }
    }

    /// Samples and labels of a piece; `None` beyond the last.
    fn piece(&self, piece: usize) -> Option<(&[u8], &[u8])> {
        let TestSet {
            samples, labels, ..
        } = &*self.test;
        let inputs = self.model.input_count();
        // Whole, so that what does not fit together is told as such.
        if samples.len() != labels.len().saturating_mul(inputs) {
            return (piece == 0).then_some((samples, labels));
        }
        let start = piece.checked_mul(PIECE_SAMPLES)?;
        let end = labels.len().min(start.checked_add(PIECE_SAMPLES)?);
        let piece_labels = labels.get(start..end).filter(|labels| !labels.is_empty())?;
        Some((samples.get(start * inputs..end * inputs)?, piece_labels))
    }
}

/// Evaluates `parameters` on the test set, on at most `threads` threads.
pub(crate) async fn evaluate(
    model: Model,
    parameters: &Arc<Vec<f32>>,
    test: &Arc<TestSet>,
    threads: usize,
) -> Result<Evaluation, CoordinatorError> {
    let work = Arc::new(Work {
        model,
        parameters: Arc::clone(parameters),
        test: Arc::clone(test),
        next: AtomicUsize::new(0),
        is_over: AtomicBool::new(false),
    });
    let _end = EndOnDrop(Arc::clone(&work));
    let useful = test.labels.len().div_ceil(PIECE_SAMPLES);
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
    Ok(whole)
}
