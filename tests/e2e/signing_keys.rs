//! The keys of client tokens rotate while clients hold tokens.
//!
//! A test does not wait for a day: it moves the beginnings of the keys back in
//! the store, which is what time does to them.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Method;
use metahub_cli::demo::image::Form;
use metahub_tests::{
    client::{RegistryClient, sent},
    control::Control,
    invocation::run,
    program::sqlite3,
    site::Site,
    wait::eventually,
    worker::Worker,
};
use serde_json::Value;

const FLAGS: [&str; 2] = ["--challenge=bearer", "--trusted-proxy=127.0.0.0/8"];
const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;

/// Has so many seconds pass for the keys, while the control plane is away.
async fn pass(mut site: Site, seconds: u64) -> Site {
    let place = site.control.stop().await;
    let change = format!(
        "update record set value = json_set(value, '$.signs_from_unix_secs', \
         json_extract(value, '$.signs_from_unix_secs') - {seconds}) \
         where key like 'signing-key/%'; select changes() > 0"
    );
    let database = place.dir().join("metahub.db");
    let done = run(&sqlite3(), [database.as_os_str(), change.as_ref()]).await;
    assert_eq!(done.text().trim(), "1");
    site.control = Control::start_at(place).await;
    site
}

/// A token for a pull, from the `n`th worker.
async fn token(site: &Site, n: usize) -> String {
    let path = "/token?service=metahub&scope=repository:qnib/bench:pull";
    let answer = site.client(n, &site.type1).get(path).await;
    let body: Value = answer.json().await.expect("JSON");
    body["token"].as_str().expect("a token").to_owned()
}

/// The name of the key that signed it.
fn key(token: &str) -> String {
    let header = token.split('.').next().expect("a header");
    let header = URL_SAFE_NO_PAD.decode(header).expect("base64");
    let header: Value = serde_json::from_slice(&header).expect("JSON");
    header["kid"].as_str().expect("a name").to_owned()
}

/// What each worker answers to a pull with the token.
async fn pulled(site: &Site, token: &str) -> Vec<u16> {
    let mut answers = Vec::new();
    for worker in &site.workers {
        let client = RegistryClient::anonymous(worker.addr());
        let request = client.request(Method::GET, "/v2/qnib/bench/manifests/latest");
        let answer = sent(request.bearer_auth(token)).await;
        answers.push(answer.status().as_u16());
    }
    answers
}

/// Waits until every worker answers so to a pull with the token.
async fn all_answer(site: &Site, status: u16, token: &str) {
    eventually(&format!("all workers answer with {status}"), async || {
        pulled(site, token).await.iter().all(|it| *it == status)
    })
    .await;
}

/// Waits until every worker signs with another key than `former`, all with the
/// same.
async fn all_sign_with_another(site: &Site, former: &str) {
    eventually("all workers sign with another key", async || {
        let mut keys = BTreeSet::new();
        for n in 0..site.workers.len() {
            keys.insert(key(&token(site, n).await));
        }
        keys.len() == 1 && !keys.contains(former)
    })
    .await;
}

#[tokio::test]
async fn keys_rotate_and_no_token_that_can_be_good_is_refused() {
    let mut site = Site::start_with(2, Form::Docker, &FLAGS).await;
    let old = token(&site, 0).await;

    // The next key is made, and pushed a quarter of an hour before its time.
    site = pass(site, DAY).await;
    site.admin.all_current(2).await;
    let last = token(&site, 1).await;
    site = pass(site, 16 * MINUTE).await;
    all_sign_with_another(&site, &key(&old)).await;
    let late = Worker::start_with(site.control.place(), &FLAGS).await;
    site.workers.push(late);
    let new = token(&site, 2).await;
    // The former one is kept for longer than a token of it is good.
    site = pass(site, 13 * MINUTE).await;
    site.admin.all_current(3).await;

    assert_eq!(key(&last), key(&old));
    assert_ne!(key(&new), key(&old));
    for token in [&old, &last, &new] {
        assert_eq!(pulled(&site, token).await, [200, 200, 200]);
    }

    // Its time is over, and what it signed is worthless.
    site = pass(site, 3 * MINUTE).await;
    all_answer(&site, 401, &old).await;
    assert_eq!(pulled(&site, &new).await, [200, 200, 200]);
}
