//! Which of the entries that fit is preferred.
//!
//! In this order: the admin's pin, the author's priority, the best value of
//! each namespace, the number of requirements met, a compression that every
//! client reads, the place in the index.

use std::{
    cmp::{Ordering, Reverse},
    collections::BTreeMap,
};

use super::{
    compatibility::View,
    requirements::{Requirement, Requirements},
    verdict::Step,
};
use crate::{
    Entry,
    cpu::CpuRank,
    feature::{self, Meaning},
    gfx::{self, GfxRank},
    nvcap,
    platform::own_family,
    version::Version,
};

/// How good an entry is for a host. The greatest is the best.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rank<'a> {
    pub(super) pinned: bool,
    priority: i64,
    /// By namespace. An absent namespace is less than any value of it.
    values: BTreeMap<(usize, &'a str), Value>,
    met: usize,
    is_plain: bool,
    place: Reverse<usize>,
    digest: Reverse<&'a str>,
}

/// The best value of a namespace. Only values of one namespace are compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Nvcap(Option<nvcap::Target>),
    Gfx(Option<GfxRank>),
    Cpu(CpuRank),
    Isa(u32),
    Floor(Option<Version>),
    Present,
}

/// What is ranked.
pub(super) struct Ranked<'a> {
    pub(super) view: View<'a>,
    pub(super) place: usize,
    pub(super) entry: &'a Entry,
    pub(super) pinned: bool,
}

impl<'a> Rank<'a> {
    /// The rank of an entry that fits.
    pub(super) fn of(ranked: &Ranked<'a>, requirements: &'a Requirements<'a>) -> Self {
        let view = ranked.view;
        let mut values = BTreeMap::new();
        let mut met = 0;
        for group in requirements.groups() {
            let namespace = group[0].namespace.as_ref();
            let fitting: Vec<_> = group.iter().filter(|one| view.fits(one)).collect();
            met += fitting.len();
            let key = (feature::order(namespace), namespace);
            values.insert(key, best(namespace, &fitting, view));
        }
        let lifted = match values.get(&(feature::order(feature::ISA), feature::ISA)) {
            Some(Value::Isa(level)) => *level,
            _ => 0,
        };
        let key = (feature::order(feature::CPU), feature::CPU);
        if let Some(cpu) = cpu(requirements, lifted, view) {
            values.insert(key, Value::Cpu(cpu));
        }
        let level = requirements.level.iter();
        let stated = requirements.group(feature::CPU);
        met += level
            .filter(|level| !stated.iter().any(|cpu| cpu.value == ***level))
            .count();
        Self {
            pinned: ranked.pinned,
            priority: ranked.entry.priority(),
            values,
            met,
            is_plain: !ranked.entry.is_zstd(),
            place: Reverse(ranked.place),
            digest: Reverse(&ranked.entry.digest),
        }
    }

    /// Whether an entry of rank `other` is as good but for its compression,
    /// which clients look at.
    pub(super) fn is_twin(&self, other: &Self) -> bool {
        let step = self.compare(other).1;
        step == Step::Compression && self.is_plain
    }

    /// How this rank and `other` compare, and what decides it.
    pub(super) fn compare(&self, other: &Self) -> (Ordering, Step) {
        let mut ordering = self.pinned.cmp(&other.pinned);
        if ordering.is_ne() {
            return (ordering, Step::Pin);
        }
        ordering = self.priority.cmp(&other.priority);
        if ordering.is_ne() {
            return (ordering, Step::Priority);
        }
        let namespaces = self.values.keys().chain(other.values.keys());
        let different = namespaces.filter(|key| self.values.get(*key) != other.values.get(*key));
        if let Some(key) = different.min() {
            ordering = self.values.get(key).cmp(&other.values.get(key));
            return (ordering, Step::Namespace(key.1.to_owned()));
        }
        ordering = self.met.cmp(&other.met);
        if ordering.is_ne() {
            return (ordering, Step::Met);
        }
        ordering = self.is_plain.cmp(&other.is_plain);
        if ordering.is_ne() {
            return (ordering, Step::Compression);
        }
        let place = self.place.cmp(&other.place);
        (place.then(self.digest.cmp(&other.digest)), Step::Place)
    }
}

fn best(namespace: &str, fitting: &[&Requirement<'_>], view: View<'_>) -> Value {
    let values = fitting.iter().map(|requirement| requirement.value.as_str());
    match feature::meaning(namespace) {
        Meaning::Nvcap => Value::Nvcap(values.filter_map(nvcap::Target::parse).max()),
        Meaning::Gfx => Value::Gfx(values.filter_map(|value| gfx_rank(value, view)).max()),
        Meaning::Floor => Value::Floor(values.filter_map(Version::parse).max()),
        Meaning::Isa => Value::Isa(lift(values, view)),
        Meaning::Cpu => Value::Cpu(CpuRank::default()),
        Meaning::Opaque => Value::Present,
    }
}

/// The best CPU that fits, at least of the level that the flags lift to.
fn cpu(requirements: &Requirements<'_>, lifted: u32, view: View<'_>) -> Option<CpuRank> {
    let host = view.host;
    let stated = requirements.group(feature::CPU).iter();
    let stated = stated.map(|cpu| cpu.value.as_str());
    let names = stated.chain(requirements.level.as_deref());
    let ranks =
        names.filter_map(|name| host.processors().runs(host.cpus(), view.architecture, name));
    match (ranks.max(), lifted) {
        (None, 0) => None,
        (best, level) => {
            let best = best.unwrap_or_default();
            Some(CpuRank {
                level: best.level.max(level),
                ..best
            })
        }
    }
}

/// The highest of the generic levels that first have each of `flags`.
fn lift<'a>(flags: impl Iterator<Item = &'a str>, view: View<'_>) -> u32 {
    let Some(family) = own_family(view.architecture) else {
        return 0;
    };
    let levels = flags.map(|flag| view.host.cpus().level_with_flag(family, flag));
    levels.max().unwrap_or(0)
}

fn gfx_rank(value: &str, view: View<'_>) -> Option<GfxRank> {
    let build = gfx::Target::parse(value);
    let ranks = view
        .host
        .values(feature::GFX)
        .filter_map(|own| gfx::Target::parse(own).runs(build));
    ranks.max()
}
