//! Two workers' views of one directory.

use std::os::unix::fs::FileExt as _;

use tempfile::TempDir;

use super::*;
use crate::{
    reference::Repository,
    upstream::{Upstream, hash::sha256},
};

/// What a small file takes of the disk, in bytes, with the list beside it.
const SMALL: u64 = 2 * 4096;
/// What a larger one has that takes twice as much.
const TWO: u64 = SMALL + 4096;
const THREE: u64 = 2 * SMALL + 4096;

fn directory(root: &TempDir, capacity: u64) -> Directory {
    Directory::new(root.path().into(), capacity, CacheMetrics::default())
}

fn origin(name: &str) -> Origin {
    let url = "https://registry.test".parse().unwrap();
    let repository = Repository::parse("app").unwrap();
    Upstream::new(name, url, None, false).origin(&repository)
}

fn claim(directory: &Directory, digest: &Digest, length: u64) -> Claim {
    match directory.claim(digest, origin("a"), length).unwrap() {
        Claimed::Claim(claim) => claim,
        other => panic!("{other:?}"),
    }
}

fn put(directory: &Directory, content: &str) -> Digest {
    let digest = sha256(content.as_bytes());
    let claim = claim(directory, &digest, content.len() as u64);
    claim.file.write_all_at(content.as_bytes(), 0).unwrap();
    directory.keep(claim).unwrap();
    digest
}

fn is_stored(directory: &Directory, digest: &Digest) -> bool {
    matches!(
        directory.find(digest, origin("a")).unwrap(),
        Some(Found::Stored { .. })
    )
}

/// The bytes that all files have, and will have, together.
fn held(root: &TempDir) -> u64 {
    Census::take(root.path()).unwrap().total
}

#[test]
fn what_one_worker_keeps_another_finds() {
    let root = TempDir::new().unwrap();
    let (here, there) = (directory(&root, 1 << 20), directory(&root, 1 << 20));

    let digest = put(&here, "abc");

    assert!(is_stored(&there, &digest));
    let hex = digest.as_str().strip_prefix("sha256:").unwrap();
    let path = root.path().join("sha256").join(&hex[..2]).join(hex);
    assert_eq!(fs::read(path).unwrap(), b"abc");
}

#[test]
fn one_worker_at_a_time_writes_a_blob_and_the_others_see_it_grow() {
    let root = TempDir::new().unwrap();
    let (here, there) = (directory(&root, 1 << 20), directory(&root, 1 << 20));
    let digest = sha256(b"abc");

    let claim = claim(&here, &digest, 3);

    assert!(matches!(
        there.claim(&digest, origin("a"), 3).unwrap(),
        Claimed::Taken
    ));
    let found = there.find(&digest, origin("a")).unwrap();
    assert!(matches!(found, Some(Found::Growing { length: 3, .. })));
    drop(claim);
    assert!(there.find(&digest, origin("a")).unwrap().is_none());
    assert!(matches!(
        there.claim(&digest, origin("a"), 3).unwrap(),
        Claimed::Claim(_)
    ));
}

#[test]
fn a_blob_that_somebody_has_begun_is_found_until_it_is_whole() {
    let root = TempDir::new().unwrap();
    let (here, there) = (directory(&root, 1 << 30), directory(&root, 1 << 30));
    for n in 0..50 {
        let content = n.to_string();
        let digest = sha256(content.as_bytes());

        std::thread::scope(|scope| {
            let looking = scope.spawn(|| {
                let mut seen = Vec::new();
                loop {
                    match there.find(&digest, origin("a")).unwrap() {
                        Some(Found::Stored { .. }) => break seen,
                        found => seen.push(found.is_some()),
                    }
                }
            });
            put(&here, &content);

            let seen = looking.join().unwrap();
            assert!(seen.is_sorted(), "it was lost out of sight");
        });
    }
}

#[test]
fn what_comes_from_one_upstream_is_joined_by_nobody_who_asks_another() {
    let root = TempDir::new().unwrap();
    let (here, there) = (directory(&root, 1 << 20), directory(&root, 1 << 20));
    let digest = sha256(b"abc");
    let dripping = claim(&here, &digest, 3);

    assert!(there.find(&digest, origin("b")).unwrap().is_none());
    let other = match there.claim(&digest, origin("b"), 3).unwrap() {
        Claimed::Claim(claim) => claim,
        other => panic!("{other:?}"),
    };
    there.keep(other).unwrap();
    assert!(!is_stored(&here, &digest));
    here.keep(dripping).unwrap();
    assert!(is_stored(&there, &digest));
}

#[test]
fn what_a_dead_worker_has_left_is_neither_found_nor_kept() {
    let root = TempDir::new().unwrap();
    let here = directory(&root, 1 << 20);
    let digest = sha256(b"abc");
    let left = part_of(&here.path(&digest), origin("a"), 3);
    let leave = || {
        fs::create_dir_all(left.parent().unwrap()).unwrap();
        fs::write(&left, "ab").unwrap();
    };

    leave();
    assert!(here.find(&digest, origin("a")).unwrap().is_none());
    let claim = claim(&here, &digest, 3);
    assert_eq!(claim.file.metadata().unwrap().len(), 0);
    drop(claim);

    leave();
    here.sweep().unwrap();
    assert!(!left.exists());
}

#[test]
fn what_is_being_written_counts_and_is_not_evicted() {
    let root = TempDir::new().unwrap();
    let (here, there) = (directory(&root, 4 * SMALL), directory(&root, 4 * SMALL));
    let growing = sha256(b"growing");
    let _claim = claim(&here, &growing, THREE);

    let refused = there.claim(&sha256(b"other"), origin("a"), TWO).unwrap();
    let taken = there.claim(&sha256(b"small"), origin("a"), 1).unwrap();

    assert!(matches!(refused, Claimed::NoRoom));
    assert!(matches!(taken, Claimed::Claim(_)));
    assert_eq!(held(&root), 4 * SMALL);
}

#[test]
fn the_bound_holds_whatever_workers_put() {
    let root = TempDir::new().unwrap();
    let capacity = 20 * SMALL;
    let workers = [directory(&root, capacity), directory(&root, capacity)];

    for n in 0..100 {
        put(&workers[n % 2], &format!("{n:0width$}", width = 1 + n * 97));

        assert!(held(&root) <= capacity, "after {n}");
    }

    assert!(held(&root) > capacity / 2);
    let evicted = workers.each_ref().map(|it| it.metrics.evictions.get());
    assert!(evicted.iter().sum::<u64>() > 0);
}

#[test]
fn what_has_not_been_used_for_longest_goes_first() {
    let root = TempDir::new().unwrap();
    let here = directory(&root, 3 * SMALL);
    let [first, second] = ["first", "second"].map(|content| put(&here, content));
    assert!(is_stored(&here, &first));

    let large = sha256(b"large");
    let claim = here.claim(&large, origin("a"), TWO).unwrap();

    assert!(matches!(claim, Claimed::Claim(_)));
    assert!(!is_stored(&here, &second));
    assert!(is_stored(&here, &first) || held(&root) == 2 * SMALL);
}

#[test]
fn a_blob_larger_than_all_takes_nothing_away() {
    let root = TempDir::new().unwrap();
    let here = directory(&root, 3 * SMALL);
    let small = put(&here, "small");

    let refused = here
        .claim(&sha256(b"huge"), origin("a"), 4 * SMALL)
        .unwrap();

    assert!(matches!(refused, Claimed::NoRoom));
    assert!(is_stored(&here, &small));
}

#[test]
fn a_ledger_that_makes_no_sense_is_written_anew() {
    let root = TempDir::new().unwrap();
    let here = directory(&root, 2 * SMALL);
    put(&here, "first");
    fs::write(root.path().join("ledger"), "gibberish").unwrap();

    put(&here, "second");
    put(&here, "third");

    assert!(held(&root) <= 2 * SMALL);
}

#[test]
fn a_file_that_is_evicted_goes_on_for_those_who_read_it() {
    let root = TempDir::new().unwrap();
    let here = directory(&root, SMALL);
    let first = put(&here, "first");
    let Some(Found::Stored { file, .. }) = here.find(&first, origin("a")).unwrap() else {
        panic!("it is there");
    };

    put(&here, "second");

    assert!(!is_stored(&here, &first));
    let mut buffer = [0; 5];
    file.read_exact_at(&mut buffer, 0).unwrap();
    assert_eq!(&buffer, b"first");
}

#[test]
fn a_directory_that_others_can_write_or_a_link_to_one_is_not_used() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let root = TempDir::new().unwrap();
    let digest = sha256(b"abc");
    let refused = |path: &Path| {
        let directory = Directory::new(path.into(), 1 << 20, CacheMetrics::default());
        let found = directory.find(&digest, origin("a")).unwrap_err();
        let claimed = directory.claim(&digest, origin("a"), 3).unwrap_err();
        assert_eq!(found.to_string(), claimed.to_string());
        found.to_string()
    };
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let (real, link) = (root.path().join("real"), root.path().join("link"));
    fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();

    for open in [0o777, 0o1777, 0o770, 0o702] {
        mode(&real, open);
        assert!(refused(&real).contains("chmod go-w"), "{open:o}");
    }
    mode(&real, 0o700);
    assert!(refused(&link).contains("symbolic link"));
    symlink(root.path(), real.join("sha256")).unwrap();
    assert!(refused(&real).contains("symbolic link"));
    assert_eq!(root.path().read_dir().unwrap().count(), 2);
}

#[test]
fn a_link_or_a_pipe_in_the_place_of_a_file_is_not_opened() {
    use std::os::unix::fs::symlink;
    let root = TempDir::new().unwrap();
    let here = directory(&root, 1 << 20);
    let secret = root.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let digest = put(&here, "abc");
    let (whole, ledger) = (here.path(&digest), root.path().join("ledger"));
    let pipe = |path: &Path| {
        fs::remove_file(path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
    };

    for path in [&whole, &whole.with_extension("origins"), &ledger] {
        let before = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        symlink(&secret, path).unwrap();
        let next = sha256(path.as_os_str().as_encoded_bytes());
        let claimed = |path: &Path| match path == ledger {
            true => here.claim(&next, origin("a"), 3).map(|_| ()),
            false => here.find(&digest, origin("a")).map(|_| ()),
        };
        assert!(claimed(path).is_err(), "{}", path.display());
        pipe(path);
        assert!(claimed(path).is_err(), "{}", path.display());
        fs::remove_file(path).unwrap();
        fs::write(path, before).unwrap();
    }
    assert_eq!(fs::read(secret).unwrap(), b"secret");
    assert!(is_stored(&here, &digest));
}
