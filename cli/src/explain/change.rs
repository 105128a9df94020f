//! What if: which images would change for a machine type.

use serde::Serialize;

use super::outcome::{Answer, Outcome, Variant};

/// An image, before and after a change of a machine type.
#[derive(Debug, Serialize)]
pub(crate) struct Change {
    pub(crate) image: String,
    /// Whether hosts of the type get something else for it.
    pub(crate) changed: bool,
    pub(crate) from: Side,
    pub(crate) to: Side,
}

/// What a machine type gets on one side of the change.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Side {
    #[serde(flatten)]
    pub(crate) answer: Answer,
    /// The kept images.
    pub(crate) variants: Vec<Variant>,
}

impl Change {
    pub(crate) fn of(image: String, from: &Outcome, to: &Outcome) -> Self {
        let (from, to) = (Side::of(from), Side::of(to));
        // Two refusals differ in their words only.
        let changed = from.answer.gets != to.answer.gets || from.variants != to.variants;
        Self {
            image,
            changed,
            from,
            to,
        }
    }
}

impl Side {
    fn of(outcome: &Outcome) -> Self {
        Self {
            answer: outcome.answer.clone(),
            variants: outcome.images().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::{
        outcome::outcome,
        sample::{digest, host, index, subject},
    };

    fn change(from: &[&str], to: &[&str]) -> Change {
        let content = index(&[("amd64", &[]), ("amd64", &["cpu:skylake"])]);
        let subject = subject(&content, &[]);
        let outcome = |features| outcome(&subject, &host(features), None).unwrap();
        Change::of("bench".into(), &outcome(from), &outcome(to))
    }

    #[test]
    fn a_change_that_brings_another_variant_says_from_which_to_which() {
        let change = change(&["cpu:haswell"], &["cpu:skylake"]);

        assert!(change.changed);
        assert_eq!(change.from.variants[0].digest, digest(0));
        assert_eq!(change.to.variants[0].digest, digest(1));
    }

    #[test]
    fn features_that_no_variant_needs_change_nothing() {
        assert!(!change(&["cpu:skylake"], &["cpu:skylake", "net:efa"]).changed);
        assert!(!change(&["cpu:neoverse_n1"], &["cpu:graviton3"]).changed);
    }
}
