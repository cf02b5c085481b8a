//! Processor time: what work took, whatever else the machine did meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// A sum of processor time that several threads add to.
#[derive(Clone, Debug, Default)]
pub struct CpuTime {
    nanoseconds: Arc<AtomicU64>,
}

impl CpuTime {
    /// Adds to it.
    pub(crate) fn add(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// The sum so far.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }
}

/// Processor time of the thread that asks, user and system, since it began.
pub(crate) fn thread_time() -> Duration {
    duration(clock_gettime(ClockId::ThreadCPUTime))
}

/// Processor time of all threads of this process, those that have ended included.
pub(crate) fn process_time() -> Duration {
    duration(clock_gettime(ClockId::ProcessCPUTime))
}

/// Neither clock is ever negative.
fn duration(time: Timespec) -> Duration {
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_what_they_worked() {
        let cpu_time = CpuTime::default();
        let before = process_time();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    // Until the clock says that something was done.
                    while thread_time() < Duration::from_millis(20) {}
                    cpu_time.add(thread_time());
                });
            }
        });
        let total = cpu_time.total();
        assert!(total >= Duration::from_millis(40), "{total:?}");
        assert!(process_time() - before >= Duration::from_millis(40));
    }
}
