//! Data sets and their partitions.
//!
//! A [`Dataset`] is an array of `u8` samples with labels, cheap to clone. It
//! comes from the digits embedded in this crate, from IDX files in a folder or
//! from four paths ([`load`]), or from a table ([`table`]);
//! [`fetch`](mod@fetch) puts MNIST into the cache folder. [`Scheme::partition`] deals the training part out to clients, and
//! [`show`] renders what a person wants to see before trusting a data set.
//!
//! | module | one line |
//! |---|---|
//! | [`idx`] | the IDX format, plain or gzip, read within bounds |
//! | [`dataset`] | samples, labels, views, the split into training and test part |
//! | [`digits`] | the embedded 8×8 digits |
//! | [`folder`] | finding and loading IDX files |
//! | [`table`] | CSV, Parquet and NumPy files: columns and arrays become samples |
//! | [`fetch`](mod@fetch) | downloading into the cache folder, with checksums |
//! | [`partition`] | which client holds which sample |
//! | [`noise`] | noise on the inputs of each client |
//! | [`show`] | text about a data set and its partition |
//! | [`picture`] | a partition as an SVG picture |
//!
//! Samples stay the bytes they are in the file: what one unit means is
//! [`Dataset::value_scale`], and whoever trains multiplies. There is no
//! augmentation and no resizing. Numbers of a table are mapped onto bytes when
//! they are read, and [`dataset::Schema`] keeps how.

pub mod dataset;
pub mod digits;
pub mod fetch;
pub mod folder;
pub mod idx;
pub mod noise;
pub mod partition;
pub mod picture;
pub mod show;
pub mod table;
mod unpack;
mod variates;

pub use dataset::{
    Dataset, DatasetError, DatasetParts, Groups, Input, Schema, Spread, Targets, TrainTest, View,
};
pub use folder::{LoadError, LoadOptions, SearchPath, load};
pub use partition::{Partition, PartitionError, Scheme, ShareSizes};

#[cfg(test)]
mod testing;
