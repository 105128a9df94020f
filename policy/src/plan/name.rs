//! Names for planned types, in the grammar of machine type names.

use std::collections::HashSet;

use super::Key;
use crate::feature;

/// Maximum length of a name before its distinguishing number.
const LONGEST: usize = 56;

/// An unused name for the type of `key`, for example `zen4-nv9.0`. Adds it to
/// `taken`.
pub(super) fn unique(key: &Key, taken: &mut HashSet<String>) -> String {
    let base = base(key);
    let numbered = (2..).map(|number| format!("{base}-{number}"));
    let mut names = std::iter::once(base.clone()).chain(numbered);
    let name = names.find(|name| !taken.contains(name));
    let name = name.expect("there are more numbers than types");
    taken.insert(name.clone());
    name
}

fn base(key: &Key) -> String {
    let mut features: Vec<_> = key.features.iter().collect();
    // The CPU, or else the architecture, comes first.
    features.sort_by_key(|(space, _)| (*space != feature::CPU, feature::order(space)));
    let mut words = Vec::new();
    if !key.features.contains_key(feature::CPU) {
        let os = Some(&key.os).filter(|os| *os != "linux");
        words.extend(os.or(key.architecture.as_ref()).map(|it| word(it)));
    }
    for (namespace, values) in features {
        words.extend(values.iter().map(|value| match namespace.as_str() {
            feature::NVCAP => format!("nv{}", word(value)),
            feature::GFX => word(value.split(':').next().unwrap_or_default()),
            _ => word(value),
        }));
    }
    words.retain(|word| !word.is_empty());
    let name = match words.is_empty() {
        true => "any".to_owned(),
        false => words.join("-"),
    };
    let name: String = name.chars().take(LONGEST).collect();
    name.trim_end_matches(['.', '_', '-']).to_owned()
}

/// `text` in lower-case letters and digits, with single separators between.
fn word(text: &str) -> String {
    let mut word = String::new();
    for c in text.chars() {
        let c = match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() || "._".contains(c) => c,
            _ => '-',
        };
        let last = word.chars().next_back();
        if c.is_ascii_alphanumeric() || last.is_some_and(|last| last.is_ascii_alphanumeric()) {
            word.push(c);
        }
    }
    word.trim_end_matches(['.', '_', '-']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_fits_the_grammar_of_names() {
        for (text, expected) in [
            ("gfx90a:xnack+", "gfx90a-xnack"),
            ("EFA/v2", "efa-v2"),
            ("..a__b--", "a_b"),
            ("armv8.1a", "armv8.1a"),
            ("é", ""),
        ] {
            assert_eq!(word(text), expected);
        }
    }
}
