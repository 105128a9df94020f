//! The `kernel:` and `glibc:` features.

use super::{findings::Findings, root::Root};

const RELEASE: &str = "proc/sys/kernel/osrelease";
/// The glibc paths of distributions, tried after the multi-arch directories.
const LIBC: [&str; 4] = [
    "lib64/libc.so.6",
    "usr/lib64/libc.so.6",
    "lib/libc.so.6",
    "usr/lib/libc.so.6",
];
/// Debian's multi-arch directories for glibc's architectures.
const TRIPLES: [&str; 6] = [
    "x86_64-linux-gnu",
    "aarch64-linux-gnu",
    "powerpc64le-linux-gnu",
    "riscv64-linux-gnu",
    "s390x-linux-gnu",
    "i386-linux-gnu",
];
/// The size limit for searching libc.so.6.
const MAX_LIBC: u64 = 32 << 20;
/// The text before the version in every released libc.so.6.
const BANNER: &[u8] = b"stable release version ";

/// Adds the versions of the kernel and of the host's glibc.
pub(super) fn detect(root: &Root, findings: &mut Findings) {
    match root.text(RELEASE).filter(|text| !text.is_empty()) {
        Some(release) => {
            let version = leading_version(&release);
            findings.add(
                format!("kernel:{version}"),
                &format!("/{RELEASE}"),
                &release,
            );
        }
        None => findings.warn(format!("cannot read /{RELEASE}: no kernel version")),
    }
    // A host without glibc is normal.
    if let Some((path, version)) = glibc(root) {
        findings.add(format!("glibc:{version}"), &format!("/{path}"), &version);
    }
}

fn glibc(root: &Root) -> Option<(String, String)> {
    let debian = TRIPLES.map(|triple| format!("lib/{triple}/libc.so.6"));
    let others = LIBC.map(str::to_owned);
    let mut paths = debian.into_iter().chain(others);
    paths.find_map(|path| {
        if !root.contains(&path) {
            return None;
        }
        let library = root.read(&path, MAX_LIBC).ok()?;
        let start = library.windows(BANNER.len()).position(|it| it == BANNER)? + BANNER.len();
        let version = library[start..]
            .iter()
            .take(16)
            .map(|byte| char::from(*byte));
        let version: String = version.take_while(|c| !c.is_whitespace()).collect();
        Some((path, leading_version(&version)))
    })
}

/// The leading numbers and dots of `text`.
pub(super) fn leading_version(text: &str) -> String {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let version = &text[..end.unwrap_or(text.len())];
    version.trim_end_matches('.').to_owned()
}
