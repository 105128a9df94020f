//! The settings of blobs, which `metahubctl up` has as well.

use std::fmt;

use super::ByteSize;

/// How blobs are shared.
#[derive(Clone, Debug, clap::Args)]
pub struct BlobConfig {
    /// How much memory clients that share a reading of one blob may take: how
    /// far apart they may be. One that falls back further goes on alone.
    #[arg(
        long = "blob-ring-size",
        env = "METAHUB_BLOB_RING_SIZE",
        default_value = "16MiB"
    )]
    pub ring_size: ByteSize,

    /// How much memory that may take for all blobs together.
    #[arg(
        long = "blob-memory-size",
        env = "METAHUB_BLOB_MEMORY_SIZE",
        default_value = "64MiB"
    )]
    pub memory_size: ByteSize,
}

impl fmt::Display for BlobConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ring_size,
            memory_size,
        } = self;
        write!(
            f,
            "blob_ring_size={ring_size} blob_memory_size={memory_size}"
        )
    }
}
