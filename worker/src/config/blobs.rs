//! The settings of blobs, which `metahubctl up` has as well.

use std::{fmt, path::PathBuf};

use super::ByteSize;

/// How blobs are kept and shared.
#[derive(Clone, Debug, clap::Args)]
pub struct BlobConfig {
    /// A directory to keep blobs in. The workers of a host may share one.
    /// Default: blobs are not kept.
    #[arg(long, env = "METAHUB_BLOB_CACHE", value_name = "DIR")]
    pub blob_cache: Option<PathBuf>,

    /// How large that directory may grow.
    #[arg(long, env = "METAHUB_BLOB_CACHE_SIZE", default_value = "20GiB")]
    pub blob_cache_size: ByteSize,

    /// How much memory clients that share a reading of one blob may take: how
    /// far apart they may be. One that falls back further goes on alone.
    #[arg(long, env = "METAHUB_BLOB_RING_SIZE", default_value = "16MiB")]
    pub blob_ring_size: ByteSize,

    /// How much memory that may take for all blobs together.
    #[arg(long, env = "METAHUB_BLOB_MEMORY_SIZE", default_value = "64MiB")]
    pub blob_memory_size: ByteSize,

    /// The largest blob that is served. One that its upstream announces larger
    /// is refused, one without end is broken off.
    #[arg(long, env = "METAHUB_LARGEST_BLOB", default_value = "256GiB")]
    pub largest_blob: ByteSize,
}

impl fmt::Display for BlobConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            blob_cache,
            blob_cache_size,
            blob_ring_size,
            blob_memory_size,
            largest_blob,
        } = self;
        match blob_cache {
            Some(dir) => write!(f, "blob_cache={} ", dir.display()),
            None => f.write_str("blob_cache=none "),
        }?;
        write!(
            f,
            "blob_cache_size={blob_cache_size} blob_ring_size={blob_ring_size} \
             blob_memory_size={blob_memory_size} largest_blob={largest_blob}"
        )
    }
}
