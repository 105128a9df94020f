//! Puts the entries of nested indexes in the place of the indexes.

use std::collections::HashSet;

use super::{Document, Entry, Index, InvalidIndex, MAX_INDEX_BYTES, entry, json};

/// The index `source` with each entry that is one of the indexes `children`
/// (digest and bytes) replaced by that index's own entries, as they are
/// written there. What is listed already, for the same platform, is left out.
///
/// The result is for [`Index::parse`] and [`crate::trim()`] only: it has no
/// digest that an upstream knows. Deterministic bytes.
pub fn flatten(source: &[u8], children: &[(&str, &[u8])]) -> Result<Vec<u8>, InvalidIndex> {
    let document = Document::read(source)?;
    let Some(manifests) = document.manifests else {
        return Ok(source.to_vec());
    };
    let index = entry::read_all(&document)?;
    let children = children
        .iter()
        .map(|(digest, bytes)| Ok((*digest, Child::read(bytes)?)))
        .collect::<Result<Vec<_>, InvalidIndex>>()?;

    let mut seen = HashSet::new();
    let own = index.entries.iter();
    seen.extend(
        own.filter(|own| child_of(&children, own).is_none())
            .map(key),
    );
    let mut raw = Vec::with_capacity(document.entries.len());
    for (own, text) in index.entries.iter().zip(&document.entries) {
        match child_of(&children, own) {
            None => raw.push(*text),
            Some(child) => {
                let leaves = child.index.entries.iter().zip(&child.document.entries);
                raw.extend(
                    leaves
                        .filter(|(leaf, _)| seen.insert(key(leaf)))
                        .map(|(_, text)| *text),
                );
            }
        }
    }
    let text = document.top.text;
    let size = text.len() + raw.iter().map(|entry| entry.len() + 1).sum::<usize>();
    if size > 2 * MAX_INDEX_BYTES {
        return Err(InvalidIndex::TooLarge { size });
    }
    let start = json::offset(text, manifests);
    let end = start + manifests.len();
    let parts = [&text[..start], "[", &raw.join(","), "]", &text[end..]];
    Ok(parts.concat().into_bytes())
}

struct Child<'a> {
    document: Document<'a>,
    index: Index,
}

impl<'a> Child<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, InvalidIndex> {
        let document = Document::read(bytes)?;
        let index = entry::read_all(&document)?;
        Ok(Self { document, index })
    }
}

fn child_of<'a, 'b>(children: &'a [(&str, Child<'b>)], entry: &Entry) -> Option<&'a Child<'b>> {
    let child = children.iter().find(|(digest, _)| *digest == entry.digest);
    child.map(|(_, child)| child)
}

/// Tells entries apart as [`Index::parse`] does.
fn key(entry: &Entry) -> String {
    format!("{} {:?}", entry.digest, entry::identity(entry))
}
