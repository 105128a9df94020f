//! Makes tables: resolves parents, collects what is inherited.

use std::collections::{BTreeSet, HashMap};

use super::{
    Cpu, CpuId, CpuRank, CpuTable, Entry, InvalidCpu,
    builtin::{self, Target},
    fold,
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
    features.retain(|flag| !target.without.contains(flag));
    features.extend(target.features.iter().cloned());
    let generic = target.vendor == "generic";
    push(table, name, &parents, features, generic);
}

/// `table` with `site` added.
pub(super) fn with_site(mut table: CpuTable, site: &[Cpu]) -> Result<CpuTable, InvalidCpu> {
    site.iter().try_for_each(check_words)?;
    check_names(&table, site)?;
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

/// Adds `cpu` if its parents are there. Says whether it did.
fn add_site(table: &mut CpuTable, cpu: &Cpu) -> bool {
    let parents = cpu.parents.iter().map(|parent| table.find(parent));
    let Some(parents) = parents.collect::<Option<Vec<_>>>() else {
        return false;
    };
    let mut features = inherited(table, &parents);
    features.extend(cpu.features.iter().map(|flag| fold(flag)));
    let id = push(table, &fold(&cpu.name), &parents, features, false);
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
    generic: bool,
) -> CpuId {
    let id = table.cpus.len();
    let mut ancestors = BTreeSet::new();
    for parent in parents {
        ancestors.insert(parent.0);
        ancestors.extend(&table.cpus[parent.0].ancestors);
    }
    let inherited = ancestors.iter().map(|id| table.cpus[*id].rank.level).max();
    let own = if generic { generic_level(name) } else { 0 };
    let family = match parents.first() {
        Some(parent) => table.family(*parent).to_owned(),
        None => name.to_owned(),
    };
    if generic {
        let generics = table.generics.entry(family.clone()).or_default();
        generics.push(CpuId(id));
    }
    table.cpus.push(Entry {
        name: name.to_owned(),
        family,
        rank: CpuRank {
            level: own.max(inherited.unwrap_or(0)),
            ancestors: ancestors.len(),
            features: features.len(),
        },
        ancestors,
        features,
    });
    table.names.insert(name.to_owned(), CpuId(id));
    CpuId(id)
}

/// The level of a generic CPU within its family: N of `x86_64_vN`, ten times
/// the version of `armvX.Ya` (`aarch64` is version 8.0), 1 otherwise.
fn generic_level(name: &str) -> u32 {
    if let Some(level) = name.strip_prefix("x86_64_v") {
        return level.parse().unwrap_or(1);
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

fn check_names(table: &CpuTable, site: &[Cpu]) -> Result<(), InvalidCpu> {
    let mut taken: BTreeSet<String> = table.names.keys().cloned().collect();
    for cpu in site {
        for name in std::iter::once(&cpu.name).chain(&cpu.aliases) {
            if !taken.insert(fold(name)) {
                return Err(InvalidCpu::Duplicate {
                    name: cpu.name.clone(),
                    taken: name.clone(),
                });
            }
        }
    }
    Ok(())
}

/// Why none of `waiting` can be added: a parent that no one has, or a circle.
fn unresolved(table: &CpuTable, waiting: &[&Cpu]) -> InvalidCpu {
    let names = |cpu: &&Cpu| {
        let names = std::iter::once(&cpu.name).chain(&cpu.aliases);
        names.map(|name| fold(name)).collect::<Vec<_>>()
    };
    let coming: BTreeSet<String> = waiting.iter().flat_map(names).collect();
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
