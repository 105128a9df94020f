//! Selectors: what a host adds to its login's name, where that is allowed.

use metahub_cli::demo::image::{Form, REPOSITORY};
use metahub_proto::{admin::v1 as pb, policy::v1 as policy};
use metahub_tests::{
    admin::Login,
    client::{error, header},
    index::{entry, put_index},
    site::Site,
};

/// A site with a Broadwell type whose login allows selectors.
async fn site() -> (Site, Login) {
    let mut site = Site::start_with(1, Form::Docker, &[]).await;
    let machine_type = policy::MachineType {
        user: "qnib".into(),
        name: "free".into(),
        os: "linux".into(),
        features: vec!["cpu:broadwell".into()],
        ..Default::default()
    };
    let request = pb::CreateTypeRequest {
        machine_type: Some(machine_type),
        allow_selectors: true,
        ..Default::default()
    };
    let created = site.admin.client().create_type(request).await;
    let created = created.expect("the type is created");
    let login = created.into_inner().login.expect("it has a login");
    site.admin.all_current(1).await;
    let login = Login {
        name: login.name,
        secret: login.secret,
    };
    (site, login)
}

fn with(login: &Login, selectors: &str) -> Login {
    Login {
        name: format!("{}+{selectors}", login.name),
        secret: login.secret.clone(),
    }
}

#[tokio::test]
async fn a_selector_chooses_another_variant_than_the_type_alone() {
    let (site, login) = site().await;
    let [_, skylake, broadwell, gpu] = &site.bench.images[..] else {
        panic!("the image has four variants");
    };
    for (login, image) in [
        (login.clone(), broadwell),
        (with(&login, "nvcap:5.2"), gpu),
        (with(&login, "cpu:skylake"), skylake),
        (with(&login, "cpu:broadwell,nvcap:6.0"), broadwell),
    ] {
        let digest = site.client(0, &login).digest(REPOSITORY, "latest").await;

        assert_eq!(digest, image.manifest.digest, "{}", login.name);
    }
}

#[tokio::test]
async fn a_selector_of_an_architecture_chooses_the_image_of_another_platform() {
    let (site, login) = site().await;
    let [generic, skylake, ..] = &site.bench.images[..] else {
        panic!("the image has four variants");
    };
    let mut arm64 = entry(&skylake.manifest.digest, &[]);
    arm64["platform"]["architecture"] = "arm64".into();
    let entries = [entry(&generic.manifest.digest, &[]), arm64];
    put_index(&site.upstream, REPOSITORY, "both", &entries);

    for (login, image) in [
        (login.clone(), generic),
        (with(&login, "arch:arm64"), skylake),
        (with(&login, "arch:amd64"), generic),
    ] {
        let digest = site.client(0, &login).digest(REPOSITORY, "both").await;

        assert_eq!(digest, image.manifest.digest, "{}", login.name);
    }
    let unknown = site.client(0, &with(&login, "arch:amr64"));
    let (_, message) = error(unknown.get("/v2/").await).await;
    assert!(message.contains("arm64"), "{message}");
}

#[tokio::test]
async fn a_login_that_allows_no_selectors_is_told_so() {
    let (site, _) = site().await;
    let login = with(&site.type1, "nvcap:5.2");

    let answer = site.client(0, &login).get("/v2/").await;

    assert_eq!(answer.status(), 401);
    assert_eq!(
        header(&answer, "www-authenticate"),
        r#"Basic realm="MetaHub""#
    );
    let (code, message) = error(answer).await;
    assert_eq!(code, "UNAUTHORIZED");
    assert!(message.contains("--allow-selectors"), "{message}");
}

#[tokio::test]
async fn a_wrong_secret_learns_nothing_about_selectors() {
    let (site, login) = site().await;
    for login in [&site.type1, &login] {
        let wrong = Login {
            secret: "wrong".into(),
            ..with(login, "nvcap:nonsense")
        };

        let answer = site.client(0, &wrong).get("/v2/").await;

        let (_, message) = error(answer).await;
        assert_eq!(message, "machine type or password is wrong");
    }
}

#[tokio::test]
async fn a_selector_that_cannot_be_read_is_refused_with_a_reason() {
    let (site, login) = site().await;

    let answer = site
        .client(0, &with(&login, "nvcap:nonsense"))
        .get("/v2/")
        .await;

    assert_eq!(answer.status(), 401);
    let (_, message) = error(answer).await;
    assert!(message.contains("nvcap:nonsense"), "{message}");
}
