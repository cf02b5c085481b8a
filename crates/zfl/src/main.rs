//! The `zfl` command line.

fn main() {}
