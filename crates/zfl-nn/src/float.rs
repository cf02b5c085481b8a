//! Tiles of `f32`: with the processor's own operations, or with [`crate::soft`]
//! where it has none. The bits are equal.
#![allow(
    unreachable_pub,
    reason = "reachable through the associated types of a private trait"
)]

#[cfg(software_float)]
pub(crate) use crate::soft::multiply_add;
#[cfg(software_float)]
pub use crate::soft::{Addends as Signals, Sums};

#[cfg(not(software_float))]
mod hard {
    /// Totals of a tile, to which one scaled row after another is added.
    #[derive(Clone, Copy)]
    pub struct Sums<const T: usize>([f32; T]);

    impl<const T: usize> Sums<T> {
        #[inline(always)]
        pub(crate) fn new(totals: &[f32; T]) -> Self {
            Self(*totals)
        }

        #[inline(always)]
        pub(crate) fn add_scaled(&mut self, value: f32, row: &[f32; T]) {
            for (total, x) in self.0.iter_mut().zip(row) {
                *total += value * x;
            }
        }

        #[inline(always)]
        pub(crate) fn totals(&self) -> [f32; T] {
            self.0
        }
    }

    /// A tile of numbers that are added, scaled, to one row after another.
    #[derive(Clone, Copy)]
    pub struct Signals<const T: usize>([f32; T]);

    impl<const T: usize> Signals<T> {
        #[inline(always)]
        pub(crate) fn new(numbers: &[f32; T]) -> Self {
            Self(*numbers)
        }

        #[inline(always)]
        pub(crate) fn add_scaled_to(&self, value: f32, row: &mut [f32; T]) {
            for (total, x) in row.iter_mut().zip(&self.0) {
                *total += value * x;
            }
        }

        #[inline(always)]
        pub(crate) fn subtract_scaled_from(&self, value: f32, row: &mut [f32; T]) {
            for (total, x) in row.iter_mut().zip(&self.0) {
                *total -= value * x;
            }
        }
    }

    #[inline(always)]
    pub(crate) fn multiply_add(total: f32, value: f32, x: f32) -> f32 {
        total + value * x
    }
}

#[cfg(not(software_float))]
pub(crate) use hard::multiply_add;
#[cfg(not(software_float))]
pub use hard::{Signals, Sums};
