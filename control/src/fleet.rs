//! The workers that the control plane has seen, and what they serve.

mod announced;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use metahub_policy::StateDigest;
use tracing::warn;

pub(crate) use self::announced::{announce, everyone};
use crate::{Revision, policy::Policy};

/// How long a worker without a stream is remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(60 * 60);
/// How long a worker of the same id counts after it was heard.
const DOUBLED_FOR: Duration = Duration::from_secs(10);
/// How many workers are remembered. The longest gone is forgotten first.
const MOST_REMEMBERED: usize = 10_000;

/// Who a worker says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// A stable name.
    pub(crate) id: String,
    /// The version of its program.
    pub(crate) version: String,
    /// Where it serves the registry API, for people to read.
    pub(crate) registry_address: String,
    /// Where its stream comes from.
    pub(crate) peer: Option<SocketAddr>,
}

/// A worker as lists show it.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) identity: Identity,
    pub(crate) connected: bool,
    /// When its stream opened or, when closed, was lost.
    pub(crate) since: SystemTime,
    /// What it serves.
    pub(crate) applied: Option<Revision>,
    /// The digest of what it holds.
    pub(crate) digest: Option<StateDigest>,
    /// How often its copy was found to differ from the policy.
    pub(crate) mismatches: u64,
    /// Why its copy is to be replaced whole.
    pub(crate) mismatch: Option<String>,
    /// Why it did not take a revision that is newer than what it serves.
    pub(crate) rejected: Option<String>,
    /// When another worker of the same id was heard last.
    doubled: Option<Instant>,
    /// What the next change must start from, if that is not what it was told
    /// last.
    next_base: Option<Base>,
    since_instant: Instant,
    session: u64,
}

/// What a change starts from. `None`: from nothing.
type Base = Option<Revision>;

/// The workers. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fleet {
    members: Arc<Mutex<Members>>,
}

#[derive(Debug, Default)]
struct Members {
    by_id: BTreeMap<String, Member>,
    /// The ids of those without a stream, by when they lost it.
    gone: BTreeMap<(Instant, u64), String>,
    sessions: u64,
}

/// One open stream. Dropping it says that the stream is lost.
#[derive(Debug)]
pub(crate) struct Session {
    fleet: Fleet,
    id: String,
    session: u64,
    /// Whether the worker said that it ends.
    has_left: AtomicBool,
    /// How often it was heard after another stream had taken its place.
    heard_after: AtomicU32,
}

impl Fleet {
    /// A worker has opened a stream. It takes the place of an older one of the
    /// same name.
    pub(crate) fn join(&self, identity: Identity, held: Option<Revision>) -> Session {
        let mut members = self.lock();
        members.sessions += 1;
        let session = members.sessions;
        let id = identity.id.clone();
        let before = members.by_id.remove(&id);
        if let Some(before) = &before {
            let lost = (before.since_instant, before.session);
            members.gone.remove(&lost);
        }
        let member = Member {
            identity,
            connected: true,
            since: SystemTime::now(),
            applied: held,
            digest: None,
            mismatches: before.map_or(0, |before| before.mismatches),
            mismatch: None,
            rejected: None,
            doubled: None,
            next_base: None,
            since_instant: Instant::now(),
            session,
        };
        members.by_id.insert(id.clone(), member);
        members.forget_the_long_gone(REMEMBERED_FOR, MOST_REMEMBERED);
        Session {
            fleet: self.clone(),
            id,
            session,
            has_left: AtomicBool::new(false),
            heard_after: AtomicU32::new(0),
        }
    }

    /// Forgets a worker that has no stream. `false`: there is none such.
    pub(crate) fn forget(&self, id: &str) -> bool {
        let mut members = self.lock();
        let is_gone = members.by_id.get(id).is_some_and(|it| !it.connected);
        if is_gone {
            members.gone.retain(|_, gone| gone != id);
            members.by_id.remove(id);
        }
        is_gone
    }

    /// All remembered workers by id.
    pub(crate) fn list(&self) -> Vec<Member> {
        let mut members = self.lock();
        members.forget_the_long_gone(REMEMBERED_FOR, MOST_REMEMBERED);
        members.by_id.values().cloned().collect()
    }

    /// How many have a stream.
    pub(crate) fn connected(&self) -> usize {
        let members = self.lock();
        members.by_id.len() - members.gone.len()
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// The worker serves `revision` now.
    pub(crate) fn applied(&self, revision: Revision) {
        self.update(|member| {
            member.applied = Some(revision);
            member.rejected = None;
            member.mismatch = None;
        });
    }

    /// The worker says again what it serves, and what that amounts to.
    pub(crate) fn serves(&self, revision: Revision, digest: Option<StateDigest>) {
        let updated = self.update(|member| {
            member.applied = Some(revision);
            member.digest = digest;
        });
        if updated.is_none() {
            self.note_double();
        }
    }

    /// The worker ends, and serves nothing from now on.
    pub(crate) fn left(&self) {
        self.has_left.store(true, Relaxed);
    }

    /// One whose place was taken is still there: it is another worker. One
    /// message may have been on its way.
    fn note_double(&self) {
        let heard = self.heard_after.fetch_add(1, Relaxed) + 1;
        if heard < 2 {
            return;
        }
        let mut members = self.fleet.lock();
        let Some(member) = members.by_id.get_mut(&self.id) else {
            return;
        };
        if heard == 2 {
            let (id, peer) = (&self.id, member.identity.peer);
            warn!(
                "two workers have the id `{id}`, one of them at {peer:?}: give each its own --worker-id"
            );
        }
        member.doubled = Some(Instant::now());
    }

    /// The worker's copy differs from the policy: the next change starts from
    /// nothing. `false`: that is known already.
    pub(crate) fn mismatched(&self, reason: String) -> bool {
        let is_new = self.update(|member| {
            if member.mismatch.is_some() {
                return false;
            }
            member.mismatches += 1;
            member.mismatch = Some(reason);
            member.next_base = Some(None);
            true
        });
        is_new.unwrap_or(false)
    }

    /// The worker could not take a revision.
    pub(crate) fn rejected(&self, reason: String) {
        self.update(|member| {
            member.rejected = Some(reason);
            member.next_base = Some(member.applied);
        });
    }

    /// What the next change must start from: what the worker was `told` last
    /// or, after it rejected that, what it serves; nothing, if its copy differs.
    pub(crate) fn base(&self, told: Base) -> Base {
        let other = self.update(|member| member.next_base.take());
        other.flatten().unwrap_or(told)
    }

    /// `None` when a newer stream of the same worker has taken the place.
    fn update<T>(&self, change: impl FnOnce(&mut Member) -> T) -> Option<T> {
        let mut members = self.fleet.lock();
        let own = members.by_id.get_mut(&self.id);
        own.filter(|member| member.session == self.session)
            .map(change)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let lost = self.update(|member| {
            member.connected = false;
            member.since = SystemTime::now();
            member.since_instant = Instant::now();
            (member.since_instant, member.session)
        });
        if let Some(lost) = lost {
            self.fleet.lock().note_gone(lost, &self.id);
            if self.has_left.load(Relaxed) {
                self.fleet.forget(&self.id);
            }
        }
    }
}

impl Member {
    /// Whether it serves `revision`.
    pub(crate) fn serves(&self, revision: Revision) -> bool {
        self.applied == Some(revision)
    }

    /// Whether another worker of the same id was heard just now.
    pub(crate) fn is_doubled(&self) -> bool {
        self.doubled.is_some_and(|at| at.elapsed() < DOUBLED_FOR)
    }

    /// How long it has been behind `policy`. Zero: it serves that.
    pub(crate) fn lag(&self, policy: &Policy) -> Duration {
        if self.serves(policy.revision) {
            return Duration::ZERO;
        }
        let known = self.applied.and_then(|held| policy.outdated_since(held));
        known.unwrap_or(self.since_instant).elapsed()
    }
}

impl Members {
    /// A worker that has come back by now is not gone.
    fn note_gone(&mut self, lost: (Instant, u64), id: &str) {
        let own = self.by_id.get(id);
        if own.is_some_and(|member| member.session == lost.1) {
            self.gone.insert(lost, id.to_owned());
        }
    }

    fn forget_the_long_gone(&mut self, after: Duration, most: usize) {
        while let Some(longest) = self.gone.first_entry() {
            let (lost, _) = longest.key();
            if lost.elapsed() < after && self.by_id.len() <= most {
                return;
            }
            self.by_id.remove(&longest.remove());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(id: &str) -> Identity {
        Identity {
            id: id.into(),
            version: "0.1.0".into(),
            registry_address: "127.0.0.1:5000".into(),
            peer: None,
        }
    }

    const NEWEST: Revision = Revision {
        epoch: 7,
        number: 3,
    };

    #[test]
    fn a_lost_stream_leaves_its_worker_in_the_list() {
        let fleet = Fleet::default();

        drop(fleet.join(worker("w1"), None));

        let listed = fleet.list();
        assert_eq!(listed.len(), 1);
        assert!(!listed[0].connected);
    }

    #[test]
    fn an_older_stream_that_ends_late_does_not_hide_the_newer_one() {
        let fleet = Fleet::default();
        let older = fleet.join(worker("w1"), None);
        let _newer = fleet.join(worker("w1"), None);

        drop(older);

        assert!(fleet.list()[0].connected);
    }

    #[test]
    fn a_rejection_shows_until_a_revision_is_applied() {
        let fleet = Fleet::default();
        let session = fleet.join(worker("w1"), None);

        session.rejected("a bad rule".into());
        assert_eq!(fleet.list()[0].rejected.as_deref(), Some("a bad rule"));
        session.applied(NEWEST);

        assert_eq!(fleet.list()[0].rejected, None);
    }

    #[test]
    fn after_a_rejection_a_change_starts_from_what_the_worker_serves() {
        let fleet = Fleet::default();
        let session = fleet.join(worker("w1"), None);
        let told = Revision {
            number: NEWEST.number + 1,
            ..NEWEST
        };
        session.applied(NEWEST);

        session.rejected("a bad rule".into());

        assert_eq!(session.base(Some(told)), Some(NEWEST));
        assert_eq!(session.base(Some(told)), Some(told));
    }

    #[test]
    fn after_a_mismatch_a_change_starts_from_nothing_once() {
        let fleet = Fleet::default();
        let session = fleet.join(worker("w1"), Some(NEWEST));

        assert!(session.mismatched("it differs".into()));
        assert!(!session.mismatched("it differs still".into()));

        assert_eq!(session.base(Some(NEWEST)), None);
        assert_eq!(session.base(Some(NEWEST)), Some(NEWEST));
    }

    #[test]
    fn mismatches_are_counted_over_all_streams_of_a_worker() {
        let fleet = Fleet::default();
        let session = fleet.join(worker("w1"), None);
        session.mismatched("it differs".into());
        session.applied(NEWEST);

        let again = fleet.join(worker("w1"), None);
        again.mismatched("it differs again".into());

        let listed = fleet.list();
        assert_eq!(listed[0].mismatches, 2);
        assert_eq!(listed[0].mismatch.as_deref(), Some("it differs again"));
    }

    #[test]
    fn the_longest_gone_are_forgotten_first() {
        let fleet = Fleet::default();
        drop(fleet.join(worker("first"), None));
        drop(fleet.join(worker("second"), None));
        let _open = fleet.join(worker("third"), None);

        fleet.lock().forget_the_long_gone(REMEMBERED_FOR, 2);

        let ids: Vec<String> = fleet.list().into_iter().map(|it| it.identity.id).collect();
        assert_eq!(ids, ["second", "third"]);
    }

    #[test]
    fn one_who_has_come_back_is_not_forgotten() {
        let fleet = Fleet::default();
        drop(fleet.join(worker("w1"), None));
        let _back = fleet.join(worker("w1"), None);

        fleet.lock().forget_the_long_gone(Duration::ZERO, 0);

        assert!(fleet.list()[0].connected);
    }

    #[test]
    fn one_who_serves_the_newest_has_no_lag() {
        let fleet = Fleet::default();
        let session = fleet.join(worker("w1"), None);
        let mut policy = Policy::default();
        policy.revision = NEWEST;

        assert!(fleet.list()[0].lag(&policy) > Duration::ZERO);
        session.applied(NEWEST);

        assert_eq!(fleet.list()[0].lag(&policy), Duration::ZERO);
    }

    #[test]
    fn two_workers_of_one_id_are_told_from_one_that_came_back() {
        let fleet = Fleet::default();
        let first = fleet.join(worker("w1"), None);
        let _second = fleet.join(worker("w1"), None);

        first.serves(NEWEST, None);
        assert!(!fleet.list()[0].is_doubled(), "it may have been on its way");
        first.serves(NEWEST, None);

        assert!(fleet.list()[0].is_doubled());
    }

    #[test]
    fn one_that_ends_is_forgotten_and_one_that_is_lost_is_not() {
        let fleet = Fleet::default();
        let ends = fleet.join(worker("ends"), None);
        let lost = fleet.join(worker("lost"), None);

        ends.left();
        drop((ends, lost));

        let ids: Vec<_> = fleet.list().into_iter().map(|it| it.identity.id).collect();
        assert_eq!(ids, ["lost"]);
        assert!(fleet.forget("lost") && fleet.list().is_empty());
    }
}
