//! Chooses the machine type of a host.

use std::sync::Arc;

use metahub_policy::{CpuTable, MachineType as Spec, Unmet, choose_type, own_type};

use crate::{
    Error, Result,
    catalog::cpus,
    policy::Policy,
    records::{Kept as _, Key, Kind, MachineType},
};

/// The number of types that an error lists.
const MOST_TOLD: usize = 8;

/// The types that a host may get.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    pub(super) user: &'a str,
    /// The names of the types. Empty: all types of the user.
    pub(super) types: &'a [String],
    /// True if a type is created for a host that no type suits.
    pub(super) auto: bool,
}

/// The chosen type.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub(super) name: String,
    /// The new type. `None`: the type exists.
    pub(super) made: Option<MachineType>,
    /// The reason for the choice, as a sentence.
    pub(super) why: String,
}

/// Chooses the best type for a host with `features`, or checks the requested
/// type.
pub(super) fn choose(
    policy: &Policy,
    terms: &Terms<'_>,
    features: &[String],
    asked: Option<&str>,
) -> Result<Chosen> {
    let cpus = table(policy)?;
    check_features(features, &cpus)?;
    let types = allowed(policy, terms, asked)?;
    let specs: Vec<&Spec> = types.iter().map(|it| &it.spec).collect();
    let choice = choose_type(features, &specs, &cpus)
        .map_err(|error| Error::invalid("features", error.to_string()))?;
    if let Some(best) = choice.best.and_then(|place| types.get(place)) {
        let why = match (best.spec.features.is_empty(), asked) {
            (_, Some(_)) => "it was asked for, and suits the host".to_owned(),
            (true, None) => "it suits any host, and none that says more suits this one".to_owned(),
            (false, None) => format!(
                "the best whose every feature the host has: {}",
                best.spec.features.join(" ")
            ),
        };
        return Ok(Chosen {
            name: best.name.clone(),
            made: None,
            why,
        });
    }
    match terms.auto && asked.is_none() {
        true => make(policy, terms, features, &cpus),
        false => Err(none_suits(terms, features, &types, &choice.unmet)),
    }
}

/// The features of a type that a host with `features` does not have.
pub(super) fn unmet(
    cpus: &Arc<CpuTable>,
    kind: &MachineType,
    features: &[String],
) -> Result<Vec<Unmet>> {
    let choice = choose_type(features, &[&kind.spec], cpus)
        .map_err(|error| Error::invalid("features", error.to_string()))?;
    Ok(choice.unmet.into_iter().next().unwrap_or_default())
}

/// The CPU names of the policy.
pub(super) fn table(policy: &Policy) -> Result<Arc<CpuTable>> {
    match policy.count(Kind::Cpu) {
        0 => Ok(CpuTable::builtin()),
        _ => Ok(Arc::new(cpus::table(policy.all())?)),
    }
}

/// Refuses features that no machine type could have, and too many.
pub(super) fn check_features(features: &[String], cpus: &CpuTable) -> Result<()> {
    let spec = Spec {
        features: features.to_vec(),
        ..Spec::default()
    };
    let checked = spec.check(cpus).map(|_| ());
    checked.map_err(|error| Error::invalid("features", error.to_string()))
}

fn allowed<'a>(
    policy: &'a Policy,
    terms: &Terms<'_>,
    asked: Option<&str>,
) -> Result<Vec<&'a MachineType>> {
    let start = Key::machine_type(terms.user, "");
    let all = policy.starting_with(&start);
    let all = all.filter_map(|(_, record)| MachineType::of(record));
    let allowed = |it: &&MachineType| terms.types.is_empty() || terms.types.contains(&it.name);
    let types = all.filter(allowed);
    let Some(asked) = asked else {
        return Ok(types.collect());
    };
    let types: Vec<&MachineType> = types.filter(|it| it.name == asked).collect();
    match types.is_empty() {
        false => Ok(types),
        true => Err(Error::invalid(
            "machine_type",
            format!("the token lets no host get the type `{asked}`"),
        )),
    }
}

fn make(
    policy: &Policy,
    terms: &Terms<'_>,
    features: &[String],
    cpus: &CpuTable,
) -> Result<Chosen> {
    let (name, features) = own_type(features, cpus);
    if features.is_empty() {
        return Err(Error::invalid(
            "features",
            "name nothing that tells the host from others: see `metahubctl host detect`",
        ));
    }
    let why = format!("made for hosts with {}", features.join(" "));
    let spec = Spec {
        features,
        ..Spec::default()
    };
    let made = MachineType {
        user: terms.user.to_owned(),
        name,
        spec,
    };
    let is_there = policy.get(&Key::machine_type(&made.user, &made.name));
    Ok(Chosen {
        name: made.name.clone(),
        made: is_there.is_none().then_some(made),
        why,
    })
}

fn none_suits(
    terms: &Terms<'_>,
    features: &[String],
    types: &[&MachineType],
    unmet: &[Vec<Unmet>],
) -> Error {
    let told = types
        .iter()
        .zip(unmet)
        .take(MOST_TOLD)
        .map(|(kind, unmet)| {
            let unmet: Vec<String> = unmet.iter().map(Unmet::to_string).collect();
            format!("{}: {}", kind.name, unmet.join(", "))
        });
    let mut told: Vec<String> = told.collect();
    if types.len() > MOST_TOLD {
        told.push(format!("and {} more", types.len() - MOST_TOLD));
    }
    let lacks = match told.is_empty() {
        true => "there is none".to_owned(),
        false => told.join("; "),
    };
    Error::Blocked {
        reason: format!(
            "no machine type of `{}` suits this host, which has {} ({lacks}): create one, or use a token of `metahubctl host token create --auto`",
            terms.user,
            match features.is_empty() {
                true => "no features".to_owned(),
                false => features.join(" "),
            }
        ),
    }
}
