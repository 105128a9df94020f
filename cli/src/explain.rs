//! Who gets what of an image, and why. Pure: asks no one and prints nothing.
//!
//! All of it follows from [`metahub_policy::select`], the function that
//! workers answer by: what it says of a host that exists ([`outcome`]), of
//! hosts that could ([`needs`]), and of one before and after a change
//! ([`change`]).

pub(crate) mod change;
pub(crate) mod content;
pub(crate) mod name;
pub(crate) mod needs;
pub(crate) mod outcome;
pub(crate) mod policy;
#[cfg(test)]
mod sample;

use std::sync::Arc;

use metahub_policy::{CpuTable, Rule};

use self::content::Content;

/// An image, and what an admin states about it.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    /// Its name, as hosts write it.
    pub(crate) name: String,
    /// What it is.
    pub(crate) content: &'a Content,
    /// The rules that apply to it, in the order of their names.
    pub(crate) rules: Vec<&'a Rule>,
    /// The CPU names that its requirements are read with.
    pub(crate) cpus: Arc<CpuTable>,
}
