//! Admin tokens and what their holders may do, by metahubctl.

use metahub_cli::demo::digest::sha256;
use metahub_tests::{control::Control, metahubctl::Metahubctl, wait::eventually};

/// A control plane with the users `qnib` and `moby`, and an admin of it.
struct Site {
    control: Control,
    metahubctl: Metahubctl,
    admin: String,
}

impl Site {
    async fn start() -> Self {
        let control = Control::start().await;
        let file = control.place().admin_token_file();
        let admin = std::fs::read_to_string(file).expect("there is an admin token");
        let site = Self {
            metahubctl: Metahubctl::new(&control.place().url()),
            control,
            admin,
        };
        for user in ["qnib", "moby"] {
            site.admins(&["user", "create", user]).await;
        }
        site
    }

    /// What a command of the admin prints.
    async fn admins(&self, arguments: &[&str]) -> String {
        let said = self.metahubctl.run_with(&self.admin, arguments).await;
        said.text().to_owned()
    }

    /// The secret of a new admin token.
    async fn token(&self, arguments: &[&str]) -> String {
        let create = ["token", "create", "-o", "json"];
        let arguments = [&create, arguments].concat();
        let said = self.metahubctl.run_with(&self.admin, &arguments).await;
        said.json()["secret"].as_str().expect("text").to_owned()
    }
}

#[tokio::test]
async fn an_owner_makes_types_for_its_own_user_only() {
    let site = Site::start().await;
    let owner = site.token(&["team", "--role=owner", "--user=qnib"]).await;
    let create = |user| ["type", "create", "type1", user, "--feature=cpu:broadwell"];

    let own = site
        .metahubctl
        .run_with(&owner, &create("--user=qnib"))
        .await;
    let other = site
        .metahubctl
        .run_with(&owner, &create("--user=moby"))
        .await;

    assert!(own.text().contains("qnib-type1"));
    assert!(
        other.complaint().contains("ask an admin"),
        "{}",
        other.complaint()
    );
    let types = site.admins(&["type", "list"]).await;
    assert!(!types.contains("moby"), "{types}");
}

#[tokio::test]
async fn an_owner_opens_what_the_admin_allowed_only() {
    let site = Site::start().await;
    let arguments = [
        "team",
        "--role=owner",
        "--user=qnib",
        "--allow-grants=ghcr.io/acme/**",
    ];
    let owner = site.token(&arguments).await;
    let grant = |repository| ["grant", "create", "--user=qnib", "--repository", repository];

    let within = site
        .metahubctl
        .run_with(&owner, &grant("ghcr.io/acme/app"))
        .await;
    let beyond = site.metahubctl.run_with(&owner, &grant("ghcr.io/**")).await;

    within.text();
    let complaint = beyond.complaint();
    assert!(complaint.contains("within ghcr.io/acme/**"), "{complaint}");
}

#[tokio::test]
async fn a_viewer_sees_everything_and_changes_nothing() {
    let site = Site::start().await;
    let viewer = site.token(&["grafana", "--role=viewer"]).await;

    let list = site.metahubctl.run_with(&viewer, &["user", "list"]).await;
    let delete = site
        .metahubctl
        .run_with(&viewer, &["user", "delete", "qnib"])
        .await;

    assert!(list.text().contains("qnib") && list.text().contains("moby"));
    let complaint = delete.complaint();
    assert!(complaint.contains("`grafana` is a viewer"), "{complaint}");
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once() {
    let site = Site::start().await;
    let token = site.token(&["ci", "--role=admin"]).await;
    site.metahubctl.run_with(&token, &["status"]).await.text();

    site.admins(&["token", "revoke", "ci"]).await;

    let refused = site.metahubctl.run_with(&token, &["status"]).await;
    assert!(refused.complaint().contains("was revoked"));
}

#[tokio::test]
async fn a_token_ends_when_it_was_told_to() {
    let site = Site::start().await;
    let token = site.token(&["ci", "--role=admin", "--expires=6s"]).await;
    let who = site.metahubctl.run_with(&token, &["auth", "status"]).await;
    assert!(who.text().contains("until"), "{}", who.text());

    eventually("the token ends", async || {
        let said = site.metahubctl.run_with(&token, &["status"]).await;
        said.failed_with("the admin token `ci` ended at")
    })
    .await;
}

#[tokio::test]
async fn a_list_of_tokens_shows_who_made_them_and_no_secret() {
    let site = Site::start().await;
    let token = site.token(&["ci", "--role=viewer", "--expires=30d"]).await;

    let list = site.admins(&["token", "list"]).await;

    assert!(list.contains("ci") && list.contains("bootstrap"), "{list}");
    assert!(!list.contains(&token));
    let audit = site.admins(&["audit", "export"]).await;
    let hash = sha256(token.as_bytes());
    let hash = hash.trim_start_matches("sha256:");
    assert!(audit.contains("token.create"), "{audit}");
    assert!(!audit.contains(&token) && !audit.contains(hash), "{audit}");
}

#[tokio::test]
async fn the_token_file_of_the_control_plane_always_works() {
    let site = Site::start().await;

    let who = site.admins(&["auth", "whoami"]).await;

    assert!(who.contains("bootstrap") && who.contains("admin"), "{who}");
    let refused = site.metahubctl.run(&["status"]).await;
    assert!(refused.complaint().contains("auth login"));
    drop(site.control);
}
