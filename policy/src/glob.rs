//! Patterns with `*` and `**`.

/// Whether the whole of `text` is as `pattern` says: `*` stands for any text
/// without `/`, `**` for any text. Takes time in proportion to the product of
/// their lengths, whatever the pattern.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let text = text.as_bytes();
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
            b'*' => spread(&mut reached, text, |byte| byte != b'/'),
            literal => step(&mut reached, text, *literal),
        }
    }
    reached[text.len()]
}

/// Lets a star run over the bytes that it may stand for.
fn spread(reached: &mut [bool], text: &[u8], may: impl Fn(u8) -> bool) {
    for (place, byte) in text.iter().enumerate() {
        if reached[place] && may(*byte) {
            reached[place + 1] = true;
        }
    }
}

fn step(reached: &mut [bool], text: &[u8], literal: u8) {
    for place in (0..text.len()).rev() {
        reached[place + 1] = reached[place] && text[place] == literal;
    }
    reached[0] = false;
}

#[cfg(test)]
mod tests {
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
}
