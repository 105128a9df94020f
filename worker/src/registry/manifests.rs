//! Manifests: by digest the exact bytes, by tag what fits the caller's host.

use std::sync::Arc;

use http::Response;
use metahub_policy::{Entry, Facts, Index, OnNoMatch, Selection, select};

use super::{
    Asked, Notes, Registry,
    accept::accepts,
    answers::{Answer, Question},
    body::Body,
    error::{Error, Wanted},
    names::Target,
    served,
};
use crate::{
    reference::{Digest, Reference, Tag},
    upstream::Source,
};

/// What the policy says about an index.
enum Decision<'a> {
    /// Answer with it as it is.
    Source,
    /// Answer with one of its images.
    Image(&'a Entry, Digest),
    /// Nothing in it fits.
    Nothing,
}

impl Registry {
    /// Answers for a manifest.
    pub(super) async fn manifest(
        &self,
        asked: &Asked<'_>,
        target: &Target<'_>,
        reference: &Reference,
        notes: &mut Notes,
    ) -> Result<Response<Body>, Error> {
        let source = self.source(target, reference, notes).await?;
        let chosen = match reference {
            Reference::Digest(_) => source.clone(),
            Reference::Tag(tag) => match source.index()? {
                Some(index) => {
                    notes.chosen_from = Some(source.clone());
                    let choice = Choice {
                        asked,
                        target,
                        tag,
                        source: &source,
                        index,
                    };
                    self.choose(&choice, notes).await?
                }
                None => source.clone(),
            },
        };
        Ok(served::manifest(asked, &chosen, source.stale.as_ref()))
    }

    /// The manifest as its upstream serves it.
    async fn source(
        &self,
        target: &Target<'_>,
        reference: &Reference,
        notes: &mut Notes,
    ) -> Result<Arc<Source>, Error> {
        let Target {
            upstream,
            repository,
            ..
        } = target;
        if let Some(source) = self.puller.fresh(upstream, repository, reference) {
            notes.hit();
            return Ok(source);
        }
        let pulled = self.puller.manifest(upstream, repository, reference);
        let pulled = notes.wait_for(pulled).await;
        pulled.map_err(|error| Error::Upstream(error, Wanted::Manifest))
    }

    /// What of an index the caller's host is given.
    async fn choose(&self, choice: &Choice<'_>, notes: &mut Notes) -> Result<Arc<Source>, Error> {
        let question = choice.question();
        let answer = match self.answers.get(&question) {
            Some(answer) => answer,
            None => match choice.decide() {
                Decision::Image(entry, _) if !choice.is_taken(&entry.media_type) => {
                    return Ok(choice.source.clone());
                }
                Decision::Image(_, digest) => {
                    let digest = Reference::Digest(digest);
                    let image = self.source(choice.target, &digest, notes).await?;
                    self.keep(&question, Answer::Image(image))
                }
                Decision::Source => self.keep(&question, Answer::Source),
                Decision::Nothing => self.keep(&question, Answer::Nothing),
            },
        };
        match answer {
            Answer::Image(image) if choice.is_taken_as(&image) => Ok(image),
            Answer::Image(_) | Answer::Source => Ok(choice.source.clone()),
            Answer::Nothing => Err(Error::NothingFits(choice.refusal())),
        }
    }

    fn keep(&self, question: &Question<'_>, answer: Answer) -> Answer {
        self.answers.insert(question, answer.clone());
        answer
    }
}

/// An index to choose from, and for whom.
struct Choice<'a> {
    asked: &'a Asked<'a>,
    target: &'a Target<'a>,
    tag: &'a Tag,
    source: &'a Arc<Source>,
    index: &'a Index,
}

impl<'a> Choice<'a> {
    /// What the answer depends on.
    fn question(&self) -> Question<'a> {
        Question {
            site: self.target.upstream.site(),
            repository: &self.target.repository,
            tag: self.tag,
            source: &self.source.digest,
            policy: &self.asked.kind.fingerprint,
        }
    }

    /// Evaluates the policy.
    fn select(&self) -> Selection {
        let upstream = &self.target.upstream.name;
        let repository = self.target.repository.as_str();
        let tag = Some(self.tag.as_str());
        let rules = self.asked.snapshot.rules(upstream, repository, tag);
        let facts = Facts {
            rules: &rules,
            pin: self.asked.kind.pin(upstream, repository),
        };
        select(&self.asked.kind.host, self.index, facts)
    }

    fn decide(&self) -> Decision<'a> {
        let selection = self.select();
        if selection.is_empty() {
            return match self.asked.kind.host.machine_type().on_no_match {
                OnNoMatch::Passthrough => Decision::Source,
                OnNoMatch::Error => Decision::Nothing,
            };
        }
        if selection.kept.len() == self.index.entries.len() {
            return Decision::Source;
        }
        // More than one kept image: a trimmed index belongs here.
        let image = selection.single_image().and_then(|at| {
            let entry = self.index.entries.get(at)?;
            Some(Decision::Image(entry, Digest::parse(&entry.digest)?))
        });
        image.unwrap_or(Decision::Source)
    }

    /// What to tell a host that nothing fits. Evaluates the policy again:
    /// the text names the type, which answers do not depend on.
    fn refusal(&self) -> String {
        let image = format!("{}:{}", self.target.name, self.tag.as_str());
        let name = &self.asked.kind.name;
        self.select().refusal(&image, name, self.index)
    }

    /// Whether the client takes `media_type`. An index need not say what its
    /// entries are.
    fn is_taken(&self, media_type: &str) -> bool {
        media_type.is_empty() || accepts(self.asked.headers, media_type)
    }

    fn is_taken_as(&self, image: &Source) -> bool {
        self.is_taken(image.media_type.to_str().unwrap_or_default())
    }
}
