//! The policy as the admin API tells it, made ready for selection.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::{Context, bail};
use metahub_policy::{Cpu, CpuTable, Grant, Host, Rule, RuleMatch};

use super::{Subject, content::Content, name::ImageName};
use crate::record::{MachineType, Pin, Upstream};

/// The records that answers depend on.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) types: Vec<MachineType>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) pins: Vec<Pin>,
    pub(crate) cpus: Vec<Cpu>,
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) grants: Vec<Grant>,
}

/// The policy, ready for selection.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) types: Vec<NamedHost>,
    pub(crate) cpus: Arc<CpuTable>,
    rules: Vec<Rule>,
    pins: Vec<Pin>,
    upstreams: Vec<Upstream>,
    grants: Vec<Grant>,
}

/// A machine type, ready for selection.
#[derive(Clone, Debug)]
pub(crate) struct NamedHost {
    pub(crate) user: String,
    pub(crate) name: String,
    pub(crate) host: Host,
}

impl Policy {
    pub(crate) fn new(records: Records) -> anyhow::Result<Self> {
        let cpus = match records.cpus.as_slice() {
            [] => CpuTable::builtin(),
            some => Arc::new(CpuTable::with_site(some)?),
        };
        let types = records
            .types
            .into_iter()
            .map(|one| NamedHost::new(one, &cpus));
        let types = types.collect::<anyhow::Result<_>>()?;
        // The order that workers apply them in.
        let (mut rules, mut pins) = (records.rules, records.pins);
        rules.sort_by(|a, b| a.name.cmp(&b.name));
        pins.sort_by(|a, b| a.repository.cmp(&b.repository));
        Ok(Self {
            types,
            cpus,
            rules,
            pins,
            upstreams: records.upstreams,
            grants: records.grants,
        })
    }

    /// The image `name` with the rules that apply to it.
    pub(crate) fn subject<'a>(
        &'a self,
        name: &ImageName,
        content: &'a Content,
    ) -> anyhow::Result<Subject<'a>> {
        let place = name.place(&self.upstreams)?;
        let (upstream, repository) = (place.upstream.as_str(), place.repository.as_str());
        let about = |rule: &&Rule| rule.applies_to(upstream, repository, name.tag.as_deref());
        Ok(Subject {
            name: name.to_string(),
            content,
            rules: self.rules.iter().filter(about).collect(),
            cpus: Arc::clone(&self.cpus),
        })
    }

    /// The digest that is pinned for `host` and the image `name`.
    pub(crate) fn pin(&self, host: &NamedHost, name: &ImageName) -> anyhow::Result<Option<&str>> {
        let place = name.place(&self.upstreams)?;
        let pinned = self.pins.iter().find(|pin| {
            pin.user == host.user
                && pin.machine_type == host.without_selectors()
                && scope(pin).applies_to(&place.upstream, &place.repository, None)
        });
        Ok(pinned.map(|pin| pin.digest.as_str()))
    }

    /// The users that own one of `types` and may not pull the image `name`.
    pub(crate) fn refused<'a>(
        &self,
        name: &ImageName,
        types: &'a [NamedHost],
    ) -> anyhow::Result<BTreeSet<&'a str>> {
        let place = name.place(&self.upstreams)?;
        let users = types.iter().map(|host| host.user.as_str());
        let is_open = |user: &str| {
            let is_theirs = |own: &Option<String>| own.as_deref().is_none_or(|own| own == user);
            let mut grants = self.grants.iter().filter(|grant| is_theirs(&grant.user));
            grants.any(|grant| grant.opens(&place.upstream, &place.repository))
        };
        Ok(users
            .filter(|user| place.needs_grant && !is_open(user))
            .collect())
    }

    /// The rules about every image, for an index whose name is not known.
    pub(crate) fn general_rules(&self) -> Vec<&Rule> {
        let general = |rule: &&Rule| rule.repository.is_empty() && rule.tag.is_empty();
        self.rules.iter().filter(general).collect()
    }

    /// The type `name`, written `user/type`, or `type` where one user alone
    /// has one of that name; with the selectors after `+`, if there are any.
    pub(crate) fn machine_type(&self, name: &str) -> anyhow::Result<NamedHost> {
        let (name, selectors) = match name.split_once('+') {
            Some((name, selectors)) => (name, selectors.split('+').collect()),
            None => (name, Vec::new()),
        };
        let matches = |host: &&NamedHost| host.name == name || host.path() == name;
        let found: Vec<_> = self.types.iter().filter(matches).collect();
        match found.as_slice() {
            [one] => one.with_selectors(&selectors),
            [] => bail!("there is no type `{name}`: see `metahubctl type list`"),
            many => {
                let paths: Vec<_> = many.iter().map(|host| host.path()).collect();
                bail!(
                    "several users have a type `{name}`: name one of {}",
                    paths.join(", ")
                )
            }
        }
    }
}

impl NamedHost {
    pub(crate) fn new(record: MachineType, cpus: &Arc<CpuTable>) -> anyhow::Result<Self> {
        let MachineType { user, name, shape } = record;
        let host = Host::new(shape, Arc::clone(cpus))
            .with_context(|| format!("type {user}/{name} cannot be used"))?;
        Ok(Self { user, name, host })
    }

    /// The same type on a host that adds selectors to its login's name, and
    /// those to its own.
    fn with_selectors(&self, selectors: &[&str]) -> anyhow::Result<Self> {
        if selectors.is_empty() {
            return Ok(self.clone());
        }
        let host = self.host.with_selectors(selectors);
        Ok(Self {
            user: self.user.clone(),
            name: format!("{}+{}", self.name, selectors.join("+")),
            host: host.context("the selectors after `+` cannot be used")?,
        })
    }

    /// Its name alone. No type's name has a `+`.
    fn without_selectors(&self) -> &str {
        self.name.split('+').next().unwrap_or_default()
    }

    /// `user/type`.
    pub(crate) fn path(&self) -> String {
        match self.user.as_str() {
            "" => self.name.clone(),
            user => format!("{user}/{}", self.name),
        }
    }

    /// `user-type`, as workers name it to its hosts.
    pub(crate) fn login(&self) -> String {
        match self.user.as_str() {
            "" => self.name.clone(),
            user => format!("{user}-{}", self.name),
        }
    }
}

/// A pin is about the repositories that a rule of its pattern is about.
fn scope(pin: &Pin) -> Rule {
    Rule {
        name: String::new(),
        repository: pin.repository.clone(),
        tag: String::new(),
        matches: RuleMatch::default(),
        requires: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(user: &str, name: &str) -> MachineType {
        MachineType::for_linux(user.into(), name.into(), Vec::new())
    }

    fn rule(name: &str, repository: &str, tag: &str) -> Rule {
        Rule {
            name: name.into(),
            tag: tag.into(),
            requires: vec!["cpu:zen4".into()],
            ..scope(&pin("", repository))
        }
    }

    fn pin(machine_type: &str, repository: &str) -> Pin {
        Pin {
            user: "qnib".into(),
            machine_type: machine_type.into(),
            repository: repository.into(),
            digest: format!("{machine_type} {repository}"),
        }
    }

    fn policy() -> Policy {
        Policy::new(Records {
            types: vec![
                record("qnib", "one"),
                record("qnib", "two"),
                record("lab", "two"),
            ],
            rules: vec![
                rule("b", "qnib/*", ""),
                rule("a", "", "1.*"),
                rule("c", "lab/*", ""),
                rule("d", "", ""),
            ],
            pins: vec![pin("two", "qnib/*"), pin("one", "lab/*")],
            upstreams: vec![Upstream {
                name: "docker.io".into(),
                default: true,
                restricted: true,
                ..Upstream::default()
            }],
            grants: vec![
                grant(Some("qnib"), "docker.io/lab/*"),
                grant(None, "docker.io/open/*"),
            ],
            ..Records::default()
        })
        .unwrap()
    }

    fn grant(user: Option<&str>, repository: &str) -> Grant {
        Grant {
            user: user.map(Into::into),
            repository: repository.into(),
        }
    }

    #[test]
    fn users_without_a_grant_are_known() {
        let policy = policy();
        let refused = |image: &str| {
            let refused = policy
                .refused(&image.parse().unwrap(), &policy.types)
                .unwrap();
            refused.into_iter().collect::<Vec<_>>().join(" ")
        };

        assert_eq!(refused("qnib/bench"), "lab qnib");
        assert_eq!(refused("lab/bench"), "lab");
        assert_eq!(refused("open/bench"), "");
    }

    #[test]
    fn a_type_is_found_by_its_name_where_that_is_enough() {
        let policy = policy();

        assert_eq!(policy.machine_type("one").unwrap().path(), "qnib/one");
        assert_eq!(policy.machine_type("lab/two").unwrap().path(), "lab/two");
        let error = policy.machine_type("two").unwrap_err().to_string();
        assert!(error.contains("qnib/two, lab/two"), "{error}");
    }

    #[test]
    fn the_rules_that_apply_come_in_the_order_of_their_names() {
        let policy = policy();
        let content = Content::Whole {
            digest: String::new(),
        };

        let names = |image: &str| {
            let subject = policy.subject(&image.parse().unwrap(), &content).unwrap();
            let rules = subject.rules.iter();
            rules.map(|rule| rule.name.as_str()).collect::<Vec<_>>()
        };

        assert_eq!(names("qnib/bench:1.2"), ["a", "b", "d"]);
        assert_eq!(names("qnib/bench:2.0"), ["b", "d"]);
        assert_eq!(policy.general_rules().len(), 1);
    }

    #[test]
    fn a_pin_is_for_its_type_and_repositories_only() {
        let policy = policy();
        let pinned = |kind: &str, image: &str| {
            let host = policy.machine_type(kind).unwrap();
            let digest = policy.pin(&host, &image.parse().unwrap()).unwrap();
            digest.map(str::to_owned)
        };

        assert_eq!(pinned("qnib/two", "qnib/bench").unwrap(), "two qnib/*");
        assert_eq!(pinned("lab/two", "qnib/bench"), None);
        assert_eq!(pinned("one", "qnib/bench"), None);
        assert_eq!(pinned("qnib/two+avx2", "qnib/a").unwrap(), "two qnib/*");
    }

    #[test]
    fn selectors_make_another_host_of_the_type() {
        let policy = policy();

        let selected = policy.machine_type("one+nvcap:8.0+avx2").unwrap();

        let shape = selected.host.machine_type();
        assert_eq!(shape.features, ["nvcap:8.0", "avx2"]);
        assert_eq!(selected.login(), "qnib-one+nvcap:8.0+avx2");
        assert!(policy.machine_type("one+").is_err());
    }
}
