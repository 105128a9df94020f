//! The selection: which entries of an index a host is given, and why.

use crate::{Host, Index, Rule};

/// What an admin states about the image at hand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The rules that apply to the repository and tag, in order of their names.
    pub rules: &'a [&'a Rule],
    /// The digest that is pinned for this type and repository.
    pub pin: Option<&'a str>,
}

/// What a host is given of an index, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The kept entries: places in `Index::entries`, ascending. Empty when
    /// nothing fits.
    pub kept: Vec<usize>,
    /// Why, for each entry of the index.
    pub verdicts: Vec<Verdict>,
}

/// Why an entry is kept or not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is the best of its platform.
    Chosen,
}

impl Selection {
    /// Whether nothing fits.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The one kept image, when exactly one is kept besides its attestations.
    pub fn single_image(&self) -> Option<usize> {
        None
    }

    /// What to tell a host that nothing fits: names `login`'s type, what the
    /// variants need, and the first requirement that failed. One line.
    pub fn refusal(&self, _image: &str, _type_name: &str, _index: &Index) -> String {
        String::new()
    }
}

/// Selects the entries of `index` for `host`. Total and deterministic: the
/// same input gives the same result in every process and release.
pub fn select(_host: &Host, _index: &Index, _facts: Facts<'_>) -> Selection {
    Selection {
        kept: Vec::new(),
        verdicts: Vec::new(),
    }
}
