//! The settings that bound what upstreams take of a worker.

use std::fmt;

use super::ByteSize;

/// What upstreams may take of the worker.
#[derive(Clone, Debug, clap::Args)]
pub struct LimitConfig {
    /// How many requests may wait for answers of upstreams at a time. More wait
    /// a few seconds, then get 503. One upstream gets half of them.
    #[arg(
        long,
        env = "METAHUB_MAX_UPSTREAM_REQUESTS",
        default_value_t = 1024,
        value_name = "N"
    )]
    pub max_upstream_requests: usize,

    /// How many of them one login may have started. More wait a few seconds,
    /// then get 429.
    #[arg(
        long,
        env = "METAHUB_MAX_UPSTREAM_REQUESTS_PER_LOGIN",
        default_value_t = 256,
        value_name = "N"
    )]
    pub max_upstream_requests_per_login: usize,

    /// How much memory manifests, lists and tokens may take while they are
    /// read, at least 16MiB. What is over waits a few seconds, then gets 503.
    /// One upstream gets half of it.
    #[arg(long, env = "METAHUB_SMALL_BODY_MEMORY", default_value = "128MiB")]
    pub small_body_memory: ByteSize,
}

impl fmt::Display for LimitConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            max_upstream_requests,
            max_upstream_requests_per_login,
            small_body_memory,
        } = self;
        write!(
            f,
            "max_upstream_requests={max_upstream_requests} \
             max_upstream_requests_per_login={max_upstream_requests_per_login} \
             small_body_memory={small_body_memory}"
        )
    }
}
