//! Splits a `WWW-Authenticate` value into challenges. Takes any text.

use std::borrow::Cow;

/// A scheme with its parameters.
#[derive(Debug)]
pub(super) struct Challenge<'a> {
    pub(super) scheme: &'a str,
    parameters: Vec<(&'a str, Cow<'a, str>)>,
}

impl Challenge<'_> {
    /// The first parameter of this name, in any case.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let mut all = self.parameters.iter();
        let (_, value) = all.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value)
    }
}

/// The challenges in `text`. A word that is followed by `=` names a parameter,
/// any other word begins a challenge.
pub(super) fn parse(text: &str) -> Vec<Challenge<'_>> {
    let mut challenges: Vec<Challenge<'_>> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(is_separator);
        if rest.is_empty() {
            return challenges;
        }
        let (word, after) = rest.split_at(word_length(rest).max(first_length(rest)));
        match after.trim_start().strip_prefix('=') {
            Some(text) => {
                let (value, after) = value(text.trim_start());
                if let Some(challenge) = challenges.last_mut() {
                    challenge.parameters.push((word, value));
                }
                rest = after;
            }
            None => {
                challenges.push(Challenge {
                    scheme: word,
                    parameters: Vec::new(),
                });
                rest = after;
            }
        }
    }
}

/// A parameter's value, and what comes after it.
fn value(text: &str) -> (Cow<'_, str>, &str) {
    if let Some(quoted) = text.strip_prefix('"') {
        return unquote(quoted);
    }
    if text.starts_with([',', ';']) {
        return (Cow::Borrowed(""), text);
    }
    let mut end = 0;
    // Words are part of the value until one that begins something else.
    for (start, part) in parts(text) {
        let is_next = start > 0 && (is_parameter(&text[start..]) || is_scheme(part));
        if is_next {
            break;
        }
        end = start + part.len();
        if text[end..].trim_start().starts_with([',', ';']) {
            break;
        }
    }
    (Cow::Borrowed(&text[..end]), &text[end..])
}

/// The text up to the closing quote, or to the end where there is none.
fn unquote(text: &str) -> (Cow<'_, str>, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (Cow::Owned(value), &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    (Cow::Owned(value), "")
}

/// The parts of `text` between blanks, commas and semicolons, with where each
/// begins.
fn parts(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let parts = text.split(is_separator).scan(0, |at, part| {
        let start = *at;
        *at += part.len() + 1;
        Some((start, part))
    });
    parts.filter(|(_, part)| !part.is_empty())
}

fn is_separator(c: char) -> bool {
    matches!(c, ' ' | '\t' | ',' | ';')
}

/// Whether `text` begins with `name=`.
fn is_parameter(text: &str) -> bool {
    let (word, after) = text.split_at(word_length(text));
    !word.is_empty() && after.trim_start().starts_with('=')
}

fn is_scheme(word: &str) -> bool {
    let known = ["basic", "bearer", "digest", "negotiate", "ntlm"];
    known.iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// How long the token (RFC 9110, 5.6.2) is that `text` begins with.
fn word_length(text: &str) -> usize {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    text.find(|c| !is_token(c)).unwrap_or(text.len())
}

fn first_length(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}
