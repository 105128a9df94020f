//! The part of a snapshot that all logins depend on: upstreams, rules, CPU
//! names, signing keys. There are few of them; a change of one makes all anew.

use std::{collections::HashMap, sync::Arc};

use aws_lc_rs::digest::{Context, SHA256};
use metahub_policy::{Cpu, CpuTable, InvalidCpu, Rule};

use super::{Fingerprint, InvalidPolicy, Record, Records, SigningKey, kinds};
use crate::upstream::Upstream;

type ByName<T> = HashMap<Box<str>, T, ahash::RandomState>;

/// What all logins depend on.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) upstreams: ByName<Arc<Upstream>>,
    /// By the hosts that workers are reached by.
    pub(super) upstreams_by_host: ByName<Arc<Upstream>>,
    pub(super) default_upstream: Option<Arc<Upstream>>,
    /// In order of their names.
    pub(super) rules: Vec<Rule>,
    pub(super) signing_keys: Vec<Arc<SigningKey>>,
    pub(super) cpus: Cpus,
    /// Of all rules and CPU names: what selections for all depend on.
    pub(super) fingerprint: Fingerprint,
}

/// The CPU names of a snapshot.
#[derive(Clone, Debug)]
pub(super) struct Cpus {
    site: Vec<Cpu>,
    pub(super) table: Arc<CpuTable>,
}

impl Ground {
    /// What `records` say. Takes over the CPU names of `previous`, if they are
    /// the same.
    pub(super) fn new(records: &Records, previous: Option<&Self>) -> Result<Self, InvalidPolicy> {
        let mut ground = Self {
            upstreams: ByName::default(),
            upstreams_by_host: ByName::default(),
            default_upstream: None,
            rules: Vec::new(),
            signing_keys: Vec::new(),
            cpus: Cpus::none(),
            fingerprint: Fingerprint::default(),
        };
        let mut cpus = Vec::new();
        for record in records.ground() {
            match record {
                Record::Upstream(upstream) => ground.add_upstream(upstream),
                Record::Rule(rule) => ground.rules.push((**rule).clone()),
                Record::SigningKey(key) => ground.signing_keys.push(key.clone()),
                Record::Cpu(cpu) => cpus.push(cpu.clone()),
                _ => {}
            }
        }
        ground.cpus = Cpus::new(cpus, previous.map(|it| &it.cpus))?;
        ground.rules.iter().try_for_each(Rule::check)?;
        ground.rules.sort_by(|a, b| a.name.cmp(&b.name));
        ground.fingerprint = fingerprint(&ground.rules, &ground.cpus.site);
        Ok(ground)
    }

    fn add_upstream(&mut self, upstream: &Arc<Upstream>) {
        if upstream.is_default && self.default_upstream.is_none() {
            self.default_upstream = Some(upstream.clone());
        }
        for host in &upstream.hosts {
            let by_host = self.upstreams_by_host.entry(host.clone());
            by_host.or_insert_with(|| upstream.clone());
        }
        let name = upstream.name.clone();
        self.upstreams.insert(name, upstream.clone());
    }
}

impl Cpus {
    fn none() -> Self {
        Self {
            site: Vec::new(),
            table: CpuTable::builtin(),
        }
    }

    fn new(site: Vec<Cpu>, previous: Option<&Self>) -> Result<Self, InvalidCpu> {
        if site.is_empty() {
            return Ok(Self::none());
        }
        if let Some(previous) = previous.filter(|previous| previous.site == site) {
            return Ok(previous.clone());
        }
        let table = Arc::new(CpuTable::with_site(&site)?);
        Ok(Self { site, table })
    }
}

fn fingerprint(rules: &[Rule], cpus: &[Cpu]) -> Fingerprint {
    let mut sum = Context::new(&SHA256);
    for rule in rules {
        kinds::add(&mut sum, &format!("{rule:?}"));
    }
    for cpu in cpus {
        kinds::add(&mut sum, &format!("{cpu:?}"));
    }
    kinds::finish(sum)
}
