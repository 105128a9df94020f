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
const MAX_SECRET: u64 = 64 * 1024;

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
    source.take(MAX_SECRET).read_to_string(&mut text)?;
    Ok(text)
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
    fn an_empty_file_is_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "\n").unwrap();

        let error = read(&file).unwrap_err();

        assert!(error.to_string().contains("holds no secret"), "{error}");
    }
}
