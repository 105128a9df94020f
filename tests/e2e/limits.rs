//! What clients may take of a worker, and what they hear beyond it.

use metahub_cli::demo::image::{Form, REPOSITORY};
use metahub_tests::{
    admin::Login,
    client::{error, header},
    site::Site,
};

mod connections;
mod descriptors;
mod floods;
mod stalled;

const PROXY: &str = "--trusted-proxy=127.0.0.0/8";

/// The status that the holder of `login` at `address` hears.
async fn status(site: &Site, login: &Login, address: &str) -> u16 {
    let request = site.client(0, login).request(http::Method::GET, "/v2/");
    let request = request.header("x-forwarded-for", address);
    request.send().await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn who_guesses_a_secret_is_told_to_wait_and_a_host_elsewhere_is_not() {
    let site = Site::start_with(1, Form::Docker, &[PROXY]).await;
    let guess = Login {
        secret: "guess".into(),
        ..site.type1.clone()
    };

    let ask = || {
        let request = site.client(0, &guess).request(http::Method::GET, "/v2/");
        request.header("x-forwarded-for", "192.0.2.1").send()
    };

    let mut tries = 1;
    let mut answer = ask().await.unwrap();
    while answer.status() == 401 {
        tries += 1;
        answer = ask().await.unwrap();
    }

    assert!(tries > 20, "it was told to wait after {tries} tries");
    assert_eq!(answer.status(), 429);
    let wait: u64 = header(&answer, "retry-after").parse().unwrap();
    assert!((1..=3).contains(&wait), "{wait}");
    assert_eq!(error(answer).await.0, "TOOMANYREQUESTS");
    assert_eq!(status(&site, &site.type1, "192.0.2.2").await, 200);
    assert_eq!(status(&site, &site.type2, "192.0.2.1").await, 200);
}

#[tokio::test]
async fn a_login_with_too_many_open_requests_is_told_to_come_back() {
    let site = Site::start_with(1, Form::Docker, &["--max-requests-per-login=0"]).await;

    let answer = site.host().manifest(REPOSITORY, "latest").await;

    assert_eq!(answer.status(), 429);
    assert_eq!(header(&answer, "retry-after"), "2");
    assert_eq!(error(answer).await.0, "TOOMANYREQUESTS");
}

#[tokio::test]
async fn guesses_at_the_token_endpoint_are_slowed_down_as_well() {
    let site = Site::start_with(1, Form::Docker, &["--challenge=bearer"]).await;
    let client = site.client(0, &site.type1);
    let guess = async || {
        let form = [
            ("grant_type", "password"),
            ("username", &*site.type1.name),
            ("password", "guess"),
        ];
        let request = client.request(http::Method::POST, "/token").form(&form);
        request.send().await.expect("an answer").status().as_u16()
    };

    let mut heard = Vec::new();
    while heard.last() != Some(&429) && heard.len() < 100 {
        heard.push(guess().await);
    }

    assert_eq!(heard.last(), Some(&429), "{heard:?}");
    assert!(heard.len() > 20 && heard[..20].iter().all(|it| *it == 401));
}
