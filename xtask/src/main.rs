//! Project chores: firmware builds and drift checks.

fn main() {}
