//! Real engines at a worker with TLS: login by certificate and by password, and
//! load balancers that forward bytes.

use std::{net::Ipv4Addr, path::Path};

use metahub_cli::demo::image::REPOSITORY;
use metahub_tests::{
    admin::Login,
    client::RegistryClient,
    invocation::run,
    parts::{Balancer, Containerd, Containers, Dockerd, SecuredWorker, StreamProxy},
    wait::eventually,
};
use reqwest::StatusCode;
use tokio_util::sync::CancellationToken;

/// The gateway for tests whose engines use only loopback addresses.
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// The flags of a worker behind a load balancer on 127.0.0.1.
const PROXIED: [&str; 2] = ["--trusted-proxy=127.0.0.1", "--proxy-protocol"];

#[tokio::test]
async fn podman_runs_the_variant_of_the_login_that_its_certificate_names() {
    let secured = SecuredWorker::start(HERE, &[]).await;
    let image = secured.image(&secured.host());

    for login in [&secured.type1, &secured.type2] {
        let podman = Containers::podman();
        let certificates = secured.certificates(&login.name);
        podman.pull_with(&certificates, &image).await.text();

        let wanted = secured.expected(login);
        assert_eq!(podman.digest(&image).await, wanted.manifest.digest);
        assert_eq!(podman.run_image(&image).await.text(), wanted.message);
    }
}

#[tokio::test]
async fn buildah_pulls_the_variant_of_the_login_that_its_certificate_names() {
    let secured = SecuredWorker::start(HERE, &[]).await;
    let image = secured.image(&secured.host());

    for login in [&secured.type1, &secured.type2] {
        let buildah = Containers::buildah();
        let certificates = secured.certificates(&login.name);
        buildah.pull_with(&certificates, &image).await.text();

        let listed = buildah.run(&["images", "--digests"]).await.text();
        let wanted = &secured.expected(login).manifest.digest;
        assert!(listed.contains(wanted.as_str()), "{listed}");
    }
}

#[tokio::test]
async fn ctr_runs_the_variant_of_the_login_that_its_certificate_names() {
    let secured = SecuredWorker::start(HERE, &[]).await;
    let (containerd, image) = (Containerd::start().await, secured.image(&secured.host()));

    for login in [&secured.type1, &secured.type2] {
        let hosts = secured.hosts_dir(&login.name);
        containerd.pull_by(&hosts, &image).await.text();

        let said = containerd.run(&image).await;
        assert_eq!(said, secured.expected(login).message);
    }
}

#[tokio::test]
async fn skopeo_copies_the_variant_of_its_certificate_and_says_why_one_is_refused() {
    let mut secured = SecuredWorker::start(HERE, &[]).await;
    let (skopeo, image) = (Containers::skopeo(), secured.image(&secured.host()));

    for login in [&secured.type1, &secured.type2] {
        let certificates = secured.certificates(&login.name);
        skopeo
            .copy_with(&certificates, &image, &login.name)
            .await
            .text();
        let copied = std::fs::read(skopeo.path_of(&login.name) + "/manifest.json");
        let wanted = &secured.expected(login).manifest.bytes;
        assert_eq!(copied.expect("a copy has a manifest"), *wanted);
    }
    let login = secured.type1.name.clone();
    secured.admin.delete_login(&login).await;
    secured.admin.all_current(1).await;

    for name in [&login, "node17.example.com"] {
        let certificates = secured.certificates(name);
        let said = skopeo.copy_with(&certificates, &image, "refused").await;
        let said = said.complaint();
        assert!(said.contains(&format!("names `{name}`")), "{said}");
    }
}

#[tokio::test]
async fn curl_speaks_http2_and_http1_and_needs_no_certificate() {
    let secured = SecuredWorker::start(HERE, &[]).await;
    let ca = secured.certificates("qnib-type1").join("ca.crt");
    let Login { name, secret } = &secured.type2;
    let url = format!(
        "https://{}/v2/{REPOSITORY}/manifests/docker",
        secured.host()
    );
    let accept = "accept: application/vnd.docker.distribution.manifest.v2+json";

    for (flag, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let (user, ca) = (format!("{name}:{secret}"), ca.display().to_string());
        let args = ["-sS", flag, "--cacert", &ca, "--user", &user, "-H", accept];
        let more = [
            "-o",
            "/dev/null",
            "-w",
            "%{http_version} %{http_code}",
            &url,
        ];
        let all = args.iter().chain(&more);
        let said = run(Path::new("curl"), all).await.text();
        assert_eq!(said, format!("{version} 200"));
    }
}

#[tokio::test]
async fn docker_on_another_machine_trusts_the_authority_in_its_certs_d() {
    let docker = Dockerd::start_apart().await;
    let secured = SecuredWorker::start(docker.gateway(), &PROXIED).await;
    let addr = secured.worker.addr();
    let balancer = StreamProxy::start(Balancer::Haproxy, docker.gateway(), addr).await;
    let host = balancer.addr().to_string();
    let image = secured.image(&host);
    let Login { name, secret } = &secured.type1;

    let strange = docker.login(&host, name, secret).await.complaint();
    assert!(strange.contains("certificate"), "{strange}");

    let certificates = secured.certificates(&secured.type2.name);
    let ca = certificates.join("only-ca");
    std::fs::create_dir(&ca).expect("a directory can be made");
    std::fs::copy(certificates.join("ca.crt"), ca.join("ca.crt")).expect("it can be copied");
    docker.trust(&host, &ca).await;
    docker.login(&host, name, secret).await.text();
    docker.pull(&image).await.text();
    let wanted = secured.expected(&secured.type1);
    assert_eq!(docker.run(&image).await.text(), wanted.message);
}

#[tokio::test]
async fn docker_with_an_image_store_of_its_own_shows_the_certificate_in_its_certs_d() {
    let docker = Dockerd::start_apart().await;
    let secured = SecuredWorker::start(docker.gateway(), &PROXIED).await;
    let addr = secured.worker.addr();
    let balancer = StreamProxy::start(Balancer::Haproxy, docker.gateway(), addr).await;
    let host = balancer.addr().to_string();
    let image = secured.image(&host);

    for login in [&secured.type1, &secured.type2] {
        docker
            .trust(&host, &secured.certificates(&login.name))
            .await;
        docker.pull(&image).await.text();

        let wanted = secured.expected(login);
        assert_eq!(docker.run(&image).await.text(), wanted.message);
    }
}

#[tokio::test]
async fn certificates_are_replaced_under_pulls_and_no_pull_fails() {
    let secured = SecuredWorker::start(HERE, &[]).await;
    let (skopeo, image) = (Containers::skopeo(), secured.image(&secured.host()));
    let certificates = secured.certificates(&secured.type1.name);
    let stop = CancellationToken::new();

    let pulls = async {
        let mut pulled = 0;
        while !stop.is_cancelled() {
            let name = format!("copy-{pulled}");
            let copied = skopeo.copy_with(&certificates, &image, &name).await;
            copied.text();
            pulled += 1;
        }
        pulled
    };
    let rotations = async {
        for n in 1..=3 {
            secured.rotate_certificate();
            eventually("the worker takes it up", async || {
                let log = secured.worker.log();
                log.matches("took up a new certificate").count() >= n
            })
            .await;
        }
        stop.cancel();
    };

    let (pulled, ()) = tokio::join!(pulls, rotations);
    assert!(pulled >= 3, "only {pulled} pulls");
}

#[tokio::test]
async fn a_client_that_guesses_behind_a_balancer_holds_up_no_other() {
    let secured = SecuredWorker::start(HERE, &PROXIED).await;
    let login = &secured.type1;
    let guess = Login {
        secret: "guess".into(),
        ..login.clone()
    };

    let balancers = [Balancer::Haproxy, Balancer::Nginx, Balancer::Traefik];
    for (n, balancer) in (0..).zip(balancers) {
        let proxy = StreamProxy::start(balancer, HERE, secured.worker.addr()).await;
        let from = |last: u8| {
            let ip = Ipv4Addr::new(127, 0, 1, last).into();
            RegistryClient::secured_from(proxy.addr(), &secured.authority, None, Some(ip))
        };
        let (guesser, host) = (from(2 * n + 1), from(2 * n + 2));
        let guessing = guesser.clone().with(&guess);
        eventually("the guesser is held up", async || {
            guessing.get("/v2/").await.status() == StatusCode::TOO_MANY_REQUESTS
        })
        .await;

        let held_up = guesser.with(login).get("/v2/").await.status();
        let let_in = host.with(login).get("/v2/").await.status();
        assert_eq!(held_up, StatusCode::TOO_MANY_REQUESTS, "{balancer:?}");
        assert_eq!(let_in, StatusCode::OK, "{balancer:?}");
    }
    let log = secured.worker.log();
    assert!(!log.contains("refused a connection"), "{log}");
}
