//! The executor: tasks outside of interrupts, sleep when there is nothing to do.
//!
//! embassy-executor's own for Cortex-M sleeps with `WFE`, which QEMU treats
//! as a pause and not as sleep: an idle device would use a whole core of the
//! host. This one sleeps with `WFI`, on every processor.

use core::cell::Cell;
use core::sync::atomic::{AtomicBool, Ordering};

use critical_section::Mutex;

use embassy_executor::{Spawner, raw};
use static_cell::StaticCell;

use super::{cpu, timer};

static EXECUTOR: StaticCell<raw::Executor> = StaticCell::new();
/// Whether a task was woken since the last poll.
static WORK: AtomicBool = AtomicBool::new(false);

/// Ticks of the clock spent asleep.
static SLEPT: Mutex<Cell<u64>> = Mutex::new(Cell::new(0));

/// Ticks of the clock that the device has slept since boot.
pub(crate) fn slept_ticks() -> u64 {
    critical_section::with(|section| SLEPT.borrow(section).get())
}

#[unsafe(export_name = "__pender")]
fn pender(_: *mut ()) {
    WORK.store(true, Ordering::Release);
}

/// Runs tasks for ever; `init` spawns the first ones. To be called once.
pub(crate) fn run(init: impl FnOnce(Spawner)) -> ! {
    let executor: &'static raw::Executor = EXECUTOR.init(raw::Executor::new(core::ptr::null_mut()));
    init(executor.spawner());
    cpu::start_interrupts();
    loop {
        WORK.store(false, Ordering::Relaxed);
        // SAFETY: this loop is the only caller, and tasks cannot reach it.
        unsafe { executor.poll() };
        cpu::sleep_unless(
            || WORK.load(Ordering::Acquire),
            |wait| {
                let begin = timer::ticks();
                wait();
                let slept = timer::ticks().wrapping_sub(begin);
                critical_section::with(|section| {
                    let total = SLEPT.borrow(section);
                    total.set(total.get().wrapping_add(slept));
                });
            },
        );
    }
}
