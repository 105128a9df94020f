//! Runs metahubctl. All that can be tested is in the library.

fn main() {}
