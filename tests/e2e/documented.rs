//! What the documentation shows is what the programs take.

use std::{fs, path::Path};

use clap::{CommandFactory, Parser};

/// The documentation, each page with its name.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let docs = fs::read_dir(root.join("docs")).expect("there is documentation");
    let docs = docs.map(|entry| entry.expect("it can be listed").path());
    let more = ["README.md", "deploy/compose.yaml"].map(|name| root.join(name));
    let paths = docs.chain(more);
    let pages = paths.filter(|path| path.extension().is_some_and(|it| it != "json"));
    let read = |path: std::path::PathBuf| {
        let text = fs::read_to_string(&path).expect("it can be read");
        (path.display().to_string(), text)
    };
    pages.map(read).collect()
}

/// The words of a command line, as a shell splits them. Comments and dots that
/// stand for more are left out.
fn words(line: &str) -> Vec<String> {
    let (line, _) = line.split_once(" # ").unwrap_or((line, ""));
    let words = line.split_whitespace().filter(|word| *word != "…");
    words.map(|word| word.replace(['\'', '"'], "")).collect()
}

/// Whether the program takes this setting. `None`: it has none of that name.
fn takes<P: Parser + CommandFactory>(program: &str, name: &str, value: &str) -> Option<bool> {
    let command = P::command();
    let setting = command
        .get_arguments()
        .find(|it| it.get_env().is_some_and(|env| env == name))?;
    let flag = setting.get_long().expect("each setting has a flag");
    let mut line = vec![program.to_owned()];
    match setting.get_action().takes_values() {
        true => line.push(format!("--{flag}={value}")),
        false => line.push(format!("--{flag}")),
    }
    let parsed = P::try_parse_from(&line);
    let missing = clap::error::ErrorKind::MissingRequiredArgument;
    Some(parsed.map_or_else(|error| error.kind() == missing, |_| true))
}

#[test]
fn every_command_line_that_is_shown_is_taken() {
    let mut shown = 0;
    for (page, text) in pages() {
        for line in text.replace("\\\n", " ").lines() {
            let words = words(line);
            let wrong = match words.first().map(String::as_str) {
                Some("metahub-worker") => metahub_worker::Config::try_parse_from(&words).err(),
                Some("metahub-control") if words.get(1).is_none_or(|it| it != "migrate") => {
                    metahub_control::Config::try_parse_from(&words).err()
                }
                Some("metahub-node") => metahub_host::node::Config::try_parse_from(&words).err(),
                _ => continue,
            };
            assert!(wrong.is_none(), "{page}: {line}\n{wrong:?}");
            shown += 1;
        }
    }

    assert!(shown >= 8, "only {shown} command lines were found");
}

#[test]
fn every_setting_that_is_shown_with_a_value_is_taken() {
    let mut shown = 0;
    for (page, text) in pages() {
        for part in text.split("METAHUB_").skip(1) {
            let end = part.find(|c: char| !c.is_ascii_uppercase() && c != '_');
            let (name, rest) = part.split_at(end.unwrap_or(part.len()));
            let rest = rest.strip_prefix('=').or_else(|| rest.strip_prefix(": "));
            let value = rest.and_then(|it| it.split(['`', '\n', ' ', ';']).next());
            let Some(value) = value.filter(|it| !it.is_empty() && !it.starts_with('$')) else {
                continue;
            };
            let name = format!("METAHUB_{name}");
            let worker = takes::<metahub_worker::Config>("metahub-worker", &name, value);
            let control = takes::<metahub_control::Config>("metahub-control", &name, value);
            if let Some(is_taken) = worker.or(control) {
                assert!(is_taken, "{page}: {name}={value}");
                shown += 1;
            }
        }
    }

    assert!(shown >= 8, "only {shown} settings were found");
}
