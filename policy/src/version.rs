//! Versions compared by number, part by part.

use std::cmp::Ordering;

/// A version such as `12.4` or `5.15.0-91-generic`. Only the leading numbers
/// count: missing ones are 0, what follows them is left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(Vec<Number>);

/// A number of any length, without leading zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Number(Box<str>);

impl Version {
    /// Reads a version. `None` when it does not begin with a digit.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = Vec::new();
        for part in text.trim().split(['.', '-', '_', '+']) {
            let end = part
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(part.len());
            if end == 0 {
                break;
            }
            numbers.push(Number(part[..end].trim_start_matches('0').into()));
            if end < part.len() {
                break;
            }
        }
        if numbers.is_empty() {
            return None;
        }
        while numbers.last().is_some_and(|number| number.0.is_empty()) {
            numbers.pop();
        }
        Some(Self(numbers))
    }

    /// Its first `parts` numbers.
    pub(crate) fn first(&self, parts: usize) -> Self {
        Self(self.0.iter().take(parts).cloned().collect())
    }

    /// Whether the first `parts` numbers of both are the same.
    pub(crate) fn agrees(&self, other: &Self, parts: usize) -> bool {
        let number = |version: &Self, part: usize| version.0.get(part).map(|n| n.0.clone());
        (0..parts).all(|part| {
            number(self, part).unwrap_or_default() == number(other, part).unwrap_or_default()
        })
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let length = self.0.len().cmp(&other.0.len());
        length.then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn parts_are_compared_as_numbers() {
        assert!(version("12.10") > version("12.9"));
        assert!(version("2.31") > version("2.4"));
        assert!(version("535.104.05") < version("535.104.12"));
        assert!(version("99999999999999999999999") > version("9999999999999999999999"));
    }

    #[test]
    fn missing_parts_are_zero() {
        assert_eq!(version("12"), version("12.0.0"));
        assert!(version("12") < version("12.0.1"));
        assert!(version("0") < version("0.1"));
    }

    #[test]
    fn what_follows_the_numbers_is_left_out() {
        assert_eq!(version("5.15.0-91-generic"), version("5.15.0.91"));
        assert_eq!(version("6.1rc3"), version("6.1"));
        assert_eq!(Version::parse("latest"), None);
        assert_eq!(Version::parse(""), None);
    }

    #[test]
    fn agreement_looks_at_the_leading_parts_only() {
        assert!(version("10.0.20348.1").agrees(&version("10.0.20348.2031"), 3));
        assert!(!version("10.0.17763").agrees(&version("10.0.20348"), 3));
        assert!(version("10.0.17763").agrees(&version("10.0.20348"), 2));
    }
}
