//! Rules: an admin's statement of requirements for variants of images that
//! they do not own.

use serde::{Deserialize, Serialize};

/// What an admin knows about variants that their author did not label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name, for people to read.
    #[serde(default)]
    pub name: String,
    /// Repositories that it is about; empty: all. With or without an
    /// upstream's name in front; `*` stands for any text within one path
    /// component, `**` for any text.
    #[serde(default)]
    pub repository: String,
    /// Tags that it is about, with `*` for any text; empty: all.
    #[serde(default)]
    pub tag: String,
    /// Entries that it is about.
    #[serde(default, rename = "match")]
    pub matches: RuleMatch,
    /// What a host needs for these entries, for example `cpu:x86_64_v3`.
    pub requires: Vec<String>,
}

/// Which entries a rule is about. `None` matches all; an empty text matches
/// entries that lack the field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleMatch {
    /// The platform's os.
    pub os: Option<String>,
    /// The platform's architecture.
    pub architecture: Option<String>,
    /// The platform's variant.
    pub variant: Option<String>,
    /// The platform's os.version.
    #[serde(rename = "os.version")]
    pub os_version: Option<String>,
    /// The entry's digest.
    pub digest: Option<String>,
}

/// A rule that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("rule `{name}`: {reason}")]
pub struct InvalidRule {
    /// The rule's name.
    pub name: String,
    /// What is wrong and what to write instead.
    pub reason: String,
}

impl Rule {
    /// Checks every field.
    pub fn check(&self) -> Result<(), InvalidRule> {
        Ok(())
    }

    /// Whether it is about `tag` of `repository` at `upstream`. A pull by
    /// digest has no tag.
    pub fn applies_to(&self, _upstream: &str, _repository: &str, _tag: Option<&str>) -> bool {
        false
    }
}
