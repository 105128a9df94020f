//! One turn: wrk on one core against a server on the other.

use std::{fs, path::Path};

use metahub_tests::{invocation::run, program::Program};

use super::subject::Subject;

const WRK: Program = Program {
    name: "wrk",
    install: "install the Debian package wrk",
};
/// How many CPU times the kernel counts a second, on all of its platforms.
const TICKS: f64 = 100.0;

/// What one turn showed.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    pub(crate) p99_ms: f64,
    pub(crate) cpu_us: f64,
    pub(crate) rss_mib: f64,
}

/// Gives a server its turn. Fails when an answer was not good.
pub(crate) async fn measure(subject: &Subject) -> Measured {
    let before = cpu_seconds(subject.pid);
    let mut args = vec!["-c", "1", WRK.name, "-t1", "-c64", "-d4s", "--latency"];
    for header in &subject.headers {
        args.extend(["-H", header]);
    }
    args.push(&subject.url);
    let text = run(Path::new("taskset"), args).await.text();
    let cpu = cpu_seconds(subject.pid) - before;
    assert!(
        !text.contains("Non-2xx"),
        "{} refuses\n{text}",
        subject.name
    );
    let requests: f64 = number(&word_before(&text, "requests in"));
    Measured {
        per_second: number(&word_after(&text, "Requests/sec:")),
        p99_ms: milliseconds(&word_after(&text, " 99%")),
        cpu_us: cpu * 1e6 / requests,
        rss_mib: rss_mib(subject.pid),
    }
}

fn word_after(text: &str, mark: &str) -> String {
    let rest = text.split_once(mark).map_or("", |(_, rest)| rest);
    let word = rest.split_whitespace().next();
    word.unwrap_or_else(|| panic!("wrk does not say `{mark}`\n{text}"))
        .into()
}

fn word_before(text: &str, mark: &str) -> String {
    let rest = text.split_once(mark).map_or("", |(rest, _)| rest);
    let word = rest.split_whitespace().next_back();
    word.unwrap_or_else(|| panic!("wrk does not say `{mark}`\n{text}"))
        .into()
}

fn number(text: &str) -> f64 {
    text.parse()
        .unwrap_or_else(|_| panic!("`{text}` is no number"))
}

/// A duration as wrk writes it, for example `1.50ms`.
fn milliseconds(text: &str) -> f64 {
    let units = [("us", 1e-3), ("ms", 1.0), ("s", 1e3)];
    let unit = units
        .iter()
        .find_map(|(unit, factor)| Some(number(text.strip_suffix(unit)?) * factor));
    unit.unwrap_or_else(|| panic!("`{text}` is no duration"))
}

/// The time that a process has spent, in itself and in the kernel.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the server runs");
    // The second field may hold spaces, but ends with the last parenthesis.
    let (_, fields) = stat.rsplit_once(')').expect("the kernel names the program");
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let [user, system] = [fields[11], fields[12]].map(number);
    (user + system) / TICKS
}

fn rss_mib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the server runs");
    number(&word_after(&status, "VmRSS:")) / 1024.0
}
