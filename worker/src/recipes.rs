//! Recipes: what it takes to make a trimmed index again, on any worker.
//!
//! A recipe is recorded at the control plane before its digest is handed out.
//! The control plane pushes it to all workers, so most are known; one that has
//! not come yet is asked for. Each question is asked once for all who wait.

use std::{
    mem::size_of,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::Semaphore;
use tracing::warn;

use self::metrics::{Lookup, Record};
use crate::{
    cache::{Cache, Flights, Ticket},
    snapshot::{Current, Recipe, RecipeName},
    sync::{Link, Unanswered},
};

mod metrics;

pub(crate) use self::metrics::{Metrics, StandIn};

/// What recipes that the policy does not hold yet may weigh, in bytes.
const RECENT: u64 = 8 << 20;
/// What the names of unknown recipes may weigh, in bytes.
const MISSING: u64 = 1 << 20;
/// For how long it is remembered that there is no such recipe.
const MISSING_TTL: Duration = Duration::from_secs(2);
/// How many recipes are recorded, and how many are looked up, at a time:
/// clients that ask for random digests do not flood the control plane.
const RECORDS: usize = 32;
const LOOKUPS: usize = 8;
/// How often the control plane is told that a recipe is in use, in seconds.
const DAY: u64 = 24 * 60 * 60;

/// The recipes that this worker knows or can ask for.
#[derive(Debug)]
pub(crate) struct Recipes {
    current: Arc<Current>,
    desk: Arc<Desk>,
    recording: Flights<RecipeName, Result<(), Unanswered>>,
    finding: Flights<RecipeName, Result<Option<Arc<Recipe>>, Unanswered>>,
}

/// A recipe in use, and when the control plane last heard of it.
#[derive(Debug)]
pub(crate) struct Usage {
    /// The recipe.
    pub(crate) recipe: Arc<Recipe>,
    /// In seconds since 1970.
    told: AtomicU64,
}

/// What flights share.
#[derive(Debug)]
struct Desk {
    link: Arc<Link>,
    /// Those that the policy may not hold yet.
    recent: Cache<RecipeName, Arc<Recipe>>,
    /// Those that are not there, and until when that is believed.
    missing: Cache<RecipeName, Instant>,
    records: Semaphore,
    lookups: Semaphore,
    metrics: Metrics,
}

impl Recipes {
    /// The recipes of the current policy, and those that can be asked for
    /// through `link`.
    pub(crate) fn new(current: Arc<Current>, link: Arc<Link>) -> Self {
        let desk = Desk {
            link,
            recent: Cache::new(RECENT, |name, recipe| weigh_name(name) + recipe.weight()),
            missing: Cache::new(MISSING, |name, _| weigh_name(name)),
            records: Semaphore::new(RECORDS),
            lookups: Semaphore::new(LOOKUPS),
            metrics: Metrics::default(),
        };
        Self {
            current,
            desk: Arc::new(desk),
            recording: Flights::new(),
            finding: Flights::new(),
        }
    }

    /// What it counts.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.desk.metrics
    }

    /// A recipe that need not be asked for.
    pub(crate) fn known(&self, name: &RecipeName) -> Option<Arc<Recipe>> {
        let current = self.current.load();
        let pushed = current.as_ref().and_then(|it| it.recipe(name).cloned());
        pushed.or_else(|| self.desk.recent.get(name))
    }

    /// Makes sure that every worker can make what `recipe` makes, also after
    /// this one is gone. Asks nobody when the recipe is known.
    pub(crate) async fn ensure(&self, recipe: Recipe) -> Result<Usage, Unanswered> {
        let recipe = Arc::new(recipe);
        match self.known(&recipe.name) {
            Some(known) if known.makes_the_same(&recipe) => Ok(Usage::of(known)),
            // Another source leaves the same index. The newer one is noted,
            // since it is the likelier to stay, but it need not be waited for.
            Some(_) => {
                drop(self.record(recipe.clone()));
                Ok(Usage::new(recipe, unix_secs()))
            }
            None => {
                let recorded = self.record(recipe.clone()).landed().await;
                recorded.unwrap_or(Err(Unanswered::NoConnection))?;
                Ok(Usage::new(recipe, unix_secs()))
            }
        }
    }

    /// Looks for a recipe that another worker may have recorded just now.
    /// `None`: there is none.
    pub(crate) async fn find(&self, name: &RecipeName) -> Result<Option<Arc<Recipe>>, Unanswered> {
        if let Some(recipe) = self.known(name) {
            return Ok(Some(recipe));
        }
        let missing = self.desk.missing.get(name);
        if missing.is_some_and(|until| Instant::now() < until) {
            return Ok(None);
        }
        let desk = self.desk.clone();
        let ticket = self.finding.board(name.clone(), || {
            let name = name.clone();
            async move { desk.find(&name).await }
        });
        let found = ticket.landed().await;
        found.unwrap_or(Err(Unanswered::NoConnection))
    }

    /// Notes that a recipe is in use. Tells the control plane once a day, so
    /// that it keeps the recipe; nobody waits for that.
    pub(crate) fn used(&self, usage: &Usage) {
        let (now, told) = (unix_secs(), usage.told.load(Relaxed));
        if now.saturating_sub(told) <= DAY {
            return;
        }
        let first = usage.told.compare_exchange(told, now, Relaxed, Relaxed);
        if first.is_ok() {
            drop(self.record(usage.recipe.clone()));
        }
    }

    /// The recording goes on when the ticket is dropped.
    fn record(&self, recipe: Arc<Recipe>) -> Ticket<Result<(), Unanswered>> {
        let desk = self.desk.clone();
        self.recording.board(
            recipe.name.clone(),
            || async move { desk.record(recipe).await },
        )
    }
}

impl Desk {
    async fn record(&self, recipe: Arc<Recipe>) -> Result<(), Unanswered> {
        let _turn = self.records.acquire().await;
        let recorded = self.link.record(&recipe).await;
        self.metrics.recorded(match &recorded {
            Ok(()) => Record::Stored,
            Err(_) => Record::Failed,
        });
        match &recorded {
            Ok(()) => self.recent.insert(recipe.name.clone(), recipe),
            Err(error) => warn!(
                digest = recipe.name.digest.as_str(),
                "cannot record how to make a trimmed index again: {error}"
            ),
        }
        recorded
    }

    async fn find(&self, name: &RecipeName) -> Result<Option<Arc<Recipe>>, Unanswered> {
        let _turn = self.lookups.acquire().await;
        let found = self.link.find(name).await;
        self.metrics.looked_up(match &found {
            Ok(Some(_)) => Lookup::Found,
            Ok(None) => Lookup::Missing,
            Err(_) => Lookup::Failed,
        });
        let found = found?.filter(|recipe| recipe.name == *name).map(Arc::new);
        match &found {
            Some(recipe) => self.recent.insert(name.clone(), recipe.clone()),
            None => {
                let until = Instant::now() + MISSING_TTL;
                self.missing.insert(name.clone(), until);
            }
        }
        Ok(found)
    }
}

impl Usage {
    /// Of a recipe that is known.
    pub(crate) fn of(recipe: Arc<Recipe>) -> Self {
        let told = recipe.last_used;
        Self::new(recipe, told)
    }

    fn new(recipe: Arc<Recipe>, told: u64) -> Self {
        Self {
            recipe,
            told: AtomicU64::new(told),
        }
    }
}

impl Recipe {
    fn makes_the_same(&self, other: &Self) -> bool {
        self.source_digest == other.source_digest && self.kept == other.kept
    }
}

fn weigh_name(name: &RecipeName) -> usize {
    let texts = name.digest.as_str().len() + name.upstream.len() + name.repository.as_str().len();
    2 * size_of::<RecipeName>() + size_of::<Recipe>() + texts
}

fn unix_secs() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}
