//! Reads the entries of an index.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use super::{
    Document, Entry, Index, InvalidIndex, Platform,
    json::{self, Object},
};
use crate::platform::ClientPlatform;

/// Keys of a descriptor that readers know.
const KEYS: [&str; 9] = [
    "mediaType",
    "digest",
    "size",
    "urls",
    "annotations",
    "data",
    "artifactType",
    "platform",
    "subject",
];

/// Keys of a platform that readers know.
const PLATFORM_KEYS: [&str; 6] = [
    "architecture",
    "os",
    "os.version",
    "os.features",
    "variant",
    "features",
];

/// Most bytes of the annotations of one entry.
const MAX_ANNOTATION_BYTES: usize = 64 * 1024;

/// Most annotations of all entries.
const MAX_ANNOTATIONS: usize = 100_000;

/// Most features of one entry, and os.features likewise.
const MAX_FEATURES: usize = 256;

/// Longest digest, in bytes.
const MAX_DIGEST: usize = 256;

/// Reads all entries.
pub(super) fn read_all(document: &Document<'_>) -> Result<Index, InvalidIndex> {
    let mut entries = Vec::with_capacity(document.entries.len());
    let mut annotations = 0;
    for (place, raw) in document.entries.iter().enumerate() {
        let entry = Reader { place: place + 1 }.entry(raw)?;
        annotations += entry.annotations.len();
        if annotations > MAX_ANNOTATIONS {
            return Err(InvalidIndex::TooMany {
                what: "annotations",
                limit: MAX_ANNOTATIONS,
            });
        }
        entries.push(entry);
    }
    Ok(Index { entries })
}

/// Reads one entry. Knows its place, for errors.
pub(super) struct Reader {
    /// From 1.
    pub(super) place: usize,
}

impl Reader {
    pub(super) fn entry(&self, raw: &str) -> Result<Entry, InvalidIndex> {
        let object = self.object(raw, &KEYS)?;
        let digest: String = self.field(&object, "digest")?.unwrap_or_default();
        if !is_digest(&digest) {
            let reason = format!("`{}` is no digest", json::shown(&digest));
            return Err(self.invalid(reason));
        }
        let artifact_type: Option<String> = self.field(&object, "artifactType")?;
        let platform = match object.get("platform") {
            Some(raw) => self.platform(raw)?,
            None => None,
        };
        Ok(Entry {
            digest,
            media_type: self.field(&object, "mediaType")?.unwrap_or_default(),
            size: self.field(&object, "size")?.unwrap_or_default(),
            artifact_type: artifact_type.filter(|kind| !kind.is_empty()),
            platform,
            annotations: match object.get("annotations") {
                Some(raw) => self.annotations(raw)?,
                None => BTreeMap::new(),
            },
            subject: object.get("subject").and_then(subject),
        })
    }

    fn platform(&self, raw: &str) -> Result<Option<Platform>, InvalidIndex> {
        let object = self.object(raw, &PLATFORM_KEYS)?;
        let text = |key| Ok(self.field::<String>(&object, key)?.unwrap_or_default());
        let platform = Platform {
            os: text("os")?,
            architecture: text("architecture")?,
            variant: text("variant")?,
            os_version: text("os.version")?,
            os_features: self.texts(&object, "os.features")?,
            features: self.texts(&object, "features")?,
        };
        let named = !platform.os.is_empty() || !platform.architecture.is_empty();
        Ok(named.then_some(platform))
    }

    fn annotations(&self, raw: &str) -> Result<BTreeMap<String, String>, InvalidIndex> {
        if raw.len() > MAX_ANNOTATION_BYTES {
            let reason = format!("its annotations have more than {MAX_ANNOTATION_BYTES} bytes");
            return Err(self.invalid(reason));
        }
        let object = self.object(raw, &[])?;
        let members = object.members.into_iter();
        let text = |raw: &str| serde_json::from_str::<Option<String>>(raw);
        let annotations = members.map(|member| {
            let value = text(member.value).map_err(|error| {
                self.invalid(format!(
                    "annotation `{}`: {error}",
                    json::shown(&member.key)
                ))
            })?;
            Ok((member.key, value.unwrap_or_default()))
        });
        annotations.collect()
    }

    fn texts(&self, object: &Object<'_>, key: &'static str) -> Result<Vec<String>, InvalidIndex> {
        let Some(raw) = object.get(key) else {
            return Ok(Vec::new());
        };
        let items = json::array(raw, key, MAX_FEATURES)?;
        let texts = items.into_iter().map(serde_json::from_str::<String>);
        let texts = texts.collect::<Result<_, _>>();
        texts.map_err(|error| self.invalid(format!("`{key}`: {error}")))
    }

    fn field<T: DeserializeOwned>(
        &self,
        object: &Object<'_>,
        key: &str,
    ) -> Result<Option<T>, InvalidIndex> {
        let value = object.get(key).map(serde_json::from_str).transpose();
        value.map_err(|error| self.invalid(format!("`{key}`: {error}")))
    }

    fn object<'a>(&self, raw: &'a str, known: &[&str]) -> Result<Object<'a>, InvalidIndex> {
        let object = match known {
            [] => Object::read(raw),
            known => Object::read_strict(raw, known),
        };
        object.map_err(|error| match error {
            InvalidIndex::Json(error) => self.invalid(error.to_string()),
            InvalidIndex::AmbiguousKey { key } => {
                self.invalid(format!("key `{key}` comes twice or in the wrong case"))
            }
            other => other,
        })
    }

    fn invalid(&self, reason: String) -> InvalidIndex {
        let place = self.place;
        InvalidIndex::Entry { place, reason }
    }
}

/// The digest of a subject: a descriptor, or a digest alone.
fn subject(raw: &str) -> Option<String> {
    let digest = match raw.starts_with('{') {
        true => Object::read(raw).ok()?.get("digest")?,
        false => raw,
    };
    let digest = serde_json::from_str::<String>(digest).ok()?;
    is_digest(&digest).then_some(digest)
}

/// Whether `text` is a digest (OCI image-spec, descriptor.md): with exactly the
/// right letters where the algorithm is a registered one.
pub(crate) fn is_digest(text: &str) -> bool {
    let Some((algorithm, encoded)) = text.split_once(':') else {
        return false;
    };
    let hex = |length: usize| {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        encoded.len() == length && encoded.bytes().all(hex)
    };
    match algorithm {
        "sha256" => hex(64),
        "sha512" => hex(128),
        other => {
            let word = |part: &str| {
                let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
                !part.is_empty() && part.bytes().all(plain)
            };
            let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"=_-".contains(&byte);
            text.len() <= MAX_DIGEST
                && other.split(['+', '.', '_', '-']).all(word)
                && !encoded.is_empty()
                && encoded.bytes().all(letter)
        }
    }
}

/// What tells entries of one digest apart.
pub(super) fn identity(entry: &Entry) -> (Option<ClientPlatform<'_>>, &str, Option<&str>) {
    let platform = entry.platform.as_ref().map(ClientPlatform::of);
    let variant = entry.platform.as_ref().map_or("", |own| &own.variant);
    (platform, variant, crate::selection::refers_to(entry))
}

/// What tells entries apart once they are trimmed.
pub(super) fn seen_by_clients(entry: &Entry) -> (&str, Option<ClientPlatform<'_>>, Option<&str>) {
    let platform = entry.platform.as_ref().map(ClientPlatform::of);
    (&entry.digest, platform, crate::selection::refers_to(entry))
}

/// Why two entries of one digest cannot both be right.
pub(super) fn contradiction(first: &Entry, second: &Entry) -> Option<&'static str> {
    if first.size != second.size {
        return Some(" with different sizes");
    }
    (first.media_type != second.media_type).then_some(" with different media types")
}
