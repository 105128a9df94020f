//! Rules: an admin's statement of requirements for variants of images that
//! they do not own.

use serde::{Deserialize, Serialize};

use crate::{
    Entry,
    feature::{Feature, Meaning, meaning, misspelt},
    glob,
    index::is_digest,
    version::Version,
};

/// Most requirements of a rule.
const MAX_REQUIRES: usize = 64;

/// Longest pattern or name, in bytes.
const MAX_TEXT: usize = 512;

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
    /// What a host needs for these entries, for example `cpu:x86_64_v3`. They
    /// replace what the entries say themselves in the same namespaces; in
    /// `cpu`, that is their `platform.variant` as well.
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
    #[serde(rename = "os.version", alias = "os_version")]
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
        match self.mistake() {
            Some(reason) => Err(InvalidRule {
                name: self.name.escape_debug().take(80).collect(),
                reason,
            }),
            None => Ok(()),
        }
    }

    /// Whether it is about `tag` of `repository` at `upstream`. A pull by
    /// digest has no tag.
    ///
    /// Docker Hub's `library/` may be left out, as on `docker pull`'s line.
    pub fn applies_to(&self, upstream: &str, repository: &str, tag: Option<&str>) -> bool {
        self.is_about_tag(tag) && self.is_about_repository(upstream, repository)
    }

    /// Whether it is about `entry`.
    pub(crate) fn matches(&self, entry: &Entry) -> bool {
        let RuleMatch {
            os,
            architecture,
            variant,
            os_version,
            digest,
        } = &self.matches;
        let platform = entry.platform.as_ref();
        let field = |wanted: &Option<String>, own: Option<&String>| {
            let own = own.map_or("", |own| own.trim());
            wanted
                .as_ref()
                .is_none_or(|wanted| wanted.eq_ignore_ascii_case(own))
        };
        field(os, platform.map(|own| &own.os))
            && field(architecture, platform.map(|own| &own.architecture))
            && field(variant, platform.map(|own| &own.variant))
            && field(os_version, platform.map(|own| &own.os_version))
            && field(digest, Some(&entry.digest))
    }

    fn is_about_tag(&self, tag: Option<&str>) -> bool {
        match tag {
            _ if self.tag.is_empty() => true,
            Some(tag) => glob::matches(&self.tag, tag),
            None => false,
        }
    }

    fn is_about_repository(&self, upstream: &str, repository: &str) -> bool {
        let pattern = self.repository.as_str();
        let about = |repository: &str| {
            glob::matches(pattern, repository)
                || glob::matches(pattern, &format!("{upstream}/{repository}"))
        };
        let short = || {
            repository
                .strip_prefix("library/")
                .filter(|_| upstream == "docker.io")
        };
        pattern.is_empty() || about(repository) || short().is_some_and(about)
    }

    fn mistake(&self) -> Option<String> {
        let texts = [
            ("name", &self.name),
            ("repository", &self.repository),
            ("tag", &self.tag),
        ];
        for (field, text) in texts {
            let unfit = |c: char| c.is_control() || field != "name" && c.is_whitespace();
            if text.len() > MAX_TEXT || text.contains(unfit) {
                return Some(format!(
                    "`{field}` holds blanks or control characters or is longer than {MAX_TEXT} bytes"
                ));
            }
        }
        if self.tag.contains(['/', ':']) {
            return Some("`tag` holds `/` or `:`; write the tag alone, for example `1.2-*`".into());
        }
        let last = self.repository.rsplit('/').next().unwrap_or_default();
        if last.contains([':', '@']) {
            let instead = "write those in `tag` or `match.digest`";
            return Some(format!("`repository` holds a tag or digest; {instead}"));
        }
        let digest = self.matches.digest.as_deref();
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Some("`match.digest` is no digest; write `sha256:` and 64 hex digits".into());
        }
        self.requires_mistake()
    }

    fn requires_mistake(&self) -> Option<String> {
        if self.requires.is_empty() {
            return Some(
                "requires nothing; write at least one, for example `cpu:x86_64_v3`".into(),
            );
        }
        if self.requires.len() > MAX_REQUIRES {
            return Some(format!("has more than {MAX_REQUIRES} requirements"));
        }
        for text in &self.requires {
            let shown: String = text.escape_debug().take(128).collect();
            if let Some(reason) = misspelt(text) {
                return Some(format!("requirement `{shown}` {reason}"));
            }
            let feature = Feature::parse(text)?;
            if let Some(reason) = value_mistake(&feature) {
                return Some(format!("requirement `{shown}` {reason}"));
            }
        }
        None
    }
}

/// What is wrong with the value of a requirement.
fn value_mistake(feature: &Feature<'_>) -> Option<&'static str> {
    let value = feature.value.to_ascii_lowercase();
    match meaning(&feature.namespace) {
        Meaning::Nvcap if crate::nvcap::Target::parse(&value).is_none() => {
            Some("is no CUDA target; write `nvcap:X.Y`, `X.Ya`, `X.Yf` or `ptxX.Y`")
        }
        Meaning::Gfx if !crate::gfx::Target::parse(&value).is_known() => {
            Some("is no AMD GPU target; write for example `gfx:gfx90a` or `gfx:gfx11-generic`")
        }
        Meaning::Floor if Version::parse(feature.value).is_none() => {
            Some("is no version; write numbers and dots, for example `cuda:12.4`")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Platform;

    fn rule(repository: &str, tag: &str) -> Rule {
        Rule {
            name: "test".into(),
            repository: repository.into(),
            tag: tag.into(),
            matches: RuleMatch::default(),
            requires: vec!["cpu:x86_64_v3".into()],
        }
    }

    fn about(pattern: &str, upstream: &str, repository: &str) -> bool {
        rule(pattern, "").applies_to(upstream, repository, Some("latest"))
    }

    fn entry(architecture: &str, variant: &str) -> Entry {
        Entry {
            platform: Some(Platform {
                os: "linux".into(),
                architecture: architecture.into(),
                variant: variant.into(),
                ..Platform::default()
            }),
            ..Entry::default()
        }
    }

    #[test]
    fn a_repository_may_be_written_with_its_upstream_or_without() {
        assert!(about("almalinux/*", "docker.io", "almalinux/9-base"));
        assert!(about("quay.io/almalinux/*", "quay.io", "almalinux/9-base"));
        assert!(!about(
            "quay.io/almalinux/*",
            "docker.io",
            "almalinux/9-base"
        ));
        assert!(!about("almalinux/*", "docker.io", "almalinux/9/base"));
        assert!(about("almalinux/**", "docker.io", "almalinux/9/base"));
        assert!(about("", "docker.io", "anything"));
    }

    #[test]
    fn docker_hubs_library_may_be_left_out() {
        assert!(about("alpine", "docker.io", "library/alpine"));
        assert!(about("docker.io/alpine", "docker.io", "library/alpine"));
        assert!(!about("alpine", "quay.io", "library/alpine"));
    }

    #[test]
    fn a_rule_about_tags_is_not_about_pulls_by_digest() {
        let tagged = rule("", "1.*");

        assert!(tagged.applies_to("docker.io", "a/b", Some("1.2-skylake")));
        assert!(!tagged.applies_to("docker.io", "a/b", Some("2.0")));
        assert!(!tagged.applies_to("docker.io", "a/b", None));
    }

    #[test]
    fn an_empty_text_matches_entries_without_the_field() {
        let unlabelled = Rule {
            matches: RuleMatch {
                architecture: Some("amd64".into()),
                variant: Some(String::new()),
                ..RuleMatch::default()
            },
            ..rule("", "")
        };

        assert!(unlabelled.matches(&entry("amd64", "")));
        assert!(!unlabelled.matches(&entry("amd64", "v2")));
        assert!(!unlabelled.matches(&entry("arm64", "")));
        assert!(!unlabelled.matches(&Entry::default()));
    }

    #[test]
    fn rules_that_cannot_be_used_say_what_to_write() {
        let requires = |text: &str| Rule {
            requires: vec![text.into()],
            ..rule("", "")
        };
        let refusal = |rule: &Rule| rule.check().unwrap_err().to_string();

        assert!(rule("almalinux/*", "9*").check().is_ok());
        assert!(requires("nvcap:ptx9.0").check().is_ok());
        assert!(refusal(&requires("nvcap:hopper")).contains("ptxX.Y"));
        assert!(refusal(&requires("cpu:")).contains("cpu:skylake"));
        assert!(
            refusal(&Rule {
                requires: Vec::new(),
                ..rule("", "")
            })
            .contains("at least one")
        );
        assert!(refusal(&rule("a b", "")).contains("`repository`"));
        assert!(refusal(&rule("", "repo:1.2")).contains("tag alone"));
        assert!(refusal(&rule("almalinux/9:latest", "")).contains("`tag`"));
        assert!(rule("localhost:5000/almalinux/*", "").check().is_ok());
    }
}
