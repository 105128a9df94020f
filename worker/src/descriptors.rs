//! The limit of open files: how it is raised, and how many connections fit into
//! it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// What a worker needs for itself: its ports, its log, the control plane.
const OWN: u64 = 16;
/// The most connections for health and metrics, which only operators use, and the
/// part of a low limit that they may take.
const ADMINS: u64 = 64;
const ADMIN_SHARE: u64 = 8;
/// What a client takes: its connection, and one to an upstream or a file of the
/// blob cache.
const PER_CLIENT: u64 = 2;

/// How many files this process may have open. `None`: any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors(Option<u64>);

impl Descriptors {
    /// Raises the limit as far as the system lets this process.
    pub(crate) fn raise() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: limit.maximum,
            ..limit
        };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => Self(limit.maximum),
            Err(error) => {
                warn!(%error, "cannot raise the limit of open files");
                Self(limit.current)
            }
        }
    }

    /// How many of `wanted` connections of clients fit, and of the requests to
    /// upstreams that they cause.
    pub(crate) fn clients(self, wanted: usize) -> usize {
        let free = self.0.map(|limit| {
            let own = OWN + ADMINS.min(limit / ADMIN_SHARE);
            limit.saturating_sub(own) / PER_CLIENT
        });
        at_most(free, wanted)
    }

    /// How many connections for health and metrics there may be.
    pub(crate) fn admins(self) -> usize {
        at_most(self.0.map(|limit| limit / ADMIN_SHARE), ADMINS as usize)
    }

    /// The warning for operators where less than half of `wanted` connections of
    /// clients fit.
    pub(crate) fn shortage(self, wanted: usize) -> Option<String> {
        let (limit, fitting) = (self.0?, self.clients(wanted));
        (fitting < wanted / 2).then(|| {
            format!(
                "the limit of {limit} open files allows {fitting} of {wanted} connections: \
                 raise it (LimitNOFILE, ulimit -Hn), or lower --max-connections"
            )
        })
    }
}

/// One fits always, or nothing would be served.
fn at_most(limit: Option<u64>, wanted: usize) -> usize {
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    limit.map_or(wanted, |limit| wanted.min(limit.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let hard = getrlimit(Resource::Nofile).maximum;
        let low = Rlimit {
            current: hard.map_or(Some(1 << 16), |hard| Some(hard - 1)),
            maximum: hard,
        };
        setrlimit(Resource::Nofile, low).expect("it may be lowered");

        assert_eq!(Descriptors::raise(), Descriptors(hard));

        assert_eq!(getrlimit(Resource::Nofile).current, hard);
    }

    #[test]
    fn connections_and_what_they_need_stay_below_the_limit() {
        for limit in [128, 1024, 65_536] {
            let descriptors = Descriptors(Some(limit));
            let clients = descriptors.clients(usize::MAX) as u64;
            let admins = descriptors.admins() as u64;

            assert!(PER_CLIENT * clients + admins + OWN <= limit, "{limit}");
            assert!(clients >= limit / 3, "{limit}");
        }
        assert_eq!(Descriptors(Some(1)).clients(10), 1);
    }

    #[test]
    fn a_limit_that_is_high_enough_changes_nothing() {
        for descriptors in [Descriptors(None), Descriptors(Some(1 << 20))] {
            assert_eq!(descriptors.clients(10_000), 10_000);
            assert_eq!(descriptors.admins(), 64);
            assert_eq!(descriptors.shortage(10_000), None);
        }
        assert_eq!(Descriptors(Some(20_000)).shortage(10_000), None);
        let shortage = Descriptors(Some(1024)).shortage(10_000).unwrap();
        assert!(
            shortage.contains("1024 open files allows 472 of 10000"),
            "{shortage}"
        );
    }
}
