//! Hosts that join by a token, and the answers to them.

#[cfg(feature = "real-parts")]
mod engines;
#[cfg(feature = "real-parts")]
mod shared_store;

use std::{fs, sync::Arc, time::Duration};

use metahub_cli::demo::{
    image::{Form, ImageSet, REPOSITORY},
    registry::Registry,
};
use metahub_tests::{
    client::RegistryClient,
    control::{Control, ControlProcess},
    ctl::Ctl,
    host::JoiningHosts,
    site::{Site, policy},
    wait::within,
    worker::{Ports, WorkerProcess},
};
use tokio::{sync::Semaphore, task::JoinSet};

/// The number of hosts that join by one token.
const HOSTS: usize = 400;
/// The number of concurrent joins.
const AT_ONCE: usize = 8;
/// The timeout for 400 processes on two cores, beside other tests.
const LONG: Duration = Duration::from_secs(600);

/// The CPU of the `n`th host.
fn cpu(n: usize) -> &'static str {
    ["broadwell", "skylake"][n % 2]
}

fn url(site: &Site) -> String {
    format!("http://{}", site.workers[0].addr())
}

#[tokio::test(flavor = "multi_thread")]
async fn four_hundred_hosts_join_by_one_token_through_restarts_and_each_pulls_its_variant() {
    let upstream = Registry::start().await.expect("loopback has a free port");
    let bench = ImageSet::bench(Form::Docker).expect("memory takes all");
    upstream.put_images(REPOSITORY, "latest", &bench);
    let mut control = ControlProcess::start().await;
    let place = control.place().clone();
    policy(&mut place.admin(), &upstream.url()).await;
    let mut worker = WorkerProcess::start(&place, Ports::free(), 0).await;
    let registry = format!("http://{}", worker.addr());
    let uses = format!("--uses={HOSTS}");
    let hosts = JoiningHosts::by_new_token(&place, &registry, &[&uses]).await;
    let (hosts, turns) = (Arc::new(hosts), Arc::new(Semaphore::new(AT_ONCE)));
    let mut joins = JoinSet::new();
    for n in 0..HOSTS {
        let (hosts, turns) = (hosts.clone(), turns.clone());
        joins.spawn(async move {
            let _turn = turns.acquire_owned().await.expect("it stays open");
            hosts.login(&format!("node{n}"), cpu(n), &[]).await.text();
        });
    }
    let mut joined = 0;
    while let Some(join) = joins.join_next().await {
        join.expect("the host joins");
        joined += 1;
        if joined % 100 == 50 {
            worker.kill();
            control = ControlProcess::start_at(control.kill()).await;
            worker.restart().await;
        }
    }

    let mut admin = place.admin();
    within(LONG, "the worker serves all logins", async || {
        admin.workers().await.iter().any(|it| it.lag_ms == 0)
    })
    .await;
    admin.all_current(1).await;
    let listed = Ctl::at(&place).json(&["host", "list"]).await;
    let logins = Ctl::at(&place).json(&["login", "list"]).await;
    let logins = logins.as_array().expect("a list").iter();
    let of_hosts = logins.filter(|it| it["name"].as_str().is_some_and(|it| it.contains('~')));
    assert_eq!(listed.as_array().map(Vec::len), Some(HOSTS));
    assert_eq!(of_hosts.count(), HOSTS);
    for n in 0..HOSTS {
        let login = hosts.login_of(&format!("node{n}"));
        let client = RegistryClient::new(worker.addr(), &login);
        let wanted = &bench.images[2 - n % 2].manifest.digest;
        let digest = client.digest(REPOSITORY, "latest").await;
        assert_eq!(&digest, wanted, "{}", login.name);
    }
    let one_more = hosts.login("node400", "skylake", &[]).await.complaint();
    assert!(one_more.contains("is used up"), "{one_more}");
}

#[tokio::test]
async fn a_removed_host_is_refused_by_the_workers_and_the_others_are_not() {
    let mut site = Site::start(1).await;
    let place = site.control.place().clone();
    let hosts = JoiningHosts::by_new_token(&place, &url(&site), &["--uses=2"]).await;
    for id in ["node17", "node18"] {
        hosts.login(id, "skylake", &[]).await.text();
    }
    site.admin.all_current(1).await;
    let status = async |id: &str| {
        let client = site.client(0, &hosts.login_of(id));
        client
            .manifest(REPOSITORY, "latest")
            .await
            .status()
            .as_u16()
    };
    assert_eq!([status("node17").await, status("node18").await], [200, 200]);

    let removed = Ctl::at(&place).run(&["host", "remove", "node17"]).await;
    removed.text();

    within(Duration::from_secs(10), "the host is refused", async || {
        status("node17").await == 401
    })
    .await;
    assert_eq!(status("node18").await, 200);
}

#[tokio::test]
async fn a_moved_host_pulls_all_the_time_and_its_new_variant_after_its_report() {
    let mut site = Site::start(1).await;
    let place = site.control.place().clone();
    let hosts = JoiningHosts::by_new_token(&place, &url(&site), &["--types=type2"]).await;
    hosts.login("node17", "skylake", &[]).await.text();
    let ctl = Ctl::at(&place);

    let to = ["host", "move", "node17", "--type=type1", "--wait"];
    ctl.run(&to).await.text();
    let digest = async |site: &Site| {
        let client = site.client(0, &hosts.login_of("node17"));
        client.digest(REPOSITORY, "latest").await
    };
    assert_eq!(digest(&site).await, site.bench.images[1].manifest.digest);
    hosts.report("node17").await.text();
    site.admin.all_current(1).await;

    assert_eq!(hosts.login_of("node17").name, "qnib-type1~node17");
    assert_eq!(digest(&site).await, site.bench.images[2].manifest.digest);
    let logins = ctl.run(&["login", "list"]).await.text();
    assert!(!logins.contains("qnib-type2~node17"), "{logins}");
}

#[tokio::test]
async fn a_host_joins_over_tls_by_the_fingerprint_in_its_token_and_by_no_other() {
    let control = Control::start_with(&["--tls", "--registry-url=https://hub.example"]).await;
    let place = control.place();
    let ca = format!("--ca-file={}", place.ca_file().display());
    let ctl = Ctl::at(place);
    let run = async |args: &[&str]| ctl.run(&[args, &[&ca]].concat()).await.text();
    run(&["user", "create", "qnib"]).await;
    run(&["type", "create", "any", "--user=qnib"]).await;
    let token = run(&["host", "token", "create", "--user=qnib"]).await;
    let (secret, _) = token.trim().split_once('.').expect("it has a fingerprint");

    let strange = format!("{secret}.{}", "0a".repeat(32));
    let strange = JoiningHosts::new(place, "https://hub.example", &strange);
    let refused = strange.login("node17", "skylake", &[]).await.complaint();
    let hosts = JoiningHosts::new(place, "https://hub.example", &token);
    hosts.login("node17", "skylake", &[]).await.text();
    let reported = hosts.report("node17").await.text();

    assert!(refused.contains("was given"), "{refused}");
    assert!(reported.contains("qnib-any~node17"), "{reported}");
    let credential = fs::read_to_string(hosts.credential_file("node17"));
    let credential = credential.expect("the host has a credential");
    assert!(credential.contains(control.fingerprint()), "{credential}");
    assert!(!credential.contains(secret), "{credential}");
}

#[tokio::test]
async fn drift_is_listed_counted_and_measured() {
    let metrics = metahub_tests::port::free_addr();
    let control = Control::start_with(&[&format!("--metrics-addr={metrics}")]).await;
    let place = control.place();
    let mut admin = place.admin();
    admin.create_user("qnib").await;
    admin.create_type("qnib", "gpu", &["nvdrv:550"]).await;
    let hosts = JoiningHosts::by_new_token(place, "http://127.0.0.1:1", &[]).await;
    let newer = ["--feature=nvdrv:550.54.15"];
    hosts.login("node17", "zen3", &newer).await.text();
    let file = hosts.credential_file("node17");
    let credential = fs::read_to_string(&file).expect("the host has a credential");
    let older = credential.replace("nvdrv:550.54.15", "nvdrv:535.104.05");
    fs::write(&file, older).expect("it can be written");

    hosts.report("node17").await.text();

    let listed = Ctl::at(place).run(&["host", "list"]).await.text();
    let scraped = reqwest::get(format!("http://{metrics}/metrics")).await;
    let scraped = scraped.expect("it answers").text().await.expect("a text");
    assert!(
        listed.contains("driver 535.104.05, the type says 550"),
        "{listed}"
    );
    assert!(scraped.contains("metahub_hosts_drifted 1\n"), "{scraped}");
    assert!(scraped.contains("metahub_hosts 1\n"), "{scraped}");
}

#[tokio::test]
async fn guessed_tokens_are_refused_counted_and_told_in_the_log() {
    let control = ControlProcess::start().await;
    let place = control.place();
    let hosts = JoiningHosts::new(place, "http://127.0.0.1:1", "mh_host_guessed");

    let refused = hosts.login("node17", "zen3", &[]).await.complaint();

    assert!(refused.contains("no such host token"), "{refused}");
    let status = Ctl::at(place).json(&["status"]).await;
    assert_eq!(status["refused_calls"], 1);
    assert!(
        control.log().contains("HostService/Join"),
        "{}",
        control.log()
    );
}
