//! The result of a check: one line for people, one record for programs.

use std::fmt;

use serde::Serialize;

/// The status of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// The check passed.
    Ok,
    /// The host works, with a fault or for a limited time only.
    Warn,
    /// The host does not work.
    Fail,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The name of the check, as docs/doctor.md lists it.
    pub(super) check: &'static str,
    pub(super) status: Status,
    /// The finding, as a sentence.
    pub(super) what: String,
    /// The next step for the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

/// All findings, and their worst status.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The version of this form: 1.
    schema: u32,
    pub(super) status: Status,
    pub(super) findings: Vec<Finding>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self {
            check,
            status: Status::Ok,
            what: what.into(),
            next: None,
        }
    }

    pub(super) fn warn(
        check: &'static str,
        what: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self {
            status: Status::Warn,
            next: Some(next.into()),
            ..Self::ok(check, what)
        }
    }

    pub(super) fn fail(
        check: &'static str,
        what: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self {
            status: Status::Fail,
            ..Self::warn(check, what, next)
        }
    }
}

/// Prints a finding on one line, even if texts from files hold line breaks.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.status {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Fail => "fail",
        };
        let next = self.next.as_ref().map(|it| format!("  ->  {it}"));
        let line = format!("{}: {}{}", self.check, self.what, next.unwrap_or_default());
        let line = line.replace(char::is_control, " ");
        write!(f, "{status:<4}  {line}")
    }
}

impl Report {
    pub(super) fn new(findings: Vec<Finding>) -> Self {
        let worst = findings.iter().map(|it| it.status).max();
        Self {
            schema: 1,
            status: worst.unwrap_or(Status::Ok),
            findings,
        }
    }

    /// The number of findings with this status.
    pub(super) fn count(&self, status: Status) -> usize {
        let lines = self.findings.iter();
        lines.filter(|it| it.status == status).count()
    }

    /// One line for each finding.
    pub(super) fn text(&self) -> String {
        let lines = self.findings.iter().map(|it| format!("{it}\n"));
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_whatever_was_read() {
        let finding = Finding::warn("dns", "it says\n\"no\"\u{1b}[31m", "look\r\nthere");

        let line = finding.to_string();

        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(line.starts_with("warn  dns: it says "), "{line}");
    }

    #[test]
    fn a_report_is_as_bad_as_its_worst_line() {
        let report = |lines: &[Finding]| Report::new(lines.to_vec()).status;
        let (ok, warn) = (Finding::ok("a", ""), Finding::warn("a", "", ""));

        assert_eq!(report(&[]), Status::Ok);
        assert_eq!(report(&[warn.clone(), ok.clone()]), Status::Warn);
        assert_eq!(
            report(&[warn, Finding::fail("a", "", ""), ok]),
            Status::Fail
        );
    }
}
