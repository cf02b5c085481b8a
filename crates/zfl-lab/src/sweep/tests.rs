//! Sweeps of the digits.
