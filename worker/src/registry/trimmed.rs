//! Trimmed indexes: made, made again, and remembered by digest.

use std::{
    hash::{Hash, Hasher},
    mem::size_of,
    sync::Arc,
};

use bytes::Bytes;
use papaya::Equivalent;

use super::{error::Error, flat::Flat, names::Target};
use crate::{
    cache::Cache,
    purge::PurgeScope,
    recipes::Usage,
    reference::{Digest, Repository},
    snapshot::{Entries, Recipe, RecipeName},
    upstream::{Site, Source, sha256},
};

/// A trimmed index, and how it is made.
#[derive(Debug)]
pub(crate) struct Trimmed {
    /// As it is served.
    pub(crate) manifest: Arc<Source>,
    /// Its recipe.
    pub(crate) usage: Usage,
}

/// Trimmed indexes by repository and digest, bounded in bytes.
#[derive(Debug)]
pub(super) struct Trims(Cache<Place, Arc<Trimmed>>);

/// Where a trimmed index is served: to those who may pull the repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    site: Site,
    repository: Repository,
    digest: Digest,
}

/// A [`Place`] to look up with.
#[derive(Clone, Copy)]
struct PlaceRef<'a> {
    site: Site,
    repository: &'a Repository,
    digest: &'a Digest,
}

impl Trimmed {
    /// What it takes of memory, about.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.manifest.bytes.len() + self.usage.recipe.weight()
    }
}

impl Trims {
    pub(super) fn new(capacity: u64) -> Self {
        Self(Cache::new(capacity, |place, trimmed| {
            let names = place.repository.as_str().len() + place.digest.as_str().len();
            size_of::<Place>() + names + trimmed.weight()
        }))
    }

    pub(super) fn get(&self, target: &Target<'_>, digest: &Digest) -> Option<Arc<Trimmed>> {
        self.0.get(&PlaceRef {
            site: target.upstream.site(),
            repository: &target.repository,
            digest,
        })
    }

    /// Drops what `scope` covers.
    pub(super) fn purge(&self, scope: &PurgeScope<'_>) {
        self.0.remove_all(|place, trimmed| {
            let digests = [&place.digest, &trimmed.usage.recipe.source_digest];
            scope.covers(place.site, &place.repository, digests)
        });
    }

    pub(super) fn insert(&self, target: &Target<'_>, trimmed: Arc<Trimmed>) {
        let place = Place {
            site: target.upstream.site(),
            repository: target.repository.clone(),
            digest: trimmed.manifest.digest.clone(),
        };
        self.0.insert(place, trimmed);
    }
}

/// The index without all but the entries at `kept`.
pub(super) fn cut(flat: &Flat<'_>, kept: &[usize]) -> Result<Source, Error> {
    let source = flat.source();
    let bytes = metahub_policy::trim(flat.bytes(), kept, source.digest.as_str());
    let bytes = Bytes::from(bytes.map_err(|invalid| Error::from(&invalid))?);
    let digest = sha256(&bytes);
    Ok(Source::new(bytes, source.media_type.clone(), digest))
}

/// Follows a recipe. What comes out is what its name says, or an error.
pub(super) fn follow(recipe: Arc<Recipe>, flat: &Flat<'_>) -> Result<Trimmed, Error> {
    let failed = || Error::NotRemade(recipe.name.digest.clone());
    let kept = match &recipe.kept {
        Entries::Places(places) => {
            let places: Vec<usize> = places.iter().map(|place| usize::from(*place)).collect();
            let fits = places
                .iter()
                .all(|place| *place < flat.index().entries.len());
            fits.then_some(places)
        }
        Entries::Digests(digests) => {
            let digests: Vec<&str> = digests.iter().map(Digest::as_str).collect();
            flat.index().places_of(&digests)
        }
    };
    let kept = kept.ok_or_else(failed)?;
    let manifest = cut(flat, &kept)?;
    if manifest.digest != recipe.name.digest {
        return Err(failed());
    }
    Ok(Trimmed {
        manifest: Arc::new(manifest),
        usage: Usage::of(recipe),
    })
}

/// The name of the recipe for `digest`.
pub(super) fn name(target: &Target<'_>, digest: &Digest) -> RecipeName {
    RecipeName {
        digest: digest.clone(),
        upstream: target.upstream.name.clone(),
        repository: target.repository.clone(),
    }
}

impl Hash for PlaceRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.site.hash(state);
        self.repository.hash(state);
        self.digest.hash(state);
    }
}

impl Equivalent<Place> for PlaceRef<'_> {
    fn equivalent(&self, place: &Place) -> bool {
        *self.digest == place.digest
            && *self.repository == place.repository
            && self.site == place.site
    }
}
