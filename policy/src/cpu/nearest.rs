//! Names near a misspelt one.

/// How many names are worth showing.
const SHOWN: usize = 3;

/// The `names` nearest to `name`, best first, equal ones in order. Names that
/// differ in more than a third of their letters are not near.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let limit = (name.chars().count() / 3).clamp(1, 4);
    let mut near: Vec<_> = names
        .map(|known| (distance(name, known), known))
        .filter(|(distance, _)| *distance <= limit)
        .collect();
    near.sort_unstable();
    let names = near.into_iter().map(|(_, known)| known.to_owned());
    names.take(SHOWN).collect()
}

/// How many letters must be put in, taken out or replaced to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_letters() {
        assert_eq!(distance("zen4", "zen4"), 0);
        assert_eq!(distance("zen", "zen4"), 1);
        assert_eq!(distance("skylake", "icelake"), 3);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn equally_near_names_come_in_order() {
        let names = ["zen5", "zen2", "zen3", "zen4"];

        assert_eq!(nearest("zen9", names.into_iter()), ["zen2", "zen3", "zen4"]);
    }
}
