//! Secrets are read from files or stdin, never from the command line, which
//! every user of the host can see.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use anyhow::{Context, ensure};
use secrecy::SecretString;

/// More than any token or password has, in bytes.
const MAX_SECRET: u64 = 8 * 1024;

/// The first line of the file at `path`, or of stdin when `path` is `-`.
pub(crate) fn read(path: &Path) -> anyhow::Result<SecretString> {
    let text = if path == Path::new("-") {
        read_limited(io::stdin().lock())
    } else {
        File::open(path).and_then(read_limited)
    };
    let text = text.with_context(|| format!("cannot read the secret in {}", path.display()))?;
    let line = text.lines().next().unwrap_or_default().trim();
    ensure!(!line.is_empty(), "{} holds no secret", path.display());
    Ok(SecretString::from(line))
}

fn read_limited(source: impl Read) -> io::Result<String> {
    let mut text = String::new();
    source.take(MAX_SECRET + 1).read_to_string(&mut text)?;
    match text.len() as u64 > MAX_SECRET {
        true => Err(io::Error::other(
            "it is longer than any secret: is it the right file?",
        )),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_newline_at_the_end_is_not_part_of_the_secret() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "abc\r\n").unwrap();

        let secret = read(&file).unwrap();

        assert_eq!(secret.expose_secret(), "abc");
    }

    #[test]
    fn a_file_that_is_too_long_is_not_cut_to_a_secret() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "a".repeat(10_000)).unwrap();

        let error = read(&file).unwrap_err();

        assert!(format!("{error:#}").contains("right file"), "{error:#}");
    }

    #[test]
    fn an_empty_file_is_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "\n").unwrap();

        let error = read(&file).unwrap_err();

        assert!(error.to_string().contains("holds no secret"), "{error}");
    }
}
