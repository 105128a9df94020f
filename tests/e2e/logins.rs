//! Nobody is served without a login that is good.

use metahub_cli::demo::image::REPOSITORY;
use metahub_tests::{
    admin::Login,
    client::{RegistryClient, error, header},
    site::Site,
};

#[tokio::test]
async fn a_client_without_login_is_given_one_challenge() {
    let site = Site::start(1).await;
    let stranger = RegistryClient::anonymous(site.workers[0].addr());

    let answer = stranger.get("/v2/").await;

    assert_eq!(answer.status(), 401);
    let challenges = answer.headers().get_all("www-authenticate");
    assert_eq!(challenges.iter().count(), 1);
    assert!(header(&answer, "www-authenticate").starts_with("Basic realm="));
    assert_eq!(error(answer).await.0, "UNAUTHORIZED");
}

#[tokio::test]
async fn a_good_login_is_told_so() {
    let site = Site::start(1).await;

    let answer = site.host().get("/v2/").await;

    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_wrong_secret_and_an_unknown_login_are_told_the_same() {
    let site = Site::start(1).await;
    let wrong = Login {
        secret: site.type2.secret.clone(),
        ..site.type1.clone()
    };
    let unknown = Login {
        name: "qnib-type9".into(),
        ..site.type1.clone()
    };

    let mut told = Vec::new();
    for login in [wrong, unknown] {
        let answer = site.client(0, &login).get("/v2/").await;
        assert_eq!(answer.status(), 401);
        told.push(answer.text().await.unwrap());
    }

    assert_eq!(told[0], told[1]);
}

#[tokio::test]
async fn an_empty_login_is_no_login() {
    let site = Site::start(1).await;
    let empty = Login {
        name: String::new(),
        secret: String::new(),
    };

    let answer = site.client(0, &empty).get("/v2/").await;

    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn a_cached_image_is_not_served_to_a_host_without_login() {
    let site = Site::start(1).await;
    site.host().digest(REPOSITORY, "latest").await;
    site.upstream.forget_requests();

    let stranger = RegistryClient::anonymous(site.workers[0].addr());
    let answer = stranger.manifest(REPOSITORY, "latest").await;

    assert_eq!(answer.status(), 401);
    assert_eq!(site.upstream.requests().len(), 0, "the upstream was asked");
}
