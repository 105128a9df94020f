//! Texts with one `*` for any text.

use std::str::FromStr;

/// A text, or what is before and after its `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    before: String,
    after: Option<String>,
}

impl Pattern {
    pub(crate) fn has_star(&self) -> bool {
        self.after.is_some()
    }

    /// What the `*` stands for in `text`, if it fits, which is something. Without
    /// a `*`, nothing.
    pub(crate) fn star<'a>(&self, text: &'a str) -> Option<&'a str> {
        let star = text.strip_prefix(self.before.as_str())?;
        match &self.after {
            None => star.is_empty().then_some(star),
            Some(after) => {
                let star = star.strip_suffix(after.as_str());
                star.filter(|it| !it.is_empty())
            }
        }
    }
}

impl FromStr for Pattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let (before, after) = match text.split_once('*') {
            None => (text, None),
            Some((before, after)) => (before, Some(after)),
        };
        if text.is_empty() {
            return Err("it is empty");
        }
        if after.is_some_and(|after| after.contains('*')) {
            return Err("it has more than one `*`");
        }
        Ok(Self {
            before: before.to_owned(),
            after: after.map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text_but_none() {
        let star = |pattern: &str, text: &'static str| -> Option<&str> {
            pattern.parse::<Pattern>().unwrap().star(text)
        };

        assert_eq!(star("rack-*.test", "rack-7.test"), Some("7"));
        assert_eq!(star("rack-7", "rack-7"), Some(""));
        for (pattern, text) in [
            ("rack-*.test", "rack-.test"),
            ("rack-*", "other"),
            ("rack-7", "rack-70"),
            ("a*a", "a"),
        ] {
            assert_eq!(star(pattern, text), None, "{pattern} {text}");
        }
        assert!("a*b*".parse::<Pattern>().is_err() && "".parse::<Pattern>().is_err());
    }
}
