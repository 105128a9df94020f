//! One module for each noun of the command line.

pub(crate) mod audit;
pub(crate) mod auth;
pub(crate) mod authority;
pub(crate) mod cache;
pub(crate) mod client_config;
pub(crate) mod completions;
pub(crate) mod cpu;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod grant;
pub(crate) mod host;
pub(crate) mod image;
pub(crate) mod login;
pub(crate) mod machine_type;
pub(crate) mod pin;
pub(crate) mod policy;
pub(crate) mod recipe;
pub(crate) mod rule;
pub(crate) mod status;
pub(crate) mod token;
pub(crate) mod up;
pub(crate) mod upstream;
pub(crate) mod user;
pub(crate) mod worker;
