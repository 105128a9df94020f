//! Manifests: by digest the exact bytes, by tag what fits the caller's host.

use std::sync::Arc;

use http::Response;
use metahub_policy::Index;
use tracing::debug;

use super::{
    Asked, Notes, Registry,
    answers::{Answer, Form},
    attached::Attached,
    body::Body,
    choice::{self, Choice, Cut, Decision},
    error::{Error, Wanted},
    flat::Flat,
    names::Target,
    served,
    trimmed::{self, Trimmed},
};
use crate::{
    recipes::StandIn,
    reference::{Digest, Reference},
    snapshot::{Entries, Recipe},
    upstream::{self, Source},
};

impl Registry {
    /// Answers for a manifest.
    pub(super) async fn manifest(
        &self,
        asked: &Asked<'_>,
        target: &Target<'_>,
        reference: &Reference,
        notes: &mut Notes,
    ) -> Result<Response<Body>, Error> {
        let tag = match reference {
            Reference::Digest(digest) => {
                let manifest = self.by_digest(target, digest, notes).await?;
                self.count_passed_over(asked, target, &manifest);
                return Ok(served::manifest(asked, &manifest, &manifest));
            }
            Reference::Tag(tag) => tag,
        };
        if let Some(attached) = Attached::read(tag) {
            let source = self.attached(target, &attached, notes).await?;
            return Ok(served::manifest(asked, &source, &source));
        }
        let source = self.source(target, reference, notes).await?;
        let Some(index) = source.index()? else {
            return Ok(served::manifest(asked, &source, &source));
        };
        notes.chosen_from = Some(source.clone());
        let choice = Choice {
            asked,
            target,
            tag,
            source: &source,
        };
        Ok(match self.choose(&choice, index, notes).await? {
            Answer::Source => served::manifest(asked, &source, &source),
            Answer::Image(image) => served::manifest(asked, &image, &source),
            Answer::Index(trimmed) => {
                let manifest = self.trimmed(&trimmed);
                served::manifest(asked, manifest, &source)
            }
            Answer::Nothing => {
                let flat = self.flat(target, (&source, index), notes).await?;
                return Err(Error::NothingFits(choice.refusal(&flat)));
            }
        })
    }

    /// The manifest as its upstream serves it.
    pub(super) async fn source(
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

    /// What has this digest: content of the upstream, or an index that a worker
    /// has trimmed. One that is known to be trimmed costs no question to the
    /// upstream about it.
    async fn by_digest(
        &self,
        target: &Target<'_>,
        digest: &Digest,
        notes: &mut Notes,
    ) -> Result<Arc<Source>, Error> {
        let reference = Reference::Digest(digest.clone());
        let (upstream, repository) = (target.upstream, &target.repository);
        if let Some(source) = self.puller.fresh(upstream, repository, &reference) {
            notes.hit();
            return Ok(source);
        }
        if let Some(trimmed) = self.trims.get(target, digest) {
            notes.hit();
            return Ok(self.trimmed(&trimmed).clone());
        }
        let name = trimmed::name(target, digest);
        if let Some(recipe) = self.recipes.known(&name) {
            return self.remake(target, recipe, notes).await;
        }
        let (error, wanted) = match self.source(target, &reference, notes).await {
            Err(Error::Upstream(error, wanted)) => (error, wanted),
            other => return other,
        };
        // The upstream cannot know what a worker has trimmed.
        let is_missing = matches!(error, upstream::Error::NotFound { .. });
        if !is_missing && !error.is_weather() {
            return Err(Error::Upstream(error, wanted));
        }
        match self.recipes.find(&name).await {
            Ok(Some(recipe)) => self.remake(target, recipe, notes).await,
            Err(unanswered) if is_missing => Err(Error::NoControl(unanswered)),
            Ok(None) | Err(_) => Err(Error::Upstream(error, wanted)),
        }
    }

    /// Counts an index that is served by its digest to a host whose type would
    /// have been given something else by tag: its client chooses.
    fn count_passed_over(&self, asked: &Asked<'_>, target: &Target<'_>, manifest: &Source) {
        let Ok(Some(index)) = manifest.index() else {
            return;
        };
        if let Some(passed_over) = choice::passed_over(asked, target, index) {
            self.metrics.passed_over(passed_over);
            debug!(
                digest = manifest.digest.as_str(),
                machine_type = %asked.kind.name,
                ?passed_over,
                "serves an index by digest: the client chooses, not the machine type"
            );
        }
    }

    /// Makes a trimmed index again.
    async fn remake(
        &self,
        target: &Target<'_>,
        recipe: Arc<Recipe>,
        notes: &mut Notes,
    ) -> Result<Arc<Source>, Error> {
        let digest = Reference::Digest(recipe.source_digest.clone());
        let source = self.source(target, &digest, notes).await?;
        let Some(index) = source.index()? else {
            return Err(Error::NotRemade(recipe.name.digest.clone()));
        };
        let flat = self.flat(target, (&source, index), notes).await?;
        let trimmed = Arc::new(trimmed::follow(recipe, &flat)?);
        self.trims.insert(target, trimmed.clone());
        Ok(self.trimmed(&trimmed).clone())
    }

    /// What of an index the caller's host is given.
    async fn choose(
        &self,
        choice: &Choice<'_>,
        index: &Index,
        notes: &mut Notes,
    ) -> Result<Answer, Error> {
        let form = choice.form();
        let answer = self.find_answer(choice, index, form, notes).await?;
        match &answer {
            Answer::Image(image) if form == Form::Image && choice.needs_index(image) => {
                self.find_answer(choice, index, Form::Index, notes).await
            }
            _ => Ok(answer),
        }
    }

    async fn find_answer(
        &self,
        choice: &Choice<'_>,
        index: &Index,
        form: Form,
        notes: &mut Notes,
    ) -> Result<Answer, Error> {
        let question = choice.question(form);
        if let Some(answer) = self.answers.get(&question) {
            return Ok(answer);
        }
        let target = choice.target;
        let flat = self.flat(target, (choice.source, index), notes).await?;
        let answer = match choice.decide(&flat, form)? {
            Decision::Source => Answer::Source,
            Decision::Nothing => Answer::Nothing,
            Decision::Image(digest) => self.image(target, digest, notes).await?,
            Decision::Trimmed(cut) => match self
                .trim(target, &flat, (&cut, &choice.asked.kind.user))
                .await?
            {
                Some(trimmed) => Answer::Index(trimmed),
                // Not kept: the control plane may be back in a moment.
                None => return self.stand_in(choice, cut, notes).await,
            },
        };
        self.answers.insert(&question, answer.clone());
        Ok(answer)
    }

    async fn image(
        &self,
        target: &Target<'_>,
        digest: Digest,
        notes: &mut Notes,
    ) -> Result<Answer, Error> {
        let reference = Reference::Digest(digest);
        let image = self.source(target, &reference, notes).await?;
        Ok(Answer::Image(image))
    }

    /// Trims an index such that every worker can. `None`: nobody could be told
    /// how, so that its digest must not be handed out.
    async fn trim(
        &self,
        target: &Target<'_>,
        flat: &Flat<'_>,
        (cut, user): (&Cut, &Arc<str>),
    ) -> Result<Option<Arc<Trimmed>>, Error> {
        let manifest = trimmed::cut(flat, &cut.places)?;
        let places = cut.places.iter().map(|place| u16::try_from(*place).ok());
        let Some(places) = places.collect() else {
            return Ok(None);
        };
        let recipe = Recipe {
            name: trimmed::name(target, &manifest.digest),
            source_digest: flat.source().digest.clone(),
            kept: Entries::Places(places),
            user: user.clone(),
            last_used: 0,
        };
        let Ok(usage) = self.recipes.ensure(recipe).await else {
            return Ok(None);
        };
        let trimmed = Arc::new(Trimmed {
            manifest: Arc::new(manifest),
            usage,
        });
        self.trims.insert(target, trimmed.clone());
        Ok(Some(trimmed))
    }

    /// What is served in the place of a trimmed index: the one image in it, or
    /// else the source.
    async fn stand_in(
        &self,
        choice: &Choice<'_>,
        cut: Cut,
        notes: &mut Notes,
    ) -> Result<Answer, Error> {
        notes.stands_in = true;
        let metrics = self.recipes.metrics();
        if let Some(digest) = cut.image {
            let answer = self.image(choice.target, digest, notes).await?;
            if !matches!(&answer, Answer::Image(image) if choice.needs_index(image)) {
                metrics.stood_in(StandIn::Image);
                return Ok(answer);
            }
        }
        metrics.stood_in(StandIn::Source);
        Ok(Answer::Source)
    }

    /// Counts a use of a trimmed index.
    fn trimmed<'a>(&self, trimmed: &'a Trimmed) -> &'a Arc<Source> {
        self.recipes.metrics().trimmed.inc();
        self.recipes.used(&trimmed.usage);
        &trimmed.manifest
    }
}
