//! What a copy of the policy amounts to, in 32 bytes.
//!
//! Each encoded record counts as its SHA-256, taken as four numbers; a state
//! counts as their sums, each modulo 2^64. So the order of the records does
//! not matter, and a change costs what it changes: take the old record away,
//! add the new one.
//!
//! That finds accidents: a change that was lost, taken twice, or taken for
//! another. Sums of hashes do not withstand someone who chooses records to
//! collide, and need not: who writes the records is trusted with all of them.

use std::{
    fmt,
    ops::{AddAssign, SubAssign},
};

use aws_lc_rs::digest::{SHA256, digest};

/// Stands for a set of records. Equal for equal sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StateDigest([u64; 4]);

impl StateDigest {
    /// How many bytes it is on the wire.
    pub const SIZE: usize = 32;

    /// The digest of one record alone, encoded with its key.
    pub fn of(encoded: &[u8]) -> Self {
        let hash = digest(&SHA256, encoded);
        Self::from_bytes(hash.as_ref()).expect("SHA-256 is 32 bytes")
    }

    /// Undoes [`StateDigest::to_bytes`]. `None`: there are not 32 of them.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut lanes = bytes.chunks_exact(8).map(|lane| {
            let lane = lane.try_into().expect("chunks of eight are eight");
            u64::from_be_bytes(lane)
        });
        (bytes.len() == Self::SIZE).then(|| Self([(); 4].map(|()| lanes.next().unwrap_or(0))))
    }

    /// The digest as it is sent: 32 bytes.
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        for (place, lane) in bytes.chunks_exact_mut(8).zip(self.0) {
            place.copy_from_slice(&lane.to_be_bytes());
        }
        bytes
    }
}

impl AddAssign for StateDigest {
    fn add_assign(&mut self, other: Self) {
        for (lane, other) in self.0.iter_mut().zip(other.0) {
            *lane = lane.wrapping_add(other);
        }
    }
}

impl SubAssign for StateDigest {
    fn sub_assign(&mut self, other: Self) {
        for (lane, other) in self.0.iter_mut().zip(other.0) {
            *lane = lane.wrapping_sub(other);
        }
    }
}

/// In lower-case hex.
impl fmt::Display for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|lane| write!(f, "{lane:016x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(records: &[&str]) -> StateDigest {
        let mut digest = StateDigest::default();
        for record in records {
            digest += StateDigest::of(record.as_bytes());
        }
        digest
    }

    #[test]
    fn the_order_of_records_does_not_count() {
        assert_eq!(of(&["a", "b", "c"]), of(&["c", "a", "b"]));
    }

    #[test]
    fn a_record_that_is_missing_doubled_or_different_shows() {
        let whole = of(&["a", "b", "c"]);

        for other in [&["a", "b"][..], &["a", "b", "c", "c"], &["a", "b", "d"]] {
            assert_ne!(of(other), whole, "{other:?}");
        }
    }

    #[test]
    fn what_is_taken_away_leaves_no_trace() {
        let mut digest = of(&["a", "b", "c"]);

        digest -= StateDigest::of(b"b");

        assert_eq!(digest, of(&["a", "c"]));
    }

    #[test]
    fn the_bytes_are_those_of_sha_256() {
        // FIPS 180-2, appendix B.1.
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

        assert_eq!(StateDigest::of(b"abc").to_string(), text);
    }

    #[test]
    fn a_digest_survives_the_wire() {
        let digest = of(&["a", "b"]);

        assert_eq!(StateDigest::from_bytes(&digest.to_bytes()), Some(digest));
        assert_eq!(StateDigest::from_bytes(&[0; 31]), None);
        assert_eq!(StateDigest::from_bytes(&[]), None);
    }
}
