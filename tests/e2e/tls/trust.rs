//! Whom metahubctl takes for the control plane.

use std::path::Path;

use metahub_tests::{
    invocation::{Outcome, run, run_with_input},
    program,
};
use tempfile::TempDir;

use super::*;

/// A home whose metahubctl knows no control plane yet.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(TempDir::new().expect("a temporary directory"))
    }

    fn command(&self, control: &Place, flags: &str) -> String {
        format!(
            "XDG_CONFIG_HOME={} {} --control={} --token-file={} {flags} user list",
            self.0.path().display(),
            program::ours("metahubctl").display(),
            control.url(),
            control.admin_token_file().display(),
        )
    }

    /// Runs metahubctl where no one can be asked.
    async fn unattended(&self, control: &Place, flags: &str) -> Outcome {
        let command = self.command(control, flags);
        run(Path::new("sh"), ["-c", &command]).await
    }

    /// Runs metahubctl on a terminal, at which someone answers.
    async fn at_a_terminal(&self, control: &Place, answer: &str) -> Outcome {
        let command = self.command(control, "");
        let args = ["-qec", &command, "/dev/null"];
        run_with_input(Path::new("script"), args, answer).await
    }
}

#[tokio::test]
async fn one_who_confirms_a_fingerprint_is_not_asked_again() {
    let (control, home) = (secure().await, Home::new());

    let asked = home.at_a_terminal(control.place(), "yes\n").await.text();

    assert!(asked.contains(control.fingerprint()), "{asked}");
    home.unattended(control.place(), "").await.text();
}

#[tokio::test]
async fn one_who_does_not_confirm_it_sends_no_token() {
    let (control, home) = (secure().await, Home::new());

    home.at_a_terminal(control.place(), "no\n")
        .await
        .complaint();

    let refused = home.unattended(control.place(), "").await.complaint();
    assert!(refused.contains(control.fingerprint()), "{refused}");
    assert!(refused.contains("--fingerprint"), "{refused}");
}

#[tokio::test]
async fn a_control_plane_with_another_authority_is_refused_by_one_who_knew_it() {
    let (control, home) = (secure().await, Home::new());
    home.at_a_terminal(control.place(), "yes\n").await.text();
    let known = control.fingerprint().to_owned();

    let place = control.stop().await;
    std::fs::remove_file(place.dir().join("metahub.db")).expect("there is a store");
    let control = Control::start_at(place.with(&["--tls", "--start-anew"])).await;

    let refused = home.unattended(control.place(), "").await.complaint();
    for part in [&known, control.fingerprint(), "known-controls"] {
        assert!(refused.contains(part), "no {part}: {refused}");
    }
}

#[tokio::test]
async fn a_fingerprint_that_was_given_and_proved_right_need_not_be_given_again() {
    let (control, other, home) = (secure().await, secure().await, Home::new());
    let given = format!("--fingerprint={}", control.fingerprint());
    home.unattended(other.place(), &given).await.complaint();
    home.unattended(control.place(), &given).await.text();

    home.unattended(control.place(), "").await.text();
    let wrong = home.unattended(other.place(), "").await.complaint();
    let place = control.stop().await;
    std::fs::remove_file(place.dir().join("metahub.db")).expect("there is a store");
    let control = Control::start_at(place.with(&["--tls", "--start-anew"])).await;
    let changed = home.unattended(control.place(), "").await.complaint();
    let insisted = home.unattended(control.place(), &given).await.complaint();

    assert!(wrong.contains("nothing says whether"), "{wrong}");
    assert!(changed.contains("known-controls"), "{changed}");
    assert!(
        insisted.contains("not the control plane that --fingerprint names"),
        "{insisted}"
    );
}

#[tokio::test]
async fn a_fingerprint_or_an_authority_that_is_given_is_asked_for_and_no_other() {
    let (control, other, home) = (secure().await, secure().await, Home::new());
    let place = control.place();
    let fingerprint = |control: &Control| format!("--fingerprint={}", control.fingerprint());
    let ca_file = |control: &Control| format!("--ca-file={}", control.place().ca_file().display());

    home.unattended(place, &fingerprint(&control)).await.text();
    home.unattended(place, &ca_file(&control)).await.text();

    let refused = home.unattended(place, &fingerprint(&other)).await;
    let refused = refused.complaint();
    assert!(refused.contains(control.fingerprint()), "{refused}");
    home.unattended(place, &ca_file(&other)).await.complaint();
}
