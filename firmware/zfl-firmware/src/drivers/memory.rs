//! Linker symbols as slices: the arena, the record behind it, the stack, the
//! program.

use core::ptr;
use core::slice;
use core::sync::atomic::{AtomicBool, Ordering};

use super::cpu::STACK_PAINT_VALUE;

unsafe extern "C" {
    static mut _arena_start: u64;
    static mut _arena_end: u64;
    static mut _record_start: u8;
    static mut _record_end: u8;
    static _stack_end: u32;
    static _stack_start: u32;
}

static ARENA_TAKEN: AtomicBool = AtomicBool::new(false);
static RECORD_TAKEN: AtomicBool = AtomicBool::new(false);

/// The client's memory, once. Not cleared: QEMU gives zeros, hardware gives
/// noise, and pages that are never touched cost the host nothing.
pub(crate) fn take_arena() -> Option<&'static mut [u64]> {
    if ARENA_TAKEN.swap(true, Ordering::Relaxed) {
        return None;
    }
    let start = &raw mut _arena_start;
    let length = (&raw const _arena_end).addr().saturating_sub(start.addr()) / size_of::<u64>();
    // SAFETY: the linker script reserves this RAM, 8-aligned, for nobody else;
    // any bits are a valid `u64`; the flag above makes it the only reference.
    Some(unsafe { slice::from_raw_parts_mut(start, length) })
}

/// Memory for the record of a share, once; with the arena it outlives a reboot
/// where the host lets it. Not cleared either; empty where the board has none.
pub(crate) fn take_record() -> &'static mut [u8] {
    if RECORD_TAKEN.swap(true, Ordering::Relaxed) {
        return &mut [];
    }
    let start = &raw mut _record_start;
    let length = (&raw const _record_end).addr().saturating_sub(start.addr());
    // SAFETY: the linker script reserves this RAM for nobody else, or nothing of
    // it; any bits are a valid `u8`; the flag above makes it the only reference.
    unsafe { slice::from_raw_parts_mut(start, length) }
}

/// The addresses from the lowest that the stack may use to its top.
pub(super) fn stack_range() -> (usize, usize) {
    (
        (&raw const _stack_end).addr(),
        (&raw const _stack_start).addr(),
    )
}

/// Size of the stack in bytes.
pub(crate) fn stack_bytes() -> usize {
    let (low, high) = stack_range();
    high - low
}

/// The most that the stack ever held, in bytes: what the paint that the
/// start-up code put there no longer covers.
pub(crate) fn stack_peak_bytes() -> usize {
    let (low, high) = stack_range();
    let first_used = (low..high)
        .step_by(4)
        .find(|address| stack_word(*address) != Some(STACK_PAINT_VALUE));
    high - first_used.unwrap_or(high)
}

/// The word of the stack at `address`; `None` outside the stack.
pub(crate) fn stack_word(address: usize) -> Option<u32> {
    let (low, high) = stack_range();
    if !(low..high).contains(&address) || !address.is_multiple_of(4) {
        return None;
    }
    // SAFETY: within the stack, which is RAM. Volatile, for it may be the
    // frame of a function that runs.
    Some(unsafe { ptr::with_exposed_provenance::<u32>(address).read_volatile() })
}

/// Lowest address of the stack.
pub(crate) fn stack_low_address() -> usize {
    stack_range().0
}

/// Reads below the stack, where the MPU allows nothing, or there is nothing:
/// a fault.
pub(crate) fn touch_guard() {
    let address = stack_low_address() - 64;
    // SAFETY: reads an address that nothing is placed at and changes nothing;
    // the fault that follows is the purpose.
    let _ = unsafe { ptr::with_exposed_provenance::<u32>(address).read_volatile() };
}
