//! Runs the worker. All that can be tested is in the library.

fn main() {}
