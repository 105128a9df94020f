//! Cuts an index down to its kept entries without touching what is kept.
//!
//! Works on the source text: what stays is copied byte by byte, with its order,
//! blanks and unknown fields. Taken out of the kept platforms is what clients
//! do not understand or would match: `features`, the `os.features` that have a
//! namespace, and `variant` of all but 32-bit arm.

use std::{borrow::Cow, collections::BTreeSet, ops::Range};

use crate::{
    InvalidIndex,
    index::{Document, Object},
    platform::{architecture, is_requirement},
};

/// The annotation that names the index that was trimmed.
pub(crate) const SOURCE_DIGEST: &str = "io.metahub.source.digest";

/// The trimmed form of the index `source`: only the entries at `kept`, without
/// their requirement tokens, and an annotation that names `source_digest`.
/// Deterministic bytes.
///
/// A docker manifest list has no annotations and gets none.
pub fn trim(source: &[u8], kept: &[usize], source_digest: &str) -> Result<Vec<u8>, InvalidIndex> {
    let document = Document::read(source)?;
    let kept: BTreeSet<usize> = kept.iter().copied().collect();
    match kept.last() {
        None => return Err(InvalidIndex::Empty),
        Some(last) if *last >= document.entries.len() => {
            return Err(InvalidIndex::NoSuchEntry { place: *last });
        }
        _ => {}
    }
    let text = document.top.text;
    let mut edits = Edits::default();
    if let Some(manifests) = document.manifests {
        let entries = document
            .entries
            .iter()
            .map(|entry| span(text, entry))
            .collect();
        let list = List {
            whole: span(text, manifests),
            items: entries,
        };
        list.keep(|place| kept.contains(&place), &mut edits);
    }
    for place in kept {
        trim_entry(text, document.entries[place], &mut edits)?;
    }
    if !document.is_docker_list() {
        name_source(&document, source_digest, &mut edits)?;
    }
    Ok(edits.apply(text).into_bytes())
}

/// Replacements of pieces of one text, which do not overlap.
#[derive(Default)]
struct Edits(Vec<(Range<usize>, Cow<'static, str>)>);

impl Edits {
    fn cut(&mut self, piece: Range<usize>) {
        self.0.push((piece, Cow::Borrowed("")));
    }

    fn put(&mut self, piece: Range<usize>, text: String) {
        self.0.push((piece, Cow::Owned(text)));
    }

    fn apply(mut self, text: &str) -> String {
        self.0.sort_by_key(|(piece, _)| (piece.start, piece.end));
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for (piece, replacement) in &self.0 {
            out.push_str(&text[at..piece.start]);
            out.push_str(replacement);
            at = piece.end;
        }
        out.push_str(&text[at..]);
        out
    }
}

/// An array or object, and its items or members.
struct List {
    whole: Range<usize>,
    items: Vec<Range<usize>>,
}

impl List {
    /// Cuts all items but those at the places that are `kept`. Each kept one
    /// stays with the comma and the blanks before it; the first takes the place
    /// of the list's first.
    fn keep(&self, kept: impl Fn(usize) -> bool, edits: &mut Edits) {
        let places: Vec<usize> = (0..self.items.len()).filter(|place| kept(*place)).collect();
        let (Some(first), Some(last)) = (self.items.first(), self.items.last()) else {
            return;
        };
        let Some(first_kept) = places.first() else {
            // Nothing stays, the blanks of an empty list neither.
            edits.cut(self.whole.start + 1..self.whole.end - 1);
            return;
        };
        if *first_kept > 0 {
            edits.cut(first.start..self.items[*first_kept].start);
        }
        let mut end = self.items[*first_kept].end;
        for place in &places[1..] {
            let comma = self.items[*place - 1].end;
            if comma > end {
                edits.cut(end..comma);
            }
            end = self.items[*place].end;
        }
        if last.end > end {
            edits.cut(end..last.end);
        }
    }
}

fn trim_entry(text: &str, entry: &str, edits: &mut Edits) -> Result<(), InvalidIndex> {
    let entry = Object::read(entry)?;
    let Some(raw) = entry.get("platform") else {
        return Ok(());
    };
    let platform = Object::read(raw)?;
    let word = |key| {
        platform
            .get(key)
            .and_then(|raw| serde_json::from_str::<String>(raw).ok())
    };
    let is_arm = architecture(&word("architecture").unwrap_or_default()).0 == "arm";
    let os_features = match platform.get("os.features") {
        Some(raw) => OsFeatures::read(raw)?,
        None => OsFeatures::default(),
    };
    let goes = |key: &str| match key {
        "features" => true,
        "variant" => !is_arm,
        "os.features" => os_features.all_go(),
        _ => false,
    };
    let base = offset(text, platform.text);
    let shifted = |piece: Range<usize>| piece.start + base..piece.end + base;
    let members = platform.members.iter();
    let list = List {
        whole: span(text, platform.text),
        items: members
            .map(|member| shifted(platform.span(member)))
            .collect(),
    };
    list.keep(|place| !goes(&platform.members[place].key), edits);
    if !os_features.all_go() {
        os_features.keep_plain(text, edits);
    }
    Ok(())
}

/// The values of `os.features`.
#[derive(Default)]
struct OsFeatures<'a> {
    raw: &'a str,
    values: Vec<&'a str>,
    /// Whether the value at the same place is a requirement.
    requirements: Vec<bool>,
}

impl<'a> OsFeatures<'a> {
    fn read(raw: &'a str) -> Result<Self, InvalidIndex> {
        let values = crate::index::array(raw, "os.features", usize::MAX)?;
        let requirement = |value: &&str| {
            let value = serde_json::from_str::<String>(value);
            value.is_ok_and(|value| is_requirement(&value))
        };
        Ok(Self {
            raw,
            requirements: values.iter().map(requirement).collect(),
            values,
        })
    }

    fn all_go(&self) -> bool {
        !self.requirements.is_empty() && self.requirements.iter().all(|requirement| *requirement)
    }

    fn keep_plain(&self, text: &str, edits: &mut Edits) {
        if self.requirements.contains(&true) {
            let list = List {
                whole: span(text, self.raw),
                items: self.values.iter().map(|value| span(text, value)).collect(),
            };
            list.keep(|place| !self.requirements[place], edits);
        }
    }
}

/// Names `digest` in the annotations of the index.
fn name_source(
    document: &Document<'_>,
    digest: &str,
    edits: &mut Edits,
) -> Result<(), InvalidIndex> {
    let top = &document.top;
    let text = top.text;
    let value = serde_json::to_string(digest).map_err(InvalidIndex::Json)?;
    let member = format!("\"{SOURCE_DIGEST}\":{value}");
    let own = top
        .members
        .iter()
        .find(|member| member.key == "annotations");
    let Some(own) = own else {
        let end = top.members.last().map_or(1, |last| top.span(last).end);
        edits.put(end..end, format!(",\"annotations\":{{{member}}}"));
        return Ok(());
    };
    let Some(annotations) = &document.annotations else {
        edits.put(span(text, own.value), format!("{{{member}}}"));
        return Ok(());
    };
    let base = offset(text, annotations.text);
    if let Some(named) = annotations
        .members
        .iter()
        .find(|member| member.key == SOURCE_DIGEST)
    {
        edits.put(span(text, named.value), value);
        return Ok(());
    }
    match annotations.members.last() {
        Some(last) => {
            let end = base + annotations.span(last).end;
            edits.put(end..end, format!(",{member}"));
        }
        None => edits.put(span(text, own.value), format!("{{{member}}}")),
    }
    Ok(())
}

fn span(text: &str, part: &str) -> Range<usize> {
    let start = offset(text, part);
    start..start + part.len()
}

fn offset(text: &str, part: &str) -> usize {
    crate::index::offset(text, part)
}

#[cfg(test)]
mod tests;
