//! Feeds the worker's parsers with what libFuzzer makes up.
//!
//! The promises that must hold are in the worker, in `src/fuzzing.rs`. An input
//! that broke one is kept in `seeds`, which the tests read.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| metahub_worker::fuzzing::check(input));
