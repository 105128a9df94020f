//! Makes tables: resolves parents, collects what is inherited.

use std::collections::{BTreeSet, HashMap};

use super::{
    Cpu, CpuId, CpuRank, CpuTable, Entry, InvalidCpu,
    builtin::{self, Target},
    flag_of, fold, identify,
};

/// Longest name, alias or flag of a site's CPU.
const MAX_WORD: usize = 64;

/// The table of the built-in facts.
pub(super) fn builtin() -> CpuTable {
    let facts = builtin::facts();
    let mut table = CpuTable {
        cpus: Vec::with_capacity(facts.cpu.len()),
        names: HashMap::new(),
        generics: HashMap::new(),
        content: Vec::new(),
    };
    // Parents first: a pass adds each target whose parents are there.
    while table.cpus.len() < facts.cpu.len() {
        let before = table.cpus.len();
        for (name, target) in &facts.cpu {
            if !table.names.contains_key(name) {
                add_target(&mut table, name, target);
            }
        }
        assert!(
            table.cpus.len() > before,
            "data/cpus.toml has an unknown parent"
        );
    }
    for (name, target) in &facts.cpu {
        let also: Vec<_> = target.also.iter().map(|it| table.names[it].0).collect();
        let own = table.names[name].0;
        table.cpus[own].ancestors.extend(also);
    }
    for generics in table.generics.values_mut() {
        generics.sort_by_key(|cpu| table.cpus[cpu.0].rank.level);
    }
    for (alias, name) in &facts.alias {
        let id = table.names[name];
        table.names.insert(fold(alias), id);
    }
    table
}

fn add_target(table: &mut CpuTable, name: &str, target: &Target) {
    let parents = target.parents.iter().map(|parent| table.names.get(parent));
    let Some(parents) = parents.map(|id| id.copied()).collect::<Option<Vec<_>>>() else {
        return;
    };
    let mut features = inherited(table, &parents);
    features.extend(target.features.iter().chain(&target.extra).cloned());
    let id = push(table, name, &parents, features, target.is_ranked());
    if target.is_ranked() {
        let signature = identify::Signature::new(target, &parents, table);
        table.cpus[id.0].signature = Some(signature);
    }
    if target.generic {
        let cpu = &mut table.cpus[id.0];
        cpu.rank.level = cpu.rank.level.max(generic_level(name));
        let family = cpu.family.clone();
        table.generics.entry(family).or_default().push(id);
    }
}

/// `table` with `site` added. A site's name takes the place of a built-in one:
/// a release that learns a name does not change what a site means by it.
pub(super) fn with_site(mut table: CpuTable, site: &[Cpu]) -> Result<CpuTable, InvalidCpu> {
    site.iter().try_for_each(check_words)?;
    check_names(site)?;
    for name in site.iter().flat_map(names) {
        table.names.remove(&name);
    }
    let mut waiting: Vec<&Cpu> = site.iter().collect();
    while !waiting.is_empty() {
        let before = waiting.len();
        waiting.retain(|cpu| !add_site(&mut table, cpu));
        if waiting.len() == before {
            return Err(unresolved(&table, &waiting));
        }
    }
    table.content = content(site);
    Ok(table)
}

/// The folded name and aliases of `cpu`.
pub(super) fn names(cpu: &Cpu) -> impl Iterator<Item = String> {
    std::iter::once(&cpu.name)
        .chain(&cpu.aliases)
        .map(|name| fold(name))
}

/// Adds `cpu` if its parents are there. Says whether it did.
fn add_site(table: &mut CpuTable, cpu: &Cpu) -> bool {
    let parents = cpu.parents.iter().map(|parent| table.find(parent));
    let Some(parents) = parents.collect::<Option<Vec<_>>>() else {
        return false;
    };
    let mut features = inherited(table, &parents);
    features.extend(cpu.features.iter().map(|flag| flag_of(flag)));
    let id = push(table, &fold(&cpu.name), &parents, features, true);
    for alias in &cpu.aliases {
        table.names.insert(fold(alias), id);
    }
    true
}

fn inherited(table: &CpuTable, parents: &[CpuId]) -> BTreeSet<String> {
    let features = parents.iter().map(|parent| &table.cpus[parent.0].features);
    features.flatten().cloned().collect()
}

fn push(
    table: &mut CpuTable,
    name: &str,
    parents: &[CpuId],
    features: BTreeSet<String>,
    is_ranked: bool,
) -> CpuId {
    let id = table.cpus.len();
    let mut ancestors = BTreeSet::new();
    for parent in parents {
        ancestors.insert(parent.0);
        ancestors.extend(&table.cpus[parent.0].ancestors);
    }
    let inherited = ancestors.iter().map(|id| table.cpus[*id].rank.level).max();
    let ranked = ancestors.iter().filter(|id| table.cpus[**id].is_ranked);
    let family = match parents.first() {
        Some(parent) => table.family(*parent).to_owned(),
        None => name.to_owned(),
    };
    table.cpus.push(Entry {
        name: name.to_owned(),
        family,
        rank: CpuRank {
            level: inherited.unwrap_or(0),
            ancestors: ranked.count(),
            features: features.len(),
        },
        signature: None,
        ancestors,
        features,
        is_ranked,
    });
    table.names.insert(name.to_owned(), CpuId(id));
    CpuId(id)
}

/// The level of a generic CPU within its family: N of `x86_64_vN`, `zN` and
/// `rvaNu64`, ten times the version of `armvX.Ya` (`aarch64` is version 8.0), 1
/// otherwise.
fn generic_level(name: &str) -> u32 {
    let number = ["x86_64_v", "z", "rva"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix));
    if let Some(number) = number {
        return number.trim_end_matches("u64").parse().unwrap_or(1);
    }
    let version = name
        .strip_prefix("armv")
        .and_then(|rest| rest.strip_suffix('a'));
    match version.and_then(|version| version.split_once('.')) {
        Some((major, minor)) => {
            10 * major.parse::<u32>().unwrap_or(0) + minor.parse::<u32>().unwrap_or(0)
        }
        None if name == "aarch64" => 80,
        None => 1,
    }
}

fn check_words(cpu: &Cpu) -> Result<(), InvalidCpu> {
    let lists = cpu.aliases.iter().chain(&cpu.features).chain(&cpu.parents);
    for word in std::iter::once(&cpu.name).chain(lists) {
        let fine = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if word.is_empty() || word.len() > MAX_WORD || !word.chars().all(fine) {
            return Err(InvalidCpu::Word {
                name: cpu.name.clone(),
                word: word.clone(),
            });
        }
    }
    Ok(())
}

fn check_names(site: &[Cpu]) -> Result<(), InvalidCpu> {
    let mut taken = BTreeSet::new();
    for cpu in site {
        if let Some(name) = names(cpu).find(|name| !taken.insert(name.clone())) {
            return Err(duplicate(cpu, name));
        }
    }
    Ok(())
}

pub(super) fn duplicate(cpu: &Cpu, taken: String) -> InvalidCpu {
    InvalidCpu::Duplicate {
        name: cpu.name.clone(),
        taken,
    }
}

/// Why none of `waiting` can be added: a parent that no one has, or a circle.
fn unresolved(table: &CpuTable, waiting: &[&Cpu]) -> InvalidCpu {
    let coming: BTreeSet<String> = waiting.iter().flat_map(|cpu| names(cpu)).collect();
    for cpu in waiting {
        let unknown = |parent: &&String| !table.contains(parent) && !coming.contains(&fold(parent));
        if let Some(parent) = cpu.parents.iter().find(unknown) {
            return InvalidCpu::UnknownParent {
                name: cpu.name.clone(),
                parent: parent.clone(),
            };
        }
    }
    InvalidCpu::Cycle {
        name: waiting[0].name.clone(),
    }
}

fn content(site: &[Cpu]) -> Vec<u8> {
    let sorted = |words: &[String]| words.iter().map(|word| fold(word)).collect::<BTreeSet<_>>();
    let mut lines: Vec<_> = site
        .iter()
        .map(|cpu| {
            let (parents, features) = (sorted(&cpu.parents), sorted(&cpu.features));
            let aliases = sorted(&cpu.aliases);
            format!("{} {parents:?} {features:?} {aliases:?}\n", fold(&cpu.name))
        })
        .collect();
    lines.sort_unstable();
    lines.concat().into_bytes()
}
