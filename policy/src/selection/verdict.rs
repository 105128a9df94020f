//! Why an entry is kept or not, for people and programs.

use std::{fmt, sync::Arc};

/// Why an entry is kept or not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is the best of its platform.
    Chosen,
    /// It fits, and an admin has pinned it.
    Pinned,
    /// It is the same image as a kept entry, listed once more.
    SameImage,
    /// It is as good as the kept entry `of`, and compressed in another way, for
    /// clients that can tell.
    Twin {
        /// The kept entry's digest.
        of: Arc<str>,
    },
    /// The index lists no image with a platform, so that there is nothing to
    /// choose.
    Whole,
    /// It belongs to the kept entry `of`, and is kept with it.
    Attestation {
        /// The kept entry's digest.
        of: Arc<str>,
    },
    /// It belongs to an entry that is not kept, or to none.
    AttestationDropped {
        /// The digest that it names.
        of: Option<Arc<str>>,
    },
    /// It is no image that a host could be given.
    NotCandidate(NotCandidate),
    /// It is for a platform that the host is not.
    OtherPlatform {
        /// The entry's platform, for example `linux/arm64`.
        platform: String,
    },
    /// The host lacks something that it requires.
    DoesNotFit(Misfit),
    /// It fits, but the type asks for equal features (`match: exact`).
    NotExact {
        /// What it requires.
        requires: Vec<String>,
    },
    /// It fits, but requires nothing (`match: best-no-generic`).
    Generic,
    /// It fits, and another entry is better.
    OutRanked {
        /// The digest of the better entry.
        by: Arc<str>,
        /// What decided it.
        step: Step,
    },
}

/// Why an entry is not even looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotCandidate {
    /// It is an artifact of this type.
    Artifact(String),
    /// It is an index itself. See [`crate::flatten()`].
    NestedIndex,
    /// It is of a media type that is no image's.
    MediaType(String),
    /// It names no platform, and an entry that names one fits.
    NoPlatform,
}

/// A requirement that a host does not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The namespace of the first requirement that failed.
    pub namespace: String,
    /// What it asks for, for example `cpu:zen4` or `nvcap:8.0 or nvcap:9.0`.
    pub needs: String,
    /// What the host has there, for example `cpu:skylake` or `no nvcap`.
    pub has: String,
    /// Everything that the entry requires.
    pub requires: Vec<String>,
}

/// What decided between two entries that fit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// The admin's pin.
    Pin,
    /// The author's priority.
    Priority,
    /// The best values of this namespace.
    Namespace(String),
    /// The number of requirements met.
    Met,
    /// The place in the index.
    Place,
    /// A compression that every client reads.
    Compression,
    /// The platform nearest to the host's: its own architecture before the
    /// 32-bit one, the newest Windows, the highest 32-bit arm variant.
    Platform,
}

impl Verdict {
    /// Whether the entry is kept.
    pub fn is_kept(&self) -> bool {
        matches!(
            self,
            Self::Chosen
                | Self::Pinned
                | Self::SameImage
                | Self::Twin { .. }
                | Self::Whole
                | Self::Attestation { .. }
        )
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chosen => f.write_str("kept: the best that fits"),
            Self::Pinned => f.write_str("kept: pinned by an admin"),
            Self::SameImage => f.write_str("kept: the same image as another kept entry"),
            Self::Twin { of } => {
                write!(f, "kept: {} in another compression", short(of))
            }
            Self::Whole => f.write_str("kept: the index is none of images, and is left as it is"),
            Self::Attestation { of } => write!(f, "kept: belongs to {}", short(of)),
            Self::AttestationDropped { of: Some(of) } => {
                write!(f, "belongs to {}, which is not kept", short(of))
            }
            Self::AttestationDropped { of: None } => f.write_str("belongs to no entry"),
            Self::NotCandidate(why) => why.fmt(f),
            Self::OtherPlatform { platform } => write!(f, "is for {platform}"),
            Self::DoesNotFit(misfit) => misfit.fmt(f),
            Self::NotExact { requires } if requires.is_empty() => {
                f.write_str("requires nothing; the type matches exactly")
            }
            Self::NotExact { requires } => {
                write!(
                    f,
                    "requires {}; the type matches exactly",
                    requires.join(" ")
                )
            }
            Self::Generic => f.write_str("requires nothing; the type takes no generic variant"),
            Self::OutRanked { by, step } => write!(f, "fits; {} is better by {step}", short(by)),
        }
    }
}

impl fmt::Display for NotCandidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Artifact(kind) => write!(f, "is no image but an artifact, {kind}"),
            Self::NestedIndex => f.write_str("is an index itself"),
            Self::MediaType(media_type) => write!(f, "is no image but {media_type}"),
            Self::NoPlatform => f.write_str("names no platform, and an entry that names one fits"),
        }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "needs {}; the host has {}", self.needs, self.has)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pin => f.write_str("an admin's pin"),
            Self::Priority => f.write_str("its author's priority"),
            Self::Namespace(namespace) => f.write_str(namespace),
            Self::Met => f.write_str("more requirements met"),
            Self::Place => f.write_str("its place in the index"),
            Self::Compression => f.write_str("a compression that every client reads"),
            Self::Platform => f.write_str("its platform, nearer to the host's"),
        }
    }
}

/// A digest's beginning, enough to tell it from others.
fn short(digest: &str) -> &str {
    let end = digest.find(':').map_or(12, |colon| colon + 13);
    digest.get(..end).unwrap_or(digest)
}
