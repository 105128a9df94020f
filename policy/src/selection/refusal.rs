//! The sentence that a host is told when nothing fits.

use super::{Selection, Verdict, verdict::Misfit};

/// About how long the sentence may get, in bytes. docker shows it on one line.
const MAX_SENTENCE: usize = 560;

/// Longest piece of text that others wrote, in bytes.
const MAX_PIECE: usize = 96;

/// What is left for the lists at least.
const MIN_LIST: usize = 160;

/// Why `selection` is empty. See [`Selection::refusal`].
pub(super) fn sentence(selection: &Selection, image: &str, type_name: &str) -> String {
    let host = match selection.host.as_str() {
        "" => "no features",
        features => features,
    };
    let head = format!(
        "no variant of {} fits machine type {}: it has {}",
        plain(image, 2 * MAX_PIECE),
        plain(type_name, MAX_PIECE),
        plain(host, MAX_PIECE),
    );
    let room = MAX_SENTENCE.saturating_sub(head.len()).max(MIN_LIST);
    format!("{head}; {}", selection.why(room))
}

impl Selection {
    fn why(&self, room: usize) -> String {
        let unfit = |verdict: &Verdict| match verdict {
            Verdict::DoesNotFit(misfit) => Some(need(misfit)),
            _ => None,
        };
        let exact = |verdict: &Verdict| match verdict {
            Verdict::NotExact { requires } if requires.is_empty() => Some("nothing".to_owned()),
            Verdict::NotExact { requires } => Some(plain(&requires.join(" + "), MAX_PIECE)),
            _ => None,
        };
        let other = |verdict: &Verdict| match verdict {
            Verdict::OtherPlatform { platform } => Some(plain(platform, MAX_PIECE)),
            _ => None,
        };
        let generic = self.verdicts.contains(&Verdict::Generic);
        let (unfit, exact, other) = (self.pieces(unfit), self.pieces(exact), self.pieces(other));
        let mut parts = Vec::new();
        if !unfit.is_empty() {
            parts.push(format!("variants need {}", list(&unfit, room)));
        }
        if !exact.is_empty() {
            parts.push(format!(
                "variants need exactly {} and the type matches exactly",
                list(&exact, room)
            ));
        }
        if generic {
            parts.push("a variant needs nothing and the type takes no generic one".into());
        }
        if parts.is_empty() && !other.is_empty() {
            let own = plain(&self.platform, MAX_PIECE);
            parts.push(format!(
                "variants are for {}, not {own}",
                list(&other, room)
            ));
        }
        parts.join("; ")
    }

    /// What `piece` says of the verdicts, each text once, in their order.
    fn pieces(&self, piece: impl Fn(&Verdict) -> Option<String>) -> Vec<String> {
        let mut pieces: Vec<String> = Vec::new();
        for text in self.verdicts.iter().filter_map(piece) {
            if pieces.len() < 1_000 && !pieces.contains(&text) {
                pieces.push(text);
            }
        }
        pieces
    }
}

/// `cpu:zen4 (host is not a zen4 or later)`, `cuda:12 + glibc:2.38 (host has glibc:2.31)`.
fn need(misfit: &Misfit) -> String {
    let requires = plain(&misfit.requires.join(" + "), MAX_PIECE);
    let single = misfit
        .needs
        .strip_prefix("cpu:")
        .filter(|rest| !rest.contains(' '));
    match single {
        Some(cpu) => format!(
            "{requires} (host is not a {} or later)",
            plain(cpu, MAX_PIECE)
        ),
        None => format!("{requires} (host has {})", plain(&misfit.has, MAX_PIECE)),
    }
}

/// As many of `pieces` as have room, and how many more there are.
fn list(pieces: &[String], room: usize) -> String {
    let mut text = String::new();
    for (shown, piece) in pieces.iter().enumerate() {
        if shown > 0 && text.len() + piece.len() > room {
            return format!("{text} and {} more", pieces.len() - shown);
        }
        if shown > 0 {
            text.push_str(", ");
        }
        text.push_str(piece);
    }
    text
}

/// `text` in characters that read the same in JSON on a terminal, cut to about
/// `limit` bytes.
fn plain(text: &str, limit: usize) -> String {
    let fine = |c: char| (c.is_ascii_graphic() || c == ' ') && !"\"\\<>&".contains(c);
    let plain = text.chars().map(|c| if fine(c) { c } else { '?' });
    let mut plain: String = plain.take(limit + 1).collect();
    if plain.len() > limit {
        plain.truncate(limit - 2);
        plain.push_str("..");
    }
    plain
}
