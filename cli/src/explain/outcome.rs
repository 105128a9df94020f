//! What a machine type gets of an image, and why.

use anyhow::Context;
use metahub_policy::{
    Entry, Facts, Host, NotCandidate, OnNoMatch, PinOutcome, Platform, Selection, Verdict, select,
    trim,
};
use serde::Serialize;

use super::{
    Subject,
    content::{Content, Source},
    policy::NamedHost,
};
use crate::demo::digest::sha256;

/// What a machine type gets, and why.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    #[serde(flatten)]
    pub(crate) answer: Answer,
    /// The digests of the kept entries, in source order.
    pub(crate) kept: Vec<String>,
    /// What became of a pin that is not served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pin: Option<String>,
    /// One for each entry, in source order.
    pub(crate) reasons: Vec<Reason>,
}

/// What a worker answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Answer {
    /// The digest that the tag means for it. `None` when it is refused.
    pub(crate) gets: Option<String>,
    #[serde(rename = "as")]
    pub(crate) form: Form,
    /// What it is told when nothing fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refusal: Option<String>,
}

/// In what form an image is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Form {
    /// One image.
    Image,
    /// The source index, all of which is kept.
    Source,
    /// An index of what is kept.
    TrimmedIndex,
    /// The source index, though nothing in it fits.
    Passthrough,
    /// A refusal.
    Nothing,
}

/// An entry of an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Variant {
    pub(crate) digest: String,
    pub(crate) platform: String,
    pub(crate) requirements: Vec<String>,
    /// Its author's.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) priority: i64,
}

/// Why an entry is kept or not.
#[derive(Debug, Serialize)]
pub(crate) struct Reason {
    #[serde(flatten)]
    pub(crate) variant: Variant,
    pub(crate) kept: bool,
    pub(crate) reason: String,
    /// Whether it is an image, and not what belongs to one.
    #[serde(skip)]
    pub(crate) is_image: bool,
}

/// What `host` gets of `subject`, where the digest `pin` is pinned for it.
pub(crate) fn outcome(
    subject: &Subject<'_>,
    host: &NamedHost,
    pin: Option<&str>,
) -> anyhow::Result<Outcome> {
    let source = match subject.content {
        Content::Index(source) => source,
        Content::Whole { digest } => return Ok(Outcome::whole(digest)),
    };
    let rules = subject.rules.as_slice();
    let selection = select(&host.host, &source.index, Facts { rules, pin });
    let mut answer = answer(source, &host.host, &selection)?;
    if selection.is_empty() {
        let text = selection.refusal(&subject.name, &host.login(), &source.index);
        answer.refusal = Some(text);
    }
    let kept = selection.kept_digests(&source.index).into_iter();
    let reasons = source.index.entries.iter().zip(&selection.verdicts);
    Ok(Outcome {
        answer,
        kept: kept.map(str::to_owned).collect(),
        pin: pin_note(selection.pin, pin.unwrap_or_default()),
        reasons: reasons
            .map(|(entry, verdict)| Reason {
                variant: Variant::of(entry, subject),
                kept: verdict.is_kept(),
                reason: verdict.to_string(),
                is_image: is_image(verdict),
            })
            .collect(),
    })
}

/// The entries of an image.
pub(crate) fn variants(subject: &Subject<'_>) -> Vec<Variant> {
    let entries = match subject.content {
        Content::Index(source) => source.index.entries.as_slice(),
        Content::Whole { .. } => &[],
    };
    entries
        .iter()
        .map(|entry| Variant::of(entry, subject))
        .collect()
}

impl Outcome {
    /// The kept images, without what belongs to them.
    pub(crate) fn images(&self) -> impl Iterator<Item = &Variant> {
        let reasons = self.reasons.iter();
        let kept = reasons.filter(|reason| reason.kept && reason.is_image);
        kept.map(|reason| &reason.variant)
    }

    fn whole(digest: &str) -> Self {
        Self {
            answer: Answer {
                gets: Some(digest.to_owned()),
                form: Form::Image,
                refusal: None,
            },
            kept: Vec::new(),
            pin: None,
            reasons: Vec::new(),
        }
    }
}

impl Variant {
    fn of(entry: &Entry, subject: &Subject<'_>) -> Self {
        Self {
            digest: entry.digest.clone(),
            platform: entry.platform.as_ref().map(platform).unwrap_or_default(),
            requirements: entry.requirements(&subject.rules, &subject.cpus),
            priority: entry.priority(),
        }
    }
}

/// As a worker answers a client that takes every media type.
fn answer(source: &Source, host: &Host, selection: &Selection) -> anyhow::Result<Answer> {
    let entries = &source.index.entries;
    let whole = || Some(source.digest.clone());
    let image = selection.single_image();
    let kind = host.machine_type();
    source.index.check_kept(&selection.kept)?;
    let (form, gets) = if selection.is_empty() {
        match kind.on_no_match {
            OnNoMatch::Passthrough => (Form::Passthrough, whole()),
            OnNoMatch::Error => (Form::Nothing, None),
        }
    } else if selection.kept.len() == entries.len() {
        (Form::Source, whole())
    } else if let (Some(place), false) = (image, kind.wants_index()) {
        (Form::Image, Some(entries[place].digest.clone()))
    } else {
        let trimmed = trim(&source.bytes, &selection.kept, &source.digest);
        let trimmed = trimmed.context("cannot trim the index")?;
        (Form::TrimmedIndex, Some(sha256(&trimmed)))
    };
    Ok(Answer {
        gets,
        form,
        refusal: None,
    })
}

fn pin_note(outcome: PinOutcome, pin: &str) -> Option<String> {
    match outcome {
        PinOutcome::NoPin | PinOutcome::Served => None,
        PinOutcome::NotServed => Some(format!("{pin} is pinned, but not kept")),
        PinOutcome::Absent => Some(format!("{pin} is pinned, but not in the index")),
    }
}

/// For example `linux/arm/v7` or `windows/amd64 10.0.20348.1`.
fn platform(platform: &Platform) -> String {
    let mut text = format!("{}/{}", platform.os, platform.architecture);
    if !platform.variant.is_empty() {
        text += &format!("/{}", platform.variant);
    }
    if !platform.os_version.is_empty() {
        text += &format!(" {}", platform.os_version);
    }
    text
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Whether the entry of this verdict is an image, of whatever platform.
pub(crate) fn is_image(verdict: &Verdict) -> bool {
    !matches!(
        verdict,
        Verdict::Attestation { .. }
            | Verdict::AttestationDropped { .. }
            | Verdict::NotCandidate(
                NotCandidate::Artifact(_) | NotCandidate::NestedIndex | NotCandidate::MediaType(_)
            )
    )
}

#[cfg(test)]
mod tests {
    use metahub_policy::{MachineType, Present};

    use super::*;
    use crate::explain::sample::{digest, host, host_of, index, subject};

    fn present_index(features: &[&str]) -> NamedHost {
        host_of(MachineType {
            present: Present::Index,
            ..host(features).host.machine_type().clone()
        })
    }

    #[test]
    fn a_type_gets_the_image_that_fits_and_hears_why_the_others_lose() {
        let content = index(&[
            ("amd64", &[]),
            ("amd64", &["cpu:skylake"]),
            ("amd64", &["cpu:zen4"]),
        ]);

        let outcome = outcome(&subject(&content, &[]), &host(&["cpu:skylake"]), None).unwrap();

        assert_eq!(outcome.answer.form, Form::Image);
        assert_eq!(outcome.answer.gets, Some(digest(1)));
        assert_eq!(outcome.kept, [digest(1)]);
        assert!(outcome.reasons[0].reason.ends_with("is better by cpu"));
        assert!(outcome.reasons[2].reason.starts_with("needs cpu:zen4"));
    }

    #[test]
    fn a_type_that_asks_for_an_index_gets_the_trimmed_one() {
        let content = index(&[("amd64", &[]), ("amd64", &["cpu:skylake"])]);
        let Content::Index(source) = &content else {
            unreachable!()
        };
        let trimmed = trim(&source.bytes, &[0], &source.digest).unwrap();

        let outcome = outcome(&subject(&content, &[]), &present_index(&[]), None).unwrap();

        assert_eq!(outcome.answer.form, Form::TrimmedIndex);
        assert_eq!(outcome.answer.gets, Some(sha256(&trimmed)));
    }

    #[test]
    fn a_type_that_nothing_fits_is_refused_in_the_words_of_the_worker() {
        let content = index(&[("arm64", &[])]);

        let outcome = outcome(&subject(&content, &[]), &host(&["cpu:zen4"]), None).unwrap();

        assert_eq!(outcome.answer.gets, None);
        let refusal = outcome.answer.refusal.unwrap();
        assert!(refusal.contains("machine type qnib-type1"), "{refusal}");
    }

    #[test]
    fn a_pin_that_is_not_in_the_index_is_told() {
        let content = index(&[("amd64", &[])]);

        let outcome = outcome(&subject(&content, &[]), &host(&[]), Some("sha256:gone")).unwrap();

        assert!(outcome.pin.unwrap().contains("not in the index"));
    }
}
