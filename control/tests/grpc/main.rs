//! The control plane over its real port: one module for each subject.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admin;
mod auth;
mod follow;
mod plane;
mod restart;
mod roles;
