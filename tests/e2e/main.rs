//! End-to-end tests: one binary, one module for each subject.

#[cfg(feature = "real-parts")]
mod parts;
