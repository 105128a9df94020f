//! What was selected, remembered: a hit evaluates no policy and takes no lock.
//!
//! The key holds all that a selection depends on, so nothing is ever dropped
//! because the policy changed: what no longer holds is no longer found.

use std::{
    hash::{Hash, Hasher},
    mem::size_of,
    sync::Arc,
};

use papaya::Equivalent;

use crate::{
    cache::Cache,
    purge::PurgeScope,
    reference::{Digest, Repository, Tag},
    snapshot::Fingerprint,
    upstream::{Site, Source},
};

use super::trimmed::Trimmed;

/// What a kind of host is given for a tag.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The source as it is.
    Source,
    /// One image of the source index.
    Image(Arc<Source>),
    /// A part of it.
    Index(Arc<Trimmed>),
    /// No variant fits.
    Nothing,
}

/// How one image is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// As itself.
    Image,
    /// As an index that lists it.
    Index,
}

/// What an answer depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// Where the source is from.
    pub(crate) site: Site,
    /// The repository there.
    pub(crate) repository: &'a Repository,
    /// The tag, which rules may name.
    pub(crate) tag: &'a Tag,
    /// What the tag means at the upstream.
    pub(crate) source: &'a Digest,
    /// The policy.
    pub(crate) policy: &'a Fingerprint,
    /// What the client asks for.
    pub(crate) form: Form,
}

/// A question that is kept.
#[derive(Clone, Debug)]
struct Kept {
    site: Site,
    repository: Repository,
    tag: Tag,
    source: Digest,
    policy: Fingerprint,
    form: Form,
}

/// Answers by question, bounded in bytes.
#[derive(Debug)]
pub(crate) struct Answers(Cache<Kept, Answer>);

impl Answers {
    /// No answers, and room for `capacity` bytes of them.
    pub(crate) fn new(capacity: u64) -> Self {
        Self(Cache::new(capacity, weigh))
    }

    /// The answer, if it is known.
    pub(crate) fn get(&self, question: &Question<'_>) -> Option<Answer> {
        self.0.get(question)
    }

    /// Remembers an answer.
    pub(crate) fn insert(&self, question: &Question<'_>, answer: Answer) {
        self.0.insert(question.keep(), answer);
    }

    /// Drops what `scope` covers.
    pub(crate) fn purge(&self, scope: &PurgeScope<'_>) {
        self.0.remove_all(|kept, answer| {
            let given = match answer {
                Answer::Image(image) => Some(&image.digest),
                Answer::Index(trimmed) => Some(&trimmed.manifest.digest),
                Answer::Source | Answer::Nothing => None,
            };
            let digests = given.into_iter().chain([&kept.source]);
            scope.covers(kept.site, &kept.repository, digests)
        });
    }

    /// How many bytes the answers take.
    pub(crate) fn weight(&self) -> u64 {
        self.0.weight()
    }
}

/// The bytes of an image may be in the cache of sources, too, but need not.
fn weigh(kept: &Kept, answer: &Answer) -> usize {
    let names = kept.repository.as_str().len() + kept.tag.as_str().len();
    let digest = kept.source.as_str().len();
    let image = match answer {
        Answer::Image(image) => size_of::<Source>() + image.bytes.len(),
        Answer::Index(trimmed) => trimmed.weight(),
        Answer::Source | Answer::Nothing => 0,
    };
    size_of::<Kept>() + size_of::<Answer>() + names + digest + image
}

impl Question<'_> {
    fn keep(&self) -> Kept {
        Kept {
            site: self.site,
            repository: self.repository.clone(),
            tag: self.tag.clone(),
            source: self.source.clone(),
            policy: *self.policy,
            form: self.form,
        }
    }
}

impl Kept {
    fn question(&self) -> Question<'_> {
        Question {
            site: self.site,
            repository: &self.repository,
            tag: &self.tag,
            source: &self.source,
            policy: &self.policy,
            form: self.form,
        }
    }
}

impl PartialEq for Question<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
            && self.policy == other.policy
            && self.tag == other.tag
            && self.repository == other.repository
            && self.site == other.site
            && self.form == other.form
    }
}

/// The fingerprint and the digest are hashes already; the tag and repository
/// differ where they do, nearly always.
impl Hash for Question<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.policy.hash(state);
        self.source.hash(state);
        self.tag.hash(state);
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.question() == other.question()
    }
}

impl Eq for Kept {}

impl Hash for Kept {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.question().hash(state);
    }
}

impl Equivalent<Kept> for Question<'_> {
    fn equivalent(&self, kept: &Kept) -> bool {
        *self == kept.question()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Upstream;

    fn digest(of: char) -> Digest {
        Digest::parse(&format!("sha256:{}", String::from(of).repeat(64))).unwrap()
    }

    #[test]
    fn an_answer_is_found_only_by_the_same_question() {
        let hub = Upstream::new("hub", "https://a.example".parse().unwrap(), None, true);
        let other = Upstream::new("other", "https://b.example".parse().unwrap(), None, true);
        let (app, lib) = (Repository::parse("app"), Repository::parse("lib"));
        let (app, lib) = (app.unwrap(), lib.unwrap());
        let (latest, old) = (Tag::parse("latest").unwrap(), Tag::parse("old").unwrap());
        let (a, b) = (digest('a'), digest('b'));
        let question = Question {
            site: hub.site(),
            repository: &app,
            tag: &latest,
            source: &a,
            policy: &[1; 32],
            form: Form::Image,
        };
        let answers = Answers::new(10_000);

        answers.insert(&question, Answer::Nothing);

        assert!(answers.get(&question).is_some());
        for different in [
            Question {
                site: other.site(),
                ..question
            },
            Question {
                repository: &lib,
                ..question
            },
            Question {
                tag: &old,
                ..question
            },
            Question {
                source: &b,
                ..question
            },
            Question {
                policy: &[2; 32],
                ..question
            },
            Question {
                form: Form::Index,
                ..question
            },
        ] {
            assert!(answers.get(&different).is_none(), "{different:?}");
        }
    }
}
