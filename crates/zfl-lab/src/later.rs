//! Updates of native clients that are held back: one thread answers with each
//! when its time has come, and nobody else waits.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use zfl_server::LocalUpdate;

/// What waits, by when it is due and the order in which it came.
#[derive(Default)]
struct Held {
    updates: BTreeMap<(Instant, u64), LocalUpdate>,
    count: u64,
    is_closed: bool,
}

#[derive(Default)]
struct Inner {
    held: Mutex<Held>,
    changed: Condvar,
}

impl Inner {
    /// Nothing is half-changed where the lock is held.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut held = self.lock();
        while !held.is_closed {
            let now = Instant::now();
            let Some(first) = held.updates.first_entry() else {
                held = self
                    .changed
                    .wait(held)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let (due, _) = *first.key();
            if due <= now {
                let update = first.remove();
                drop(held);
                update.answer();
                held = self.lock();
            } else {
                let waited = self.changed.wait_timeout(held, due - now);
                (held, _) = waited.unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// Holds updates back. What still waits when this is dropped is never answered
/// with.
pub(crate) struct Later {
    inner: Arc<Inner>,
    thread: Option<JoinHandle<()>>,
}

impl Later {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub(crate) fn start() -> io::Result<Self> {
        let inner = Arc::new(Inner::default());
        let thread = std::thread::Builder::new().name("native-later".to_owned());
        let thread = thread.spawn({
            let inner = Arc::clone(&inner);
            move || inner.work()
        })?;
        Ok(Self {
            inner,
            thread: Some(thread),
        })
    }

    /// Answers with an update at `due`. There are no more at a time than
    /// clients of a round, and of the rounds before it those that are late.
    pub(crate) fn answer(&self, update: LocalUpdate, due: Instant) {
        let mut held = self.inner.lock();
        held.count += 1;
        let name = (due, held.count);
        held.updates.insert(name, update);
        self.inner.changed.notify_all();
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        let dropped = {
            let mut held = self.inner.lock();
            held.is_closed = true;
            std::mem::take(&mut held.updates)
        };
        self.inner.changed.notify_all();
        // Not under the lock: each tells its round.
        drop(dropped);
        if let Some(thread) = self.thread.take() {
            // It has nothing to panic with.
            let _ = thread.join();
        }
    }
}
