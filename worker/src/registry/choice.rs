//! What the policy says about an index, for one host.

use metahub_policy::{Facts, Index, OnNoMatch, Selection, select};

use super::{
    Asked,
    accept::accepts,
    answers::{Form, Question},
    error::Error,
    flat::Flat,
    names::Target,
};
use crate::{
    metrics::TagOutcome,
    reference::{Digest, Tag},
    upstream::Source,
};

/// An index to choose from, and for whom.
pub(super) struct Choice<'a> {
    pub(super) asked: &'a Asked<'a>,
    pub(super) target: &'a Target<'a>,
    pub(super) tag: &'a Tag,
    pub(super) source: &'a Source,
}

/// What a host is to be given.
pub(super) enum Decision {
    /// The source index as it is.
    Source,
    /// One of its images.
    Image(Digest),
    /// A part of it.
    Trimmed(Cut),
    /// Nothing fits.
    Nothing,
}

/// What is left of an index.
pub(super) struct Cut {
    /// The places of the kept entries.
    pub(super) places: Vec<usize>,
    /// The one image among them, if there is one.
    pub(super) image: Option<Digest>,
}

/// The most entries of an index that is selected from for a count alone.
const MOST_COUNTED: usize = 100;

/// What the host would be given of `index`, which it asks for by its digest,
/// where that is not the whole of it. What is nested in it is not looked at, nor
/// is an index that would take long: this is for a count, at each request.
pub(super) fn passed_over(
    asked: &Asked<'_>,
    target: &Target<'_>,
    index: &Index,
) -> Option<TagOutcome> {
    if index.entries.len() > MOST_COUNTED || index.nested().next().is_some() {
        return None;
    }
    let selection = evaluate(asked, target, index, None);
    if !selection.is_empty() {
        let is_part = selection.kept.len() < index.entries.len();
        return is_part.then_some(TagOutcome::Choice);
    }
    let refuses = asked.kind.host.machine_type().on_no_match == OnNoMatch::Error;
    refuses.then_some(TagOutcome::Refusal)
}

fn evaluate(asked: &Asked<'_>, target: &Target<'_>, index: &Index, tag: Option<&str>) -> Selection {
    let upstream = &target.upstream.name;
    let repository = target.repository.as_str();
    let rules = asked.snapshot.rules(upstream, repository, tag);
    let facts = Facts {
        rules: &rules,
        pin: asked.kind.pin(upstream, repository),
    };
    select(&asked.kind.host, index, facts)
}

impl<'a> Choice<'a> {
    /// What the answer depends on.
    pub(super) fn question(&self, form: Form) -> Question<'a> {
        Question {
            site: self.target.upstream.site(),
            repository: &self.target.repository,
            tag: self.tag,
            source: &self.source.digest,
            policy: &self.asked.kind.fingerprint,
            form,
        }
    }

    /// The form that the host is given one image in.
    pub(super) fn form(&self) -> Form {
        let wants_index = self.asked.kind.host.machine_type().wants_index();
        match wants_index && self.takes(self.source) {
            true => Form::Index,
            false => Form::Image,
        }
    }

    /// Whether the client does not take `image`, but takes an index.
    pub(super) fn needs_index(&self, image: &Source) -> bool {
        !self.takes(image) && self.takes(self.source)
    }

    /// Evaluates the policy.
    ///
    /// An index that contradicts itself about what this host is given is an
    /// error; other hosts are served from it.
    pub(super) fn decide(&self, flat: &Flat<'_>, form: Form) -> Result<Decision, Error> {
        let index = flat.index();
        let selection = self.select(flat);
        if selection.is_empty() {
            return Ok(match self.asked.kind.host.machine_type().on_no_match {
                OnNoMatch::Passthrough => Decision::Source,
                OnNoMatch::Error => Decision::Nothing,
            });
        }
        if selection.kept.len() == index.entries.len() {
            return Ok(Decision::Source);
        }
        let contradiction = index.check_kept(&selection.kept);
        contradiction.map_err(|invalid| Error::from(&invalid))?;
        let image = selection.single_image().and_then(|at| {
            let entry = index.entries.get(at)?;
            Digest::parse(&entry.digest)
        });
        let mut digests = selection.kept_digests(index).into_iter();
        Ok(match image {
            Some(image) if form == Form::Image => Decision::Image(image),
            image if digests.all(|it| Digest::parse(it).is_some()) => Decision::Trimmed(Cut {
                places: selection.kept,
                image,
            }),
            // By a digest that cannot be verified, nothing can be served.
            _ => Decision::Source,
        })
    }

    /// What to tell a host that nothing fits. Evaluates the policy again: the
    /// text names the type, which answers do not depend on.
    pub(super) fn refusal(&self, flat: &Flat<'_>) -> String {
        let image = format!("{}:{}", self.target.name, self.tag.as_str());
        let name = &self.asked.kind.name;
        self.select(flat).refusal(&image, name, flat.index())
    }

    fn select(&self, flat: &Flat<'_>) -> Selection {
        evaluate(
            self.asked,
            self.target,
            flat.index(),
            Some(self.tag.as_str()),
        )
    }

    fn takes(&self, manifest: &Source) -> bool {
        let media_type = manifest.media_type.to_str().unwrap_or_default();
        accepts(self.asked.headers, media_type)
    }
}
