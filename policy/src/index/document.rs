//! An index as a document: its top level and the raw text of its entries.

use super::{
    DOCKER_LIST, InvalidIndex, is_index_media_type,
    json::{self, Object},
};
use crate::trim::SOURCE_DIGEST;

/// Largest index that is read, in bytes: what clients take at most.
pub const MAX_INDEX_BYTES: usize = 4 * 1024 * 1024;

/// Most entries of an index, those of nested ones included.
pub const MAX_ENTRIES: usize = 10_000;

/// Keys of an index that readers know, and those of a manifest.
const KEYS: [&str; 12] = [
    "schemaVersion",
    "mediaType",
    "artifactType",
    "manifests",
    "subject",
    "annotations",
    "config",
    "layers",
    "blobs",
    "fsLayers",
    "history",
    "signatures",
];

/// Keys that make a manifest of a document.
const MANIFEST_KEYS: [&str; 4] = ["config", "layers", "fsLayers", "blobs"];

/// An index, its entries raw.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    pub(crate) top: Object<'a>,
    /// Its annotations; `None` when it has none that are an object.
    pub(crate) annotations: Option<Object<'a>>,
    /// The raw text of the array of entries; `None` when it is `null`.
    pub(crate) manifests: Option<&'a str>,
    /// The raw text of each entry.
    pub(crate) entries: Vec<&'a str>,
}

impl<'a> Document<'a> {
    /// Reads the top level of an index, in bounded memory.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, InvalidIndex> {
        if bytes.len() > MAX_INDEX_BYTES {
            return Err(InvalidIndex::TooLarge { size: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(InvalidIndex::Text)?;
        json::check_depth(text)?;
        let top = Object::read_strict(text, &KEYS)?;
        refuse_others(&top)?;
        let annotations = annotations(&top)?;
        let manifests = top.get("manifests");
        let entries = match manifests {
            Some(raw) => json::array(raw, "entries", MAX_ENTRIES)?,
            None => Vec::new(),
        };
        Ok(Self {
            top,
            annotations,
            manifests,
            entries,
        })
    }

    /// Whether it is a docker manifest list, which has no annotations.
    pub(crate) fn is_docker_list(&self) -> bool {
        media_type(&self.top).is_some_and(|media_type| media_type == DOCKER_LIST)
    }
}

/// The annotations. There must be room for the one that trimming adds, unless it
/// is there: what comes of trimming is read again.
fn annotations<'a>(top: &Object<'a>) -> Result<Option<Object<'a>>, InvalidIndex> {
    let raw = top.get("annotations").filter(|raw| raw.starts_with('{'));
    let annotations = raw.map(Object::read).transpose()?;
    top.check_room_for("annotations")?;
    if let Some(annotations) = &annotations {
        annotations.check_room_for(SOURCE_DIGEST)?;
    }
    Ok(annotations)
}

fn refuse_others(top: &Object<'_>) -> Result<(), InvalidIndex> {
    let reason = if !top.members.iter().any(|member| member.key == "manifests") {
        "it has no `manifests`".to_owned()
    } else if let Some(key) = MANIFEST_KEYS.iter().find(|key| top.get(key).is_some()) {
        format!("it has `manifests` and `{key}`, so that readers could take it for a manifest")
    } else if let Some(other) = media_type(top).filter(|own| !is_index_media_type(own)) {
        format!("its media type is `{}`", json::shown(&other))
    } else {
        return Ok(());
    };
    Err(InvalidIndex::NotAnIndex { reason })
}

/// The media type that the document itself says, if it does.
fn media_type(top: &Object<'_>) -> Option<String> {
    let raw = top.get("mediaType")?;
    // What is no text is no index's media type either.
    let media_type: String = serde_json::from_str(raw).unwrap_or_else(|_| raw.to_owned());
    (!media_type.is_empty()).then_some(media_type)
}
