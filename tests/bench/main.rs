//! What one answer costs: a manifest by its tag, from a worker that has it, and
//! from what else serves registries, on this machine and in one run.
//!
//! ```sh
//! cargo build --release --bins && cargo bench -p metahub-tests
//! ```
//!
//! The machine drifts from one run to the next, so all take turns within one,
//! and the ratios are what to look at.

mod load;
mod subject;

use std::{fmt::Write as _, io, io::Write as _};

use self::{
    load::{Measured, measure},
    subject::Subjects,
};

/// How often each has its turn.
const ROUNDS: usize = 5;

#[tokio::main]
async fn main() -> io::Result<()> {
    let subjects = Subjects::start().await;
    let mut measured = vec![Vec::new(); subjects.list().len()];
    for _ in 0..ROUNDS {
        for (subject, rounds) in subjects.list().iter().zip(&mut measured) {
            rounds.push(measure(subject).await);
        }
    }
    let names = subjects.list().iter().map(|subject| subject.name);
    let medians: Vec<_> = names.zip(measured.into_iter().map(median)).collect();
    io::stdout().write_all(table(&medians).as_bytes())
}

/// The round in the middle, by what a request cost.
fn median(mut rounds: Vec<Measured>) -> Measured {
    rounds.sort_by(|a, b| a.cpu_us.total_cmp(&b.cpu_us));
    rounds.swap_remove(rounds.len() / 2)
}

/// A Markdown table; the first row is what the others are compared to.
fn table(rows: &[(&str, Measured)]) -> String {
    let mut text = String::from(
        "| server | requests/s | ratio | CPU µs/request | ratio | p99 ms | RSS MiB |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
    );
    for (name, it) in rows {
        let (_, first) = &rows[0];
        let _ = writeln!(
            text,
            "| {name} | {:.0} | {:.2} | {:.1} | {:.2} | {:.2} | {:.0} |",
            it.per_second,
            it.per_second / first.per_second,
            it.cpu_us,
            it.cpu_us / first.cpu_us,
            it.p99_ms,
            it.rss_mib,
        );
    }
    text
}
