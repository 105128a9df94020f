//! Patterns with `*` and `**`.

/// Whether the whole of `text` is as `pattern` says: `*` stands for any text
/// without `/`, `**` for any text. Takes time in proportion to the product of
/// their lengths, whatever the pattern.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    reaches_end(
        pattern,
        text.as_bytes(),
        |byte| *byte != b'/',
        PartialEq::eq,
    )
}

/// Whether `pattern` stands for every text that `other` stands for. It may say
/// no where the two are merely hard to compare, never yes where it is not so.
pub(crate) fn covers(pattern: &str, other: &str) -> bool {
    let other = symbols(other);
    let within_a_component =
        |symbol: &Symbol| !matches!(symbol, Symbol::Literal(b'/') | Symbol::TwoStars);
    let is = |symbol: &Symbol, literal: &u8| *symbol == Symbol::Literal(*literal);
    reaches_end(pattern, &other, within_a_component, is)
}

/// A pattern, read as a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Symbol {
    Literal(u8),
    Star,
    TwoStars,
}

fn symbols(pattern: &str) -> Vec<Symbol> {
    let mut symbols = Vec::new();
    let mut rest = pattern.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        symbols.push(match first {
            b'*' if rest.first() == Some(&b'*') => {
                rest = &rest[1..];
                Symbol::TwoStars
            }
            b'*' => Symbol::Star,
            literal => Symbol::Literal(*literal),
        });
    }
    symbols
}

/// Lets the pattern run over the text: `may` says what one star may stand for,
/// `is` what a literal does.
fn reaches_end<T>(
    pattern: &str,
    text: &[T],
    may: impl Fn(&T) -> bool,
    is: impl Fn(&T, &u8) -> bool,
) -> bool {
    // Which beginnings of the text the pattern read so far stands for.
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    let mut rest = pattern.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'*' if rest.first() == Some(&b'*') => {
                rest = &rest[1..];
                spread(&mut reached, text, |_| true);
            }
            b'*' => spread(&mut reached, text, &may),
            literal => step(&mut reached, text, |it| is(it, literal)),
        }
    }
    reached[text.len()]
}

/// Lets a star run over what it may stand for.
fn spread<T>(reached: &mut [bool], text: &[T], may: impl Fn(&T) -> bool) {
    for (place, it) in text.iter().enumerate() {
        if reached[place] && may(it) {
            reached[place + 1] = true;
        }
    }
}

fn step<T>(reached: &mut [bool], text: &[T], is: impl Fn(&T) -> bool) {
    for place in (0..text.len()).rev() {
        reached[place + 1] = reached[place] && is(&text[place]);
    }
    reached[0] = false;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stays_within_a_component_and_two_do_not() {
        assert!(matches("almalinux/*", "almalinux/9"));
        assert!(!matches("almalinux/*", "almalinux/9/base"));
        assert!(matches("almalinux/**", "almalinux/9/base"));
        assert!(matches("**/base", "almalinux/9/base"));
        assert!(matches("*/*-base", "almalinux/9-base"));
        assert!(!matches("*", "a/b"));
    }

    #[test]
    fn the_whole_text_must_match() {
        assert!(matches("9", "9"));
        assert!(!matches("9", "9.1"));
        assert!(!matches("", "a"));
        assert!(matches("", ""));
        assert!(matches("*", ""));
        assert!(matches("9*", "9"));
    }

    #[test]
    fn many_stars_take_no_longer() {
        let pattern = "*a".repeat(200);

        assert!(!matches(&pattern, &"a".repeat(150)));
    }

    #[test]
    fn a_pattern_covers_what_is_no_wider_than_itself() {
        for (wide, narrow) in [
            ("ghcr.io/acme/**", "ghcr.io/acme/app"),
            ("ghcr.io/acme/**", "ghcr.io/acme/*/base"),
            ("ghcr.io/acme/**", "ghcr.io/acme/**"),
            ("ghcr.io/acme/*", "ghcr.io/acme/app-*"),
            ("ghcr.io/*/*", "ghcr.io/acme/*"),
            ("**", "ghcr.io/**"),
        ] {
            assert!(covers(wide, narrow), "{wide} covers {narrow}");
        }
    }

    #[test]
    fn a_pattern_does_not_cover_what_goes_beyond_it() {
        for (narrow, wide) in [
            ("ghcr.io/acme/*", "ghcr.io/acme/**"),
            ("ghcr.io/acme/*", "ghcr.io/acme/team/app"),
            ("ghcr.io/acme/*", "ghcr.io/*/app"),
            ("ghcr.io/acme/app", "ghcr.io/acme/*"),
            ("ghcr.io/acme/**", "ghcr.io/acm*/**"),
            ("ghcr.io/acme/**", "ghcr.io/acme*/**"),
            ("ghcr.io/acme/**", "**"),
            ("*/**", "**"),
        ] {
            assert!(!covers(narrow, wide), "{narrow} does not cover {wide}");
        }
    }

    proptest! {
        #[test]
        fn what_a_covered_pattern_matches_its_cover_matches_too(
            wide in "[a/*]{0,6}",
            narrow in "[a/*]{0,6}",
            text in "[a/]{0,6}",
        ) {
            if covers(&wide, &narrow) && matches(&narrow, &text) {
                prop_assert!(matches(&wide, &text));
            }
        }
    }
}
