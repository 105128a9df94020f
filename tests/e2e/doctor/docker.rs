//! doctor with a real docker daemon: its swarm, and a pull.

use std::{fs, os::unix::fs::symlink, path::Path};

use metahub_tests::{
    invocation::{Outcome, run},
    parts::Dockerd,
    port::free_addr,
    program::ours,
    site::Site,
};

use super::stage::{doctor, host_root};

#[tokio::test]
async fn services_of_a_real_swarm_that_are_pinned_by_digest_are_named() {
    let docker = Dockerd::start().await;
    let root = host_root();
    fs::create_dir_all(root.path().join("run")).unwrap();
    let socket = docker.host().trim_start_matches("unix://");
    symlink(socket, root.path().join("run/docker.sock")).unwrap();
    let said = doctor(root.path(), free_addr(), &[]).await;
    assert!(!said.has("swarm"), "it manages none: {}", said.all());
    let listen = format!("--listen-addr={}", free_addr());
    let init = ["swarm", "init", "--advertise-addr=127.0.0.1", &listen];
    docker.docker(&init).await.text();
    let create = ["service", "create", "--detach", "--no-resolve-image"];
    let pinned = format!("qnib/bench:latest@sha256:{}", "a".repeat(64));
    for (name, image) in [("--name=free", "qnib/bench"), ("--name=pinned", &pinned)] {
        let args = [&create[..], &[name, image]].concat();
        docker.docker(&args).await.text();
    }

    let said = doctor(root.path(), free_addr(), &[]).await;

    said.line("warn", "swarm", "by digest, pinned:", "--no-resolve-image");
}

#[tokio::test]
async fn a_pull_by_the_engine_itself_is_told_with_its_own_words() {
    let docker = Dockerd::start().await;
    let site = Site::start(1).await;
    let root = host_root();
    let pull = async |registry: std::net::SocketAddr| -> Outcome {
        let (host, root) = (
            format!("DOCKER_HOST={}", docker.host()),
            root.path().display(),
        );
        let image = format!("{registry}/qnib/bench");
        let program = ours("metahubctl").display().to_string();
        let args = [&host, &program, "doctor", "--engine", "docker"];
        let root = root.to_string();
        let more = ["--root", &root, "--pull", &image];
        run(Path::new("env"), args.into_iter().chain(more)).await
    };

    let of_upstream = pull(site.upstream.address()).await;
    let of_worker = pull(site.workers[0].addr()).await;

    let text = |outcome: &Outcome| String::from_utf8_lossy(&outcome.stdout).into_owned();
    let (good, bad) = (text(&of_upstream), text(&of_worker));
    assert!(good.contains("ok    pull: `docker pull "), "{good}");
    assert!(bad.contains("fail  pull: `docker pull "), "{bad}");
    assert!(bad.contains("no basic auth credentials"), "{bad}");
}
