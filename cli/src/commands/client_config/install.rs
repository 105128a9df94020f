//! Writes an engine's files below a root directory. Replaces only files that
//! this command wrote.

use std::{
    fmt::Write as _,
    fs::{self, Permissions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde_json::Value;

use super::file::{Content, File, Setup, is_as_written};

/// The path of a file, and the action on it.
pub(super) type Done = (String, &'static str);

/// The state of a path before the install.
enum Found {
    Nothing,
    /// The file's whole content already.
    Same,
    /// A file from an earlier run.
    Ours,
    /// Any other file. `by_hand`: a file from an earlier run, changed since.
    Other {
        shown: String,
        by_hand: bool,
    },
}

/// Writes all files, or none if a path holds a foreign file. `force` replaces
/// an own file that was changed by hand. `hide` leaves secrets out of messages.
pub(super) fn install(
    setup: &Setup,
    root: &Path,
    force: bool,
    hide: impl Fn(&str) -> String,
) -> anyhow::Result<Vec<Done>> {
    let mut refused = String::new();
    let mut todo = Vec::new();
    for file in &setup.files {
        let place = root.join(file.path.trim_start_matches('/'));
        let found =
            look(file, &place).with_context(|| format!("cannot look at {}", place.display()))?;
        match found {
            Found::Other { by_hand: true, .. } if force => todo.push((file, place, "replaced")),
            Found::Other { shown, by_hand } => {
                let why = match by_hand {
                    true => "was changed since metahubctl wrote it; --force replaces it",
                    false => "was not written by metahubctl",
                };
                let _ = write!(refused, "\n{} {why}:\n{}", place.display(), hide(&shown));
            }
            Found::Nothing => todo.push((file, place, "wrote")),
            Found::Ours => todo.push((file, place, "updated")),
            Found::Same => todo.push((file, place, "unchanged")),
        }
    }
    if !refused.is_empty() {
        bail!("nothing was written{refused}");
    }
    let mut done = Vec::new();
    for (file, place, what) in todo {
        if what != "unchanged" {
            write(file, &place).with_context(|| format!("cannot write {}", place.display()))?;
        } else if matches!(file.content, Content::Text(_)) {
            fs::set_permissions(&place, Permissions::from_mode(file.mode))
                .with_context(|| format!("cannot set the mode of {}", place.display()))?;
        }
        done.push((place.display().to_string(), what));
    }
    Ok(done)
}

fn look(file: &File, place: &Path) -> io::Result<Found> {
    let found = match fs::symlink_metadata(place) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        found => found?,
    };
    let other = |shown: String| Found::Other {
        shown,
        by_hand: false,
    };
    Ok(match &file.content {
        Content::Link(to) if found.is_symlink() && fs::read_link(place)? == *to => Found::Same,
        Content::Link(to) => other(format!("  it should be a link to {}\n", to.display())),
        Content::Text(_) => {
            let (old, new) = (read(place)?, file.bytes().unwrap_or_default());
            let shown = difference(&old, &new);
            match is_as_written(&old) {
                _ if old == new => Found::Same,
                Some(true) => Found::Ours,
                Some(false) => Found::Other {
                    shown,
                    by_hand: true,
                },
                None => other(shown),
            }
        }
        Content::Json(wanted) => match serde_json::from_str(&read(place)?) {
            Ok(value) if holds(&value, wanted) => Found::Same,
            _ => other(format!(
                "  JSON has no comments: merge this into it\n{wanted:#}\n"
            )),
        },
    })
}

fn read(place: &Path) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(place)?).into_owned())
}

/// Whether `value` contains all of `wanted`.
fn holds(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::Object(value), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, wanted)| value.get(key).is_some_and(|it| holds(it, wanted))),
        (Value::Array(value), Value::Array(wanted)) => wanted.iter().all(|it| value.contains(it)),
        _ => value == wanted,
    }
}

/// The lines that differ, without lines that may hold another login's secret.
fn difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let mut text = String::new();
    let gone = old.iter().filter(|line| !new.contains(line));
    let come = new.iter().filter(|line| !old.contains(line));
    for (sign, line) in gone.map(|it| ('-', it)).chain(come.map(|it| ('+', it))) {
        let lower = line.to_lowercase();
        let is_secret = ["authorization", "password", "auth\"", "token"]
            .iter()
            .any(|it| lower.contains(it));
        let line = if is_secret {
            "(a line with a credential)"
        } else {
            line
        };
        let _ = writeln!(text, "  {sign} {line}");
    }
    text
}

/// Replaces the file at `place` atomically.
fn write(file: &File, place: &Path) -> io::Result<()> {
    let directory: PathBuf = place.parent().unwrap_or(Path::new("/")).to_owned();
    fs::create_dir_all(&directory)?;
    if let Content::Link(to) = &file.content {
        return symlink(to, place);
    }
    let mut new = tempfile::NamedTempFile::new_in(&directory)?;
    new.write_all(file.bytes().unwrap_or_default().as_bytes())?;
    new.as_file()
        .set_permissions(Permissions::from_mode(file.mode))?;
    new.as_file().sync_all()?;
    new.persist(place)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(file: File, root: &Path, force: bool) -> Result<&'static str, String> {
        let setup = Setup {
            files: vec![file],
            ..Setup::default()
        };
        let done = install(&setup, root, force, |it| it.replace("hunter2", "***"));
        done.map(|it| it[0].1).map_err(|error| format!("{error:#}"))
    }

    fn file(text: &str) -> File {
        File::text("/etc/a/hosts.toml", text.into()).private(true)
    }

    #[test]
    fn a_file_of_ours_is_written_kept_and_updated_with_its_mode() {
        let root = tempfile::tempdir().unwrap();

        assert_eq!(run(file("a = 1\n"), root.path(), false), Ok("wrote"));
        assert_eq!(run(file("a = 1\n"), root.path(), false), Ok("unchanged"));
        assert_eq!(run(file("a = 2\n"), root.path(), false), Ok("updated"));

        let place = root.path().join("etc/a/hosts.toml");
        let mode = fs::metadata(&place).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(fs::read_to_string(place).unwrap().ends_with("\na = 2\n"));
    }

    #[test]
    fn a_file_that_was_changed_by_hand_is_replaced_by_force_only() {
        let root = tempfile::tempdir().unwrap();
        run(file("a = 1\n"), root.path(), false).unwrap();
        let place = root.path().join("etc/a/hosts.toml");
        let text = fs::read_to_string(&place).unwrap() + "b = 1\n";
        fs::write(&place, &text).unwrap();

        let refused = run(file("a = 1\n"), root.path(), false).unwrap_err();

        assert!(
            refused.contains("- b = 1") && refused.contains("--force"),
            "{refused}"
        );
        assert_eq!(fs::read_to_string(&place).unwrap(), text);
        assert_eq!(run(file("a = 1\n"), root.path(), true), Ok("replaced"));
    }

    #[test]
    fn a_foreign_file_is_replaced_by_nothing_and_no_file_beside_it_is_written() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("etc/a/hosts.toml");
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(&place, "Authorization = \"Basic theirs\"\nb = 1\n").unwrap();
        let other = File::text("/etc/a/first", "x\n".into());
        let setup = Setup {
            files: vec![other, file("a = 'hunter2'\n")],
            ..Setup::default()
        };

        let refused = install(&setup, root.path(), true, |it| it.replace("hunter2", "***"));

        let refused = format!("{:#}", refused.unwrap_err());
        assert!(refused.contains("- b = 1"), "{refused}");
        assert!(
            !refused.contains("theirs") && !refused.contains("hunter2"),
            "{refused}"
        );
        assert!(!root.path().join("etc/a/first").exists());
    }

    #[test]
    fn json_is_never_replaced_and_is_unchanged_once_it_says_all() {
        let root = tempfile::tempdir().unwrap();
        let wanted = json!({"registry-mirrors": ["http://127.0.0.1:5000"]});
        let place = root.path().join("daemon.json");
        fs::write(&place, r#"{"debug": true}"#).unwrap();

        let refused = run(
            File::json("/daemon.json", wanted.clone()),
            root.path(),
            true,
        );

        assert!(refused.unwrap_err().contains("registry-mirrors"));
        fs::write(
            &place,
            r#"{"debug": true, "registry-mirrors": ["http://127.0.0.1:5000"]}"#,
        )
        .unwrap();
        assert_eq!(
            run(File::json("/daemon.json", wanted), root.path(), false),
            Ok("unchanged")
        );
    }

    #[test]
    fn a_link_is_made_once() {
        let root = tempfile::tempdir().unwrap();
        let link = || File::link("/certs/a.cert".into(), "/etc/metahub/a.cert".into());

        assert_eq!(run(link(), root.path(), false), Ok("wrote"));
        assert_eq!(run(link(), root.path(), false), Ok("unchanged"));
    }
}
