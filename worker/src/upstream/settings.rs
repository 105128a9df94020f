//! The knobs of the way to the upstreams.

use std::{num::NonZeroU32, time::Duration};

use super::{BlobDirectory, ProxyEnvironment, Roster};

/// How a [`super::Puller`] caches and waits.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The most that cached manifests may weigh, in bytes.
    pub(crate) cache_bytes: u64,
    /// How long a tag is believed before it is asked for again, give or take
    /// a tenth.
    pub(crate) tag_ttl: Duration,
    /// How long a manifest is served by its digest before its upstream is asked
    /// whether it still has it, give or take a tenth.
    pub(crate) digest_ttl: Duration,
    /// How long it is remembered that something is not there, or is denied. No
    /// longer than a tag is believed.
    pub(crate) not_found_ttl: Duration,
    /// How many requests a second an upstream gets, blobs aside. None: any
    /// number.
    pub(crate) requests_per_second: Option<NonZeroU32>,
    /// How many requests may wait for answers of upstreams. One upstream gets
    /// half of them.
    pub(crate) requests: usize,
    /// How many of them one login may have started.
    pub(crate) requests_per_login: usize,
    /// What manifests and lists may take of memory while they are read, in
    /// bytes. One upstream gets half of it.
    pub(crate) small_body_memory: usize,
    /// The longest wait for a connection, TLS included.
    pub(crate) connect_timeout: Duration,
    /// The longest wait for an answer's headers.
    pub(crate) header_timeout: Duration,
    /// The longest pause within a body. Nothing limits a whole blob.
    pub(crate) stall_timeout: Duration,
    /// How far apart clients that share a reading of a blob may be, in bytes.
    pub(crate) blob_ring_bytes: usize,
    /// What is held in memory for that for all blobs together, in bytes.
    pub(crate) blob_rings_bytes: usize,
    /// The largest blob that is taken, in bytes.
    pub(crate) largest_blob: u64,
    /// Where to keep blobs. None: nowhere.
    pub(crate) blob_directory: Option<BlobDirectory>,
    /// How long a client is held while an upstream is unwell, in case that it
    /// recovers; and how long one that could have a cached answer waits for a
    /// newer one.
    pub(crate) patience: Duration,
    /// Who knows the upstreams as they are now.
    pub(crate) roster: Roster,
    /// The HTTP proxies for upstreams that name none.
    pub(crate) proxies: ProxyEnvironment,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cache_bytes: 256 << 20,
            tag_ttl: Duration::from_secs(15),
            digest_ttl: Duration::from_secs(7 * 24 * 60 * 60),
            not_found_ttl: Duration::from_secs(5),
            requests_per_second: None,
            requests: 1024,
            requests_per_login: 256,
            small_body_memory: 128 << 20,
            connect_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(30),
            blob_ring_bytes: 16 << 20,
            blob_rings_bytes: 64 << 20,
            largest_blob: 256 << 30,
            blob_directory: None,
            patience: Duration::from_secs(4),
            roster: Roster::default(),
            proxies: ProxyEnvironment::default(),
        }
    }
}
