//! The selection: which entries of an index a host is given, and why.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use crate::{
    Entry, Host, Index, MatchMode, Rule, feature, host::Tier, is_index_media_type,
    platform::ClientPlatform,
};

mod compatibility;
mod host_type;
mod rank;
mod refusal;
mod requirements;
mod verdict;

pub use self::host_type::{TypeChoice, Unmet, choose_type, own_type};
pub use self::verdict::{Misfit, NotCandidate, Step, Verdict};
use self::{
    compatibility::View,
    rank::{Rank, Ranked},
    requirements::Requirements,
};

/// What an admin states about the image at hand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The rules that apply to the repository and tag, in order of their names.
    pub rules: &'a [&'a Rule],
    /// The digest that is pinned for this type and repository.
    pub pin: Option<&'a str>,
}

/// What a host is given of an index, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The kept entries: places in `Index::entries`, ascending. Of entries that
    /// are one to clients, the first. Empty when nothing fits.
    pub kept: Vec<usize>,
    /// Why, for each entry of the index.
    pub verdicts: Vec<Verdict>,
    /// What became of the pin.
    pub pin: PinOutcome,
    /// What the host has, for people. Empty unless nothing fits.
    host: String,
    /// What the host is, likewise.
    platform: String,
}

/// What became of a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinOutcome {
    /// There is none.
    NoPin,
    /// The pinned entry is kept.
    Served,
    /// The index lists the pinned entry, whose verdict says why it is not
    /// kept. The best of the others is.
    NotServed,
    /// The index does not list the pinned entry. The best of the others is
    /// kept.
    Absent,
}

impl Selection {
    /// Whether nothing fits.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && !self.verdicts.is_empty()
    }

    /// The one kept image, when exactly one is kept besides its attestations.
    pub fn single_image(&self) -> Option<usize> {
        let image = |verdict: &Verdict| matches!(verdict, Verdict::Chosen | Verdict::Pinned);
        let mut images = (0..self.verdicts.len()).filter(|place| image(&self.verdicts[*place]));
        let first = images.next()?;
        images.next().is_none().then_some(first)
    }

    /// The digests of the kept entries, in source order, each once: what a
    /// recipe holds. [`Index::places_of`] leads back to [`Selection::kept`].
    pub fn kept_digests<'a>(&self, index: &'a Index) -> Vec<&'a str> {
        let mut digests = Vec::with_capacity(self.kept.len());
        let entries = self
            .kept
            .iter()
            .filter_map(|place| index.entries.get(*place));
        for digest in entries.map(|entry| entry.digest.as_str()) {
            if !digests.contains(&digest) {
                digests.push(digest);
            }
        }
        digests
    }

    /// What to tell a host that nothing fits: names its type, what the
    /// variants need, and the first requirement that failed. One line of plain
    /// characters, about 600 bytes at most.
    pub fn refusal(&self, image: &str, type_name: &str, _index: &Index) -> String {
        refusal::sentence(self, image, type_name)
    }
}

/// Selects the entries of `index` for `host`. Total and deterministic: the
/// same input gives the same result in every process and release.
pub fn select(host: &Host, index: &Index, facts: Facts<'_>) -> Selection {
    let mut round = Round {
        host,
        index,
        facts,
        verdicts: index.entries.iter().map(not_an_image).collect(),
    };
    if round.lists_images() {
        round.run();
    } else {
        round.verdicts.fill(Some(Verdict::Whole));
    }
    round.finish()
}

/// The digest of the entry that `entry` is about, where it is an attestation.
pub(crate) fn refers_to(entry: &Entry) -> Option<&str> {
    let annotated = entry.annotation("vnd.docker.reference.digest");
    annotated.or(entry.subject.as_deref())
}

/// One selection under way.
struct Round<'a> {
    host: &'a Host,
    index: &'a Index,
    facts: Facts<'a>,
    /// `None` while it is open.
    verdicts: Vec<Option<Verdict>>,
}

/// An entry that is an image.
struct Candidate<'a> {
    place: usize,
    platform: Option<ClientPlatform<'a>>,
}

/// The open entries.
#[derive(Default)]
struct Screened<'a> {
    /// For the host's own platforms.
    own: Vec<Candidate<'a>>,
    /// For platforms whose images it runs, too.
    compatible: Vec<Candidate<'a>>,
    /// For other platforms, where the type asks for them.
    other: Vec<Candidate<'a>>,
    /// For none in particular.
    unplaced: Vec<Candidate<'a>>,
}

/// A candidate that the host can be given.
struct Fit<'a> {
    candidate: &'a Candidate<'a>,
    requirements: &'a Requirements<'a>,
    rank: Rank<'a>,
}

impl<'a> Round<'a> {
    /// Whether an entry is an image that hosts can choose: it names a platform
    /// of machines, or states requirements.
    fn lists_images(&self) -> bool {
        let host = self.host.platform();
        let cpus = self.host.cpus();
        let open = self.verdicts.iter().zip(&self.index.entries);
        let mut open = open.filter(|(verdict, _)| verdict.is_none());
        open.any(|(_, entry)| match &entry.platform {
            Some(platform) => {
                let own = ClientPlatform::of(platform);
                host.only_architecture() == Some(&*own.architecture)
                    || !own.architecture.starts_with("wasm")
            }
            None => !Requirements::of(entry, self.facts.rules, cpus).is_generic(),
        })
    }

    fn run(&mut self) {
        let screened = self.screen();
        let found = self.choose(self.host, &screened.own)
            || self.choose(self.host, &screened.compatible)
            || self.choose(self.host, &screened.unplaced);
        if let Some(other) = self.host.other() {
            self.choose(other, &screened.other);
        }
        if found {
            self.close(&screened.compatible);
            self.close(&screened.unplaced);
        }
        self.keep_attestations();
        self.keep_same_images();
    }

    /// Writes the verdicts of candidates that no one looked at.
    fn close(&mut self, candidates: &[Candidate<'_>]) {
        for candidate in candidates {
            let verdict = match &candidate.platform {
                Some(own) => Verdict::OtherPlatform {
                    platform: own.to_string(),
                },
                None => Verdict::NotCandidate(NotCandidate::NoPlatform),
            };
            self.verdicts[candidate.place].get_or_insert(verdict);
        }
    }

    /// The open entries, by how their platforms suit the host.
    fn screen(&mut self) -> Screened<'a> {
        let mut screened = Screened::default();
        for (place, entry) in self.index.entries.iter().enumerate() {
            if self.verdicts[place].is_some() {
                continue;
            }
            let platform = entry.platform.as_ref().map(ClientPlatform::of);
            let tier = platform.as_ref().map(|own| self.host.platform().tier(own));
            let candidate = Candidate { place, platform };
            match tier {
                None => screened.unplaced.push(candidate),
                Some(Some(Tier::Own)) => screened.own.push(candidate),
                Some(_) if self.host.other().is_some() => screened.other.push(candidate),
                Some(Some(Tier::Compatible)) => screened.compatible.push(candidate),
                Some(None) => self.close(&[candidate]),
            }
        }
        screened
    }

    /// Chooses the best candidate of each platform for `host`. Says whether
    /// there is one.
    fn choose(&mut self, host: &'a Host, candidates: &[Candidate<'a>]) -> bool {
        let requirements = candidates.iter().map(|candidate| {
            let entry = &self.index.entries[candidate.place];
            Requirements::of(entry, self.facts.rules, host.cpus())
        });
        let requirements: Vec<_> = requirements.collect();
        let mut platforms: BTreeMap<_, Vec<Fit<'_>>> = BTreeMap::new();
        for (candidate, requirements) in candidates.iter().zip(&requirements) {
            match self.judge(host, candidate, requirements) {
                Ok(rank) => {
                    let fits = platforms.entry(&candidate.platform).or_default();
                    fits.push(Fit {
                        candidate,
                        requirements,
                        rank,
                    });
                }
                Err(verdict) => self.verdicts[candidate.place] = Some(verdict),
            }
        }
        let best: Vec<_> = platforms
            .values()
            .filter_map(|fits| self.rank(fits))
            .collect();
        self.narrow(host, &best);
        !best.is_empty()
    }

    /// The candidate's rank, or why it is not kept.
    fn judge<'b>(
        &self,
        host: &'b Host,
        candidate: &'b Candidate<'a>,
        requirements: &'b Requirements<'b>,
    ) -> Result<Rank<'b>, Verdict>
    where
        'a: 'b,
    {
        let entry = &self.index.entries[candidate.place];
        let view = View {
            host,
            architecture: match &candidate.platform {
                Some(platform) => &platform.architecture,
                None => host.platform().only_architecture().unwrap_or_default(),
            },
        };
        let pinned = self.facts.pin == Some(entry.digest.as_str());
        if let Some(misfit) = view.misfit(requirements) {
            return Err(Verdict::DoesNotFit(misfit));
        }
        match host.machine_type().mode {
            _ if pinned => {}
            MatchMode::Exact if !requirements.equal(host) => {
                let requires = requirements.texts();
                return Err(Verdict::NotExact { requires });
            }
            MatchMode::BestNoGeneric if requirements.is_generic() => {
                return Err(Verdict::Generic);
            }
            _ => {}
        }
        let ranked = Ranked {
            view,
            place: candidate.place,
            entry,
            pinned,
        };
        Ok(Rank::of(&ranked, requirements))
    }

    /// Writes the verdicts of one platform. Gives its best candidate.
    fn rank<'b>(&mut self, fits: &'b [Fit<'b>]) -> Option<&'b Candidate<'b>> {
        let best = fits.iter().max_by(|a, b| a.rank.compare(&b.rank).0)?;
        let by: Arc<str> = self.index.entries[best.candidate.place]
            .digest
            .as_str()
            .into();
        for fit in fits {
            let (ordering, step) = best.rank.compare(&fit.rank);
            self.verdicts[fit.candidate.place] = Some(match ordering {
                Ordering::Equal if best.rank.pinned => Verdict::Pinned,
                Ordering::Equal => Verdict::Chosen,
                _ => Verdict::OutRanked {
                    by: Arc::clone(&by),
                    step,
                },
            });
        }
        let twin = fits
            .iter()
            .find(|fit| best.rank.is_twin(&fit.rank) && best.requirements == fit.requirements);
        if let Some(twin) = twin {
            self.verdicts[twin.candidate.place] = Some(Verdict::Twin { of: by });
        }
        Some(best.candidate)
    }

    /// Leaves of the platforms that only the type's details tell apart, and of
    /// those that the host can do with, the nearest.
    fn narrow(&mut self, host: &Host, best: &[&Candidate<'_>]) {
        let placed = best
            .iter()
            .filter_map(|candidate| Some((candidate.place, candidate.platform.as_ref()?)));
        let placed: Vec<_> = placed.collect();
        let nearness = |platform| host.platform().nearness(platform);
        for (place, platform) in &placed {
            let nearer = placed.iter().find(|(_, other)| {
                other.serves_as(platform) && nearness(other) > nearness(platform)
            });
            if let Some((nearer, _)) = nearer {
                self.verdicts[*place] = Some(Verdict::OutRanked {
                    by: self.index.entries[*nearer].digest.as_str().into(),
                    step: Step::Platform,
                });
            }
        }
    }

    /// Keeps the attestations of kept entries.
    fn keep_attestations(&mut self) {
        let kept = self.kept_digests();
        for verdict in self.verdicts.iter_mut().flatten() {
            if let Verdict::AttestationDropped { of: Some(of) } = verdict
                && kept.contains_key(&**of)
            {
                *verdict = Verdict::Attestation { of: Arc::clone(of) };
            }
        }
    }

    /// Keeps what has the digest of a kept entry, so that the kept digests
    /// alone say which entries are kept.
    fn keep_same_images(&mut self) {
        let kept = self.kept_digests();
        for (place, entry) in self.index.entries.iter().enumerate() {
            if kept
                .get(entry.digest.as_str())
                .is_some_and(|first| *first != place)
            {
                self.verdicts[place] = Some(Verdict::SameImage);
            }
        }
    }

    /// The digests of the entries kept so far, and the first place of each.
    fn kept_digests(&self) -> BTreeMap<&'a str, usize> {
        let places = self.verdicts.iter().enumerate().rev();
        let kept = places.filter(|(_, verdict)| verdict.as_ref().is_some_and(Verdict::is_kept));
        kept.map(|(place, _)| (self.index.entries[place].digest.as_str(), place))
            .collect()
    }

    fn finish(self) -> Selection {
        let open = || Verdict::NotCandidate(NotCandidate::NoPlatform);
        let verdicts: Vec<_> = self
            .verdicts
            .into_iter()
            .map(|own| own.unwrap_or_else(open))
            .collect();
        let kept = (0..verdicts.len()).filter(|place| verdicts[*place].is_kept());
        let kept = self.index.distinct(kept.collect());
        let pinned = self.facts.pin.map(|pin| {
            let listed = self.index.entries.iter().any(|entry| entry.digest == pin);
            match verdicts.contains(&Verdict::Pinned) {
                true => PinOutcome::Served,
                false if listed => PinOutcome::NotServed,
                false => PinOutcome::Absent,
            }
        });
        let (mut host, mut platform) = (String::new(), String::new());
        if kept.is_empty() {
            let features = self
                .host
                .features()
                .map(|(name, value)| feature::spell(name, value));
            host = features.collect::<Vec<_>>().join(" ");
            platform = self.host.platform().to_string();
        }
        Selection {
            kept,
            verdicts,
            pin: pinned.unwrap_or(PinOutcome::NoPin),
            host,
            platform,
        }
    }
}

/// Why `entry` is no image that a host could be given; `None` if it is one.
fn not_an_image(entry: &Entry) -> Option<Verdict> {
    if is_index_media_type(&entry.media_type) {
        return Some(Verdict::NotCandidate(NotCandidate::NestedIndex));
    }
    let unknown = |name: &str| name.trim().eq_ignore_ascii_case("unknown");
    let platform = entry.platform.as_ref();
    let is_unknown = platform.is_some_and(|own| unknown(&own.os) || unknown(&own.architecture));
    let of = refers_to(entry);
    if of.is_some() || is_unknown {
        let of = of.map(Arc::from);
        return Some(Verdict::AttestationDropped { of });
    }
    let of_image = |kind: &str| platform.is_some() && CONFIGS.contains(&kind);
    if let Some(kind) = entry.artifact_type.as_ref().filter(|kind| !of_image(kind)) {
        return Some(Verdict::NotCandidate(NotCandidate::Artifact(kind.clone())));
    }
    let media_type = entry.media_type.as_str();
    let image = media_type.is_empty() || IMAGES.contains(&media_type);
    (!image).then(|| Verdict::NotCandidate(NotCandidate::MediaType(media_type.to_owned())))
}

/// The media types of image configs: OCI's `artifactType` of an image.
const CONFIGS: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];

/// The media types of image manifests that an index may list.
const IMAGES: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

#[cfg(test)]
mod tests;
