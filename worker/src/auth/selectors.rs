//! Selectors: features that a host adds to its login's name, for example
//! `qnib-type1+nvcap:8.0` or `qnib-type1+nvcap:8.0+cpu:zen3`.

use std::sync::Arc;

use super::Refused;
use crate::{
    cache::Cache,
    snapshot::{Fingerprint, Kind, Snapshot},
};

/// The most selectors of a login.
const MAX_SELECTORS: usize = 16;
/// What the remembered kinds may weigh, in bytes.
const CAPACITY: u64 = 4 << 20;
/// What a kind weighs besides its name and pins, about, in bytes.
const KIND_WEIGHT: usize = 8 << 10;
/// What a pin weighs, about, in bytes.
const PIN_WEIGHT: usize = 512;

/// What a client presents, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Credentials<'a> {
    /// The whole name.
    pub(super) name: &'a str,
    /// The name of the login.
    pub(super) login: &'a str,
    /// What follows the first `+` of the name.
    pub(super) selectors: Option<&'a str>,
    pub(super) secret: &'a str,
}

/// The kinds that selectors have made of machine types, bounded in bytes: a
/// host may come with any selectors, but not fill the memory with them.
#[derive(Debug)]
pub(crate) struct Selected(Cache<(Fingerprint, String), Arc<Kind>>);

impl<'a> Credentials<'a> {
    /// Takes `name:secret` apart. A name of its own has no colon, a name with
    /// selectors may: it ends at the last one, since generated secrets have
    /// none.
    pub(super) fn split(credentials: &'a str) -> Option<Self> {
        let (name, secret) = credentials.split_once(':')?;
        if !name.contains('+') {
            return Some(Self {
                name,
                login: name,
                selectors: None,
                secret,
            });
        }
        let (name, secret) = credentials.rsplit_once(':')?;
        let (login, selectors) = name.split_once('+')?;
        Some(Self {
            name,
            login,
            selectors: Some(selectors),
            secret,
        })
    }
}

impl Selected {
    /// `kind` with these selectors.
    pub(super) fn kind(
        &self,
        snapshot: &Snapshot,
        kind: &Kind,
        selectors: &str,
    ) -> Result<Arc<Kind>, Refused> {
        let name = format!("{}+{selectors}", kind.name);
        let key = (kind.fingerprint, name);
        if let Some(kind) = self.0.get(&key) {
            return Ok(kind);
        }
        let selectors = list(selectors);
        if selectors.len() > MAX_SELECTORS {
            let reason = format!("there are more than {MAX_SELECTORS}");
            return Err(Refused::Selectors(reason));
        }
        let selected = snapshot.with_selectors(kind, &selectors);
        let selected = selected.map_err(|invalid| Refused::Selectors(invalid.to_string()))?;
        let selected = Arc::new(selected);
        self.0.insert(key, selected.clone());
        Ok(selected)
    }
}

impl Default for Selected {
    fn default() -> Self {
        Self(Cache::new(CAPACITY, |(_, name), kind| {
            KIND_WEIGHT + 2 * name.len() + PIN_WEIGHT * kind.pin_count()
        }))
    }
}

/// The selectors, which `+` or `,` separate. A `+` that ends a word of an AMD
/// target, as in `gfx:gfx90a:xnack+`, separates nothing.
fn list(text: &str) -> Vec<&str> {
    let mut list = Vec::new();
    let (mut start, bytes) = (0, text.as_bytes());
    for (at, byte) in bytes.iter().enumerate() {
        let next = bytes.get(at + 1);
        let separates = match byte {
            b',' => true,
            b'+' => next.is_some_and(u8::is_ascii_alphanumeric),
            _ => false,
        };
        if separates {
            list.push(&text[start..at]);
            start = at + 1;
        }
    }
    list.push(&text[start..]);
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::sample::Sample;

    fn select(selectors: &str) -> Result<Arc<Kind>, Refused> {
        let snapshot = Sample::new()
            .machine_type(
                "type1",
                r#"{"features":["cpu:zen3","nvcap:9.0"]}"#,
                "secret",
            )
            .build();
        let kind = snapshot.login("qnib-type1").unwrap().kind.clone();
        Selected::default().kind(&snapshot, &kind, selectors)
    }

    #[test]
    fn a_name_with_selectors_ends_at_the_last_colon_and_another_at_the_first() {
        let split = |text| {
            let given = Credentials::split(text).unwrap();
            (given.name, given.login, given.selectors, given.secret)
        };

        assert_eq!(split("a-b:c:d+e"), ("a-b", "a-b", None, "c:d+e"));
        assert_eq!(
            split("a-b+nvcap:8.0+x:c"),
            ("a-b+nvcap:8.0+x", "a-b", Some("nvcap:8.0+x"), "c")
        );
        assert_eq!(split("a-b+:c"), ("a-b+", "a-b", Some(""), "c"));
        assert_eq!(Credentials::split("a-b+c"), None);
    }

    #[test]
    fn selectors_are_separated_by_plus_or_comma_but_amd_targets_stay_whole() {
        assert_eq!(
            list("nvcap:8.0+cpu:zen3,avx2"),
            ["nvcap:8.0", "cpu:zen3", "avx2"]
        );
        assert_eq!(
            list("gfx:gfx90a:sramecc+:xnack++cpu:zen3"),
            ["gfx:gfx90a:sramecc+:xnack+", "cpu:zen3"]
        );
        assert_eq!(list("gfx:gfx90a:xnack+"), ["gfx:gfx90a:xnack+"]);
        assert_eq!(list(""), [""]);
    }

    #[test]
    fn a_selector_takes_the_place_of_what_the_type_has_in_its_namespace() {
        let kind = select("nvcap:8.0").unwrap();

        assert_eq!(kind.name, "qnib-type1+nvcap:8.0");
        let features = &kind.host.machine_type().features;
        assert_eq!(features, &["cpu:zen3", "nvcap:8.0"]);
        assert_ne!(kind.fingerprint, select("nvcap:7.0").unwrap().fingerprint);
    }

    #[test]
    fn selectors_that_mean_nothing_are_refused_with_a_reason() {
        let many = vec!["a:1"; MAX_SELECTORS + 1].join(",");
        for (selectors, reason) in [
            ("", "is empty"),
            ("nvcap:8.0,", "is empty"),
            ("nvcap:abc", "nvcap:abc"),
            (&many, "more than 16"),
        ] {
            let Err(Refused::Selectors(said)) = select(selectors) else {
                panic!("{selectors} was taken");
            };
            assert!(said.contains(reason), "{said}");
        }
    }

    #[test]
    fn any_number_of_different_selectors_takes_bounded_memory() {
        let snapshot = Sample::new().machine_type("type1", "{}", "secret").build();
        let kind = snapshot.login("qnib-type1").unwrap().kind.clone();
        let selected = Selected::default();

        for n in 0..2_000 {
            selected
                .kind(&snapshot, &kind, &format!("site:{n}"))
                .unwrap();
        }

        assert!(selected.0.weight() <= CAPACITY);
    }
}
