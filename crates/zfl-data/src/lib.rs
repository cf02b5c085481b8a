//! Data sets and their partitions.
