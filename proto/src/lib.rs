//! The wire contract between MetaHub's control plane, workers and CLI.
//!
//! The `.proto` files under `metahub/` are the source. The Rust here is
//! generated from them and checked in, so that building MetaHub needs no
//! `protoc`. `tests/generated.rs` fails when the two differ.

/// What the policy consists of, and how workers follow it.
pub mod policy {
    /// Version 1. Fields are only ever added.
    pub mod v1 {
        #![allow(
            missing_docs,
            clippy::all,
            clippy::allow_attributes_without_reason,
            clippy::too_many_lines,
            reason = "generated"
        )]
        include!("generated/metahub.policy.v1.rs");
    }
}

/// How admins edit the policy.
pub mod admin {
    /// Version 1. Fields are only ever added.
    pub mod v1 {
        #![allow(
            missing_docs,
            clippy::all,
            clippy::allow_attributes_without_reason,
            clippy::too_many_lines,
            reason = "generated"
        )]
        include!("generated/metahub.admin.v1.rs");
    }
}

/// Every call, as `/package.Service/Call`, in the order of the `.proto` files.
pub const CALLS: &[&str] = &include!("generated/calls.rs");
