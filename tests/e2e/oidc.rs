//! People sign in at an issuer, and the control plane believes nothing else.

use std::time::Duration;

use metahub_proto::admin::v1::{WhoAmIRequest, access_service_client::AccessServiceClient};
use metahub_tests::{
    control::Control,
    issuer::{Algorithm, Issuer, unix_secs},
    metahubctl::{Metahubctl, Said},
    wait::eventually,
};
use serde_json::{Value, json};
use tonic::{Code, Request, Status};

const ROLES: [&str; 3] = [
    "admin=groups:ops",
    "owner=groups:metahub-*",
    "viewer=groups:staff",
];

/// A control plane that people sign in at, and one of them.
struct Site {
    issuer: Issuer,
    control: Control,
    metahubctl: Metahubctl,
}

impl Site {
    async fn start() -> Self {
        let issuer = Issuer::start().await;
        let control = started(&issuer.flags(&ROLES)).await;
        Self {
            metahubctl: Metahubctl::new(&control.place().url()),
            issuer,
            control,
        }
    }

    /// Signs in as a person with these claims.
    async fn sign_in(&self, claims: Value) -> Said {
        let login = self.metahubctl.run(&["auth", "login"]);
        tokio::join!(login, self.issuer.confirm(claims)).0
    }

    /// What the control plane says to one who calls with `token`.
    async fn name(&self, token: &str) -> Result<String, Status> {
        let mut request = Request::new(WhoAmIRequest {});
        let bearer = format!("Bearer {token}").parse().expect("ASCII");
        request.metadata_mut().insert("authorization", bearer);
        let client = AccessServiceClient::connect(self.control.place().url()).await;
        let mut client = client.expect("it listens");
        let answer = client.who_am_i(request).await?;
        Ok(answer.into_inner().name)
    }

    async fn code(&self, token: &str) -> Code {
        let name = self.name(token).await;
        name.map_or_else(|status| status.code(), |_| Code::Ok)
    }
}

async fn started(flags: &[String]) -> Control {
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    Control::start_with(&flags).await
}

fn staff() -> Value {
    json!({"groups": ["staff"], "preferred_username": "alice"})
}

#[tokio::test]
async fn one_who_signs_in_has_the_role_of_their_claims() {
    let site = Site::start().await;

    let said = site.sign_in(staff()).await;

    assert!(
        said.text().contains("oidc:alice (person-1), viewer"),
        "{}",
        said.text()
    );
    let who = site.metahubctl.run(&["auth", "status"]).await;
    assert!(who.text().contains("by       sign-in"), "{}", who.text());
    let change = site.metahubctl.run(&["user", "create", "qnib"]).await;
    assert!(change.complaint().contains("is a viewer"));
}

#[tokio::test]
async fn one_who_signs_in_as_an_owner_sees_their_user_only() {
    let site = Site::start().await;
    let ops = site.issuer.id_token(json!({"groups": ["ops"]}));
    for user in ["qnib", "moby"] {
        let create = ["user", "create", user];
        site.metahubctl.run_with(&ops, &create).await.text();
    }

    site.sign_in(json!({"groups": ["staff", "metahub-qnib"]}))
        .await
        .text();

    let users = site.metahubctl.run(&["user", "list"]).await;
    assert!(users.text().contains("qnib") && !users.text().contains("moby"));
}

#[tokio::test]
async fn one_without_a_role_is_refused_and_not_signed_in() {
    let site = Site::start().await;

    let said = site.sign_in(json!({"groups": ["guests"]})).await;

    assert!(said.complaint().contains("no claim gives a role"));
    let status = site.metahubctl.run(&["auth", "status"]).await;
    assert!(status.complaint().contains("no one has signed in"));
}

#[tokio::test]
async fn one_who_says_no_on_the_other_device_is_not_signed_in() {
    let site = Site::start().await;

    let said = site.sign_in(Value::Null).await;

    assert!(
        said.complaint().contains("access_denied"),
        "{}",
        said.complaint()
    );
}

#[tokio::test]
async fn a_token_that_is_not_good_here_and_now_is_refused() {
    let site = Site::start().await;
    let now = unix_secs();
    assert_eq!(site.code(&site.issuer.id_token(staff())).await, Code::Ok);

    for (what, claims) in [
        ("expired", json!({"exp": now - 60})),
        ("without an end", json!({"exp": null})),
        ("not good yet", json!({"nbf": now + 120})),
        ("of another audience", json!({"aud": "grafana"})),
        ("without an audience", json!({"aud": null})),
        ("of another client", json!({"azp": "grafana"})),
        ("of another issuer", json!({"iss": "https://evil.example"})),
        ("without an issuer", json!({"iss": null})),
        ("of no one", json!({"sub": null})),
    ] {
        let mut all = staff();
        let over = claims.as_object().expect("an object").clone();
        all.as_object_mut().expect("an object").extend(over);
        let token = site.issuer.id_token(all);

        assert_eq!(site.code(&token).await, Code::Unauthenticated, "{what}");
    }
}

#[tokio::test]
async fn a_token_that_the_issuer_has_not_signed_is_refused() {
    let site = Site::start().await;
    let ops = json!({"groups": ["ops"]});
    let good = site.issuer.id_token(ops.clone());
    assert_eq!(site.code(&good).await, Code::Ok);
    let unsigned = good.rsplit_once('.').expect("it has dots").0;

    for token in [
        site.issuer.forged("none", ops.clone()),
        site.issuer.forged("None", ops.clone()),
        site.issuer.forged("HS256", ops.clone()),
        site.issuer.signed_by_a_stranger("key-1", ops.clone()),
        site.issuer.signed_by_a_stranger("key-2", ops),
        format!("{unsigned}."),
        "..".into(),
        "a.b.c".into(),
    ] {
        assert_eq!(site.code(&token).await, Code::Unauthenticated, "{token}");
    }
}

#[tokio::test]
async fn every_accepted_way_of_signing_works() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
        let site = Site::start().await;
        site.issuer.rotate("another", algorithm);

        let token = site.issuer.id_token(staff());

        assert_eq!(site.code(&token).await, Code::Ok, "{algorithm:?}");
    }
}

#[tokio::test]
async fn a_new_key_of_the_issuer_is_found_and_the_old_one_forgotten() {
    let site = Site::start().await;
    let old = site.issuer.id_token(staff());
    assert_eq!(site.code(&old).await, Code::Ok);

    site.issuer.rotate("key-2", Algorithm::EdDsa);

    let new = site.issuer.id_token(staff());
    assert_eq!(site.code(&new).await, Code::Ok);
    assert_eq!(site.code(&old).await, Code::Unauthenticated);
}

#[tokio::test]
async fn made_up_names_of_keys_do_not_make_the_control_plane_ask_again_and_again() {
    let site = Site::start().await;
    assert_eq!(site.code(&site.issuer.id_token(staff())).await, Code::Ok);

    for number in 0..20 {
        let kid = format!("made-up-{number}");
        let token = site.issuer.signed_by_a_stranger(&kid, staff());
        assert_eq!(site.code(&token).await, Code::Unauthenticated);
    }

    assert!(site.issuer.asked_for("/keys") <= 4);
    assert_eq!(site.code(&site.issuer.id_token(staff())).await, Code::Ok);
}

#[tokio::test]
async fn a_sign_in_is_renewed_before_it_ends() {
    let site = Site::start().await;
    site.issuer.set_lifetime(Duration::from_secs(10));
    site.sign_in(staff()).await.text();
    site.issuer.set_lifetime(Duration::from_secs(300));
    let asked = site.issuer.asked_for("/token");

    for _ in 0..3 {
        site.metahubctl.run(&["status"]).await.text();
    }

    assert_eq!(site.issuer.asked_for("/token"), asked + 1);
    assert_eq!(site.issuer.refresh_tokens(), 1);
    let who = site.metahubctl.run(&["auth", "status", "-o", "json"]).await;
    assert_eq!(who.json()["from"], "sign-in");
}

#[tokio::test]
async fn a_sign_in_outlives_trouble_at_the_issuer() {
    let site = Site::start().await;
    site.issuer.set_lifetime(Duration::from_secs(3));
    site.sign_in(staff()).await.text();
    let end = unix_secs() + 3;
    eventually("the ID token ends", async || unix_secs() > end).await;
    for status in [401, 429, 500, 503] {
        site.issuer.set_trouble(Some(status));

        let refused = site.metahubctl.run(&["status"]).await;

        let complaint = refused.complaint();
        assert!(complaint.contains("it is kept"), "{status}: {complaint}");
    }

    site.issuer.set_trouble(None);
    site.issuer.set_lifetime(Duration::from_secs(300));
    site.metahubctl.run(&["status"]).await.text();
}

#[tokio::test]
async fn groups_that_only_the_userinfo_endpoint_names_give_a_role() {
    let site = Site::start().await;
    site.issuer.set_groups_apart();

    site.sign_in(staff()).await.text();

    let who = site.metahubctl.run(&["auth", "status", "-o", "json"]).await;
    assert_eq!(who.json()["role"], "viewer");
}

#[tokio::test]
async fn a_slash_at_the_end_of_the_issuer_makes_no_other() {
    let site = Site::start().await;
    let slash = format!("{}/", site.issuer.url());

    let token = site
        .issuer
        .id_token(json!({"iss": slash, "groups": ["ops"]}));

    assert!(site.name(&token).await.is_ok());
}

#[tokio::test]
async fn a_token_with_hundreds_of_groups_is_taken() {
    let site = Site::start().await;
    let mut groups: Vec<String> = (0..600)
        .map(|n| format!("group-with-a-long-name-{n}"))
        .collect();
    groups.push("ops".into());

    let token = site.issuer.id_token(json!({"groups": groups}));

    assert!(token.len() > 16 << 10, "{}", token.len());
    assert!(site.name(&token).await.is_ok());
}

#[tokio::test]
async fn one_whose_refresh_token_was_revoked_is_told_to_sign_in_again() {
    let site = Site::start().await;
    site.issuer.set_lifetime(Duration::from_secs(10));
    site.sign_in(staff()).await.text();

    site.issuer.revoke_all();

    let refused = site.metahubctl.run(&["status"]).await;
    assert!(refused.complaint().contains("metahubctl auth login"));
}

#[tokio::test]
async fn an_issuer_of_a_private_authority_is_trusted_by_those_who_are_told_to() {
    let issuer = Issuer::start_private().await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ca_file = dir.path().join("issuer-ca.pem");
    std::fs::write(&ca_file, issuer.ca_pem()).expect("there is room");
    let mut flags = issuer.flags(&ROLES);
    flags.push(format!("--oidc-ca-file={}", ca_file.display()));
    let control = started(&flags).await;
    let site = Site {
        metahubctl: Metahubctl::new(&control.place().url()),
        issuer,
        control,
    };

    let untold = site.metahubctl.run(&["auth", "login"]).await;
    site.issuer.set_lifetime(Duration::from_secs(10));
    let ca_flag = format!("--issuer-ca-file={}", ca_file.display());
    let login = ["auth", "login", &ca_flag];
    let login = site.metahubctl.run(&login);
    let told = tokio::join!(login, site.issuer.confirm(staff())).0;

    assert!(
        untold.failed_with("--issuer-ca-file"),
        "{}",
        untold.complaint()
    );
    assert!(told.text().contains("oidc:alice"), "{}", told.text());
    // The authority is kept with the sign-in, which has to be renewed by now.
    std::fs::remove_file(&ca_file).expect("it is there");
    let asked = site.issuer.asked_for("/token");
    site.metahubctl.run(&["status"]).await.text();
    assert_eq!(site.issuer.asked_for("/token"), asked + 1);
    site.metahubctl.run(&["auth", "logout"]).await.text();
    assert_eq!(site.issuer.refresh_tokens(), 0);
}

#[tokio::test]
async fn a_file_that_holds_no_authority_is_named() {
    let site = Site::start().await;
    let empty = site.metahubctl.home().join("empty.pem");
    std::fs::write(&empty, "").expect("there is room");

    for file in [empty.as_path(), "/no/such/file".as_ref()] {
        let ca_flag = format!("--issuer-ca-file={}", file.display());
        let said = site.metahubctl.run(&["auth", "login", &ca_flag]).await;

        let complaint = said.complaint();
        assert!(complaint.contains(&*file.to_string_lossy()), "{complaint}");
    }
}

#[tokio::test]
async fn one_who_signs_out_leaves_nothing_behind() {
    let site = Site::start().await;
    site.sign_in(staff()).await.text();

    site.metahubctl.run(&["auth", "logout"]).await.text();

    assert_eq!(site.issuer.refresh_tokens(), 0);
    let kept = std::fs::read_to_string(site.metahubctl.home().join("metahub/sign-ins.json"));
    assert_eq!(kept.expect("the file stays").trim(), "{}");
    site.metahubctl.run(&["status"]).await.complaint();
}

#[tokio::test]
async fn a_token_that_is_given_goes_before_the_sign_in() {
    let site = Site::start().await;
    site.sign_in(staff()).await.text();
    let file = site.control.place().admin_token_file();
    let admin = std::fs::read_to_string(file).expect("there is an admin token");

    let who = site.metahubctl.run_with(&admin, &["auth", "status"]).await;

    assert!(who.text().contains("bootstrap"), "{}", who.text());
}

#[tokio::test]
async fn without_its_issuer_the_control_plane_works_and_says_what_is_wrong() {
    let gone = Issuer::start().await;
    let token = gone.id_token(staff());
    let flags = gone.flags(&ROLES);
    drop(gone);
    let control = started(&flags).await;
    let site = Site {
        metahubctl: Metahubctl::new(&control.place().url()),
        issuer: Issuer::start().await,
        control,
    };
    let file = site.control.place().admin_token_file();
    let admin = std::fs::read_to_string(file).expect("there is an admin token");

    let by_file = site.metahubctl.run_with(&admin, &["status"]).await;
    let code = site.code(&token).await;

    by_file.text();
    assert_eq!(code, Code::Unavailable);
}

#[tokio::test]
async fn without_an_issuer_no_one_can_sign_in() {
    let control = Control::start().await;
    let metahubctl = Metahubctl::new(&control.place().url());

    let said = metahubctl.run(&["auth", "login"]).await;

    assert!(
        said.complaint().contains("--oidc-issuer"),
        "{}",
        said.complaint()
    );
}
