//! JSON objects and arrays as they are written: members in order, values raw.
//!
//! Everything borrows from one source text, so that what is kept of it can be
//! copied byte by byte.

use std::{borrow::Cow, collections::HashSet, fmt, marker::PhantomData, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::InvalidIndex;

/// Most members of one object.
const MAX_MEMBERS: usize = 1_000;

/// Deepest nesting that is read; the limit of most JSON readers.
const MAX_DEPTH: usize = 128;

/// An object.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    /// From `{` to `}`.
    pub(crate) text: &'a str,
    pub(crate) members: Vec<Member<'a>>,
}

/// A member of an object.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    /// Without quotes and escapes.
    pub(crate) key: String,
    /// As it is written, with quotes.
    raw_key: &'a str,
    /// As it is written.
    pub(crate) value: &'a str,
}

impl<'a> Object<'a> {
    /// Reads an object whose keys are all different.
    pub(crate) fn read(text: &'a str) -> Result<Self, InvalidIndex> {
        let Members(raw, overflow) = serde_json::from_str(text).map_err(InvalidIndex::Json)?;
        if overflow {
            return Err(InvalidIndex::TooMany {
                what: "members in one object",
                limit: MAX_MEMBERS,
            });
        }
        let members = raw.into_iter().map(|(key, value)| {
            Ok(Member {
                key: serde_json::from_str(key.get())?,
                raw_key: key.get(),
                value: value.get(),
            })
        });
        let members: Vec<Member<'a>> = members
            .collect::<Result<_, _>>()
            .map_err(InvalidIndex::Json)?;
        let text = text.trim();
        let object = Self { text, members };
        object.refuse_twins(Cow::Borrowed)?;
        Ok(object)
    }

    /// Reads an object with `known` keys. Refuses keys that Go's reader, which
    /// most clients use, would take for one another or for a known one.
    pub(crate) fn read_strict(text: &'a str, known: &[&str]) -> Result<Self, InvalidIndex> {
        let object = Self::read(text)?;
        object.refuse_twins(|key| Cow::Owned(fold(key)))?;
        let strange = |key: &str| {
            let folded = fold(key);
            !known.contains(&key)
                && known
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(&folded))
        };
        let mut members = object.members.iter();
        match members.find(|member| strange(&member.key)) {
            Some(member) => Err(InvalidIndex::AmbiguousKey {
                key: shown(&member.key),
            }),
            None => Ok(object),
        }
    }

    /// Fails unless it could be read with a member `key` as well.
    pub(crate) fn check_room_for(&self, key: &str) -> Result<(), InvalidIndex> {
        let is_there = self.members.iter().any(|member| member.key == key);
        if is_there || self.members.len() < MAX_MEMBERS {
            return Ok(());
        }
        Err(InvalidIndex::TooMany {
            what: "members in one object",
            limit: MAX_MEMBERS - 1,
        })
    }

    /// The raw value of `key`; `None` for `null` as well.
    pub(crate) fn get(&self, key: &str) -> Option<&'a str> {
        let member = self.members.iter().find(|member| member.key == key)?;
        (member.value != "null").then_some(member.value)
    }

    /// The span of a member in [`Object::text`], from its key to its value.
    pub(crate) fn span(&self, member: &Member<'_>) -> Range<usize> {
        let start = offset(self.text, member.raw_key);
        let value = offset(self.text, member.value);
        start..value + member.value.len()
    }

    fn refuse_twins<'k>(
        &'k self,
        spelling: impl Fn(&'k str) -> Cow<'k, str>,
    ) -> Result<(), InvalidIndex> {
        let mut seen = HashSet::with_capacity(self.members.len());
        let mut members = self.members.iter();
        match members.find(|member| !seen.insert(spelling(&member.key))) {
            Some(member) => Err(InvalidIndex::AmbiguousKey {
                key: shown(&member.key),
            }),
            None => Ok(()),
        }
    }
}

/// The raw values of an array of at most `limit` of `what`.
pub(crate) fn array<'a>(
    text: &'a str,
    what: &'static str,
    limit: usize,
) -> Result<Vec<&'a str>, InvalidIndex> {
    let mut json = serde_json::Deserializer::from_str(text);
    let Items(items, overflow) = json
        .deserialize_seq(ItemsVisitor(limit, PhantomData))
        .map_err(InvalidIndex::Json)?;
    if overflow {
        return Err(InvalidIndex::TooMany { what, limit });
    }
    Ok(items.into_iter().map(RawValue::get).collect())
}

/// Where `part`, a piece of `whole`, begins in it.
pub(crate) fn offset(whole: &str, part: &str) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

/// Refuses JSON that is nested too deep to read with bounded memory.
pub(crate) fn check_depth(text: &str) -> Result<(), InvalidIndex> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(InvalidIndex::TooDeep { limit: MAX_DEPTH });
        }
    }
    Ok(())
}

/// `text` as it may be shown on a terminal, cut to a sensible length.
pub(crate) fn shown(text: &str) -> String {
    text.escape_debug().take(80).collect()
}

/// The spelling that Go's JSON reader compares keys by: `ſ` is an `s` to it.
fn fold(key: &str) -> String {
    key.chars().flat_map(char::to_uppercase).collect()
}

/// Members, and whether there were more than may be.
struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>, bool);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            if members.len() == MAX_MEMBERS {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok(Members(members, true));
            }
            members.push(member);
        }
        Ok(Members(members, false))
    }
}

/// Items, and whether there were more than may be.
struct Items<'a>(Vec<&'a RawValue>, bool);

struct ItemsVisitor<'a>(usize, PhantomData<&'a ()>);

impl<'de> Visitor<'de> for ItemsVisitor<'de> {
    type Value = Items<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == self.0 {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(Items(items, true));
            }
            items.push(item);
        }
        Ok(Items(items, false))
    }
}
