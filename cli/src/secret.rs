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

/// What the file at `path` holds, or stdin when `path` is `-`: all of it, byte
/// for byte, less one newline at its end.
pub(crate) fn read(path: &Path) -> anyhow::Result<SecretString> {
    let text = if path == Path::new("-") {
        read_limited(io::stdin().lock())
    } else {
        File::open(path).and_then(read_limited)
    };
    let text = text.with_context(|| format!("cannot read the secret in {}", path.display()))?;
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    ensure!(
        !secret.trim().is_empty(),
        "{} holds no secret",
        path.display()
    );
    Ok(SecretString::from(secret))
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
    fn a_secret_is_the_whole_file_less_one_newline_at_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        for (text, expected) in [
            ("abc\r\n", "abc"),
            ("abc\n", "abc"),
            (" a b ", " a b "),
            ("abc\n\n", "abc\n"),
            ("{\n  \"type\": \"x\"\n}\n", "{\n  \"type\": \"x\"\n}"),
        ] {
            std::fs::write(&file, text).unwrap();

            let secret = read(&file).unwrap();

            assert_eq!(secret.expose_secret(), expected);
        }
    }

    #[test]
    fn a_file_that_is_too_long_is_not_cut_to_a_secret() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "a".repeat(70_000)).unwrap();

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
