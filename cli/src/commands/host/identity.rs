//! Identifies this machine: its host name, and a hash of its machine id.

use std::{fs, path::Path};

use aws_lc_rs::digest::{SHA256, digest};

/// The prefix that separates this hash from others of the machine id, which
/// must not leave the machine as plain text (machine-id(5)).
const PURPOSE: &str = "metahub host ";
const LONGEST_ID: usize = 64;

/// The id of the host below `root`, from its host name. `None`: it has no name
/// that identifies it.
pub(super) fn host_id(root: &Path) -> Option<String> {
    let files = ["etc/hostname", "proc/sys/kernel/hostname"];
    // Below another root, the kernel's host name is the container's.
    let order = match root == Path::new("/") {
        true => [files[1], files[0]],
        false => files,
    };
    let names = order
        .iter()
        .filter_map(|file| fs::read_to_string(root.join(file)).ok());
    let mut ids = names.filter_map(|name| id_of(name.trim()));
    ids.next()
}

/// A hash of the machine id. Empty: the machine has no id.
pub(super) fn machine(root: &Path) -> String {
    let id = fs::read_to_string(root.join("etc/machine-id")).unwrap_or_default();
    let id = id.trim();
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    match is_id {
        true => hex(digest(&SHA256, format!("{PURPOSE}{id}").as_bytes()).as_ref()),
        false => String::new(),
    }
}

/// The bytes as lower-case hex digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A host's name in the grammar of ids: lower-case letters and digits, with
/// single separators between them.
fn id_of(name: &str) -> Option<String> {
    let mut id = String::new();
    for c in name.to_ascii_lowercase().chars() {
        match c {
            'a'..='z' | '0'..='9' => id.push(c),
            '.' | '_' | '-' if id.ends_with(|last: char| last.is_ascii_alphanumeric()) => {
                id.push(c);
            }
            _ => {}
        }
    }
    id.truncate(LONGEST_ID);
    let id = id.trim_end_matches(['.', '_', '-']);
    let is_known = !id.is_empty() && !id.starts_with("localhost") && id != "none";
    is_known.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_becomes_an_id_and_one_that_all_hosts_have_does_not() {
        for (name, id) in [
            ("node17", Some("node17")),
            ("Node17.Rack--2.example.", Some("node17.rack-2.example")),
            ("localhost.localdomain", None),
            ("(none)", None),
            ("", None),
        ] {
            assert_eq!(id_of(name).as_deref(), id, "{name}");
        }
        assert_eq!(id_of(&"a".repeat(99)).map(|it| it.len()), Some(LONGEST_ID));
    }

    #[test]
    fn the_machine_is_a_hash_that_does_not_tell_the_id() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        assert_eq!(machine(dir.path()), "");
        let id = "0123456789abcdef0123456789abcdef";

        fs::write(dir.path().join("etc/machine-id"), format!("{id}\n")).unwrap();

        let machine = machine(dir.path());
        assert_eq!(machine.len(), 64);
        assert!(!machine.contains(id));
    }
}
