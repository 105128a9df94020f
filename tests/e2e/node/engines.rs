//! Real engines that pull Docker Hub's names through the node proxy and two
//! workers. No engine has a login, and each test counts connections to Docker
//! Hub.

use std::cell::Cell;

use metahub_cli::demo::image::{Form, Image, ImageSet, REPOSITORY};
use metahub_proto::policy::v1::Upstream;
use metahub_tests::{
    admin::Login,
    node::NodeProcess,
    parts::{Cluster, Containerd, Containers, DockerHub, Dockerd},
    port::free_addr,
    tap::Tap,
};

/// Docker Hub's names of an image with a variant for each type, and of one with
/// none.
const BENCH: &str = "docker.io/qnib/bench:docker";
const ZEN4: &str = "docker.io/qnib/zen4:latest";

/// A cluster with Docker Hub as its upstream, and a host of it.
struct Host {
    cluster: Cluster,
    node: NodeProcess,
    /// The node proxy's port for Docker Hub only.
    hub_port: u16,
    /// Docker Hub, as the host resolves it.
    hub: DockerHub,
}

impl Host {
    async fn start() -> Self {
        let mut cluster = Cluster::start().await;
        let zen4 = ImageSet::new(Form::Docker, &[&["cpu:zen4"]]).expect("memory takes all");
        cluster
            .upstream
            .push_images("qnib/zen4", "latest", &zen4)
            .await;
        let docker_io = Upstream {
            name: "docker.io".into(),
            url: cluster.upstream.url(),
            ..Default::default()
        };
        cluster.admin.put_upstream(docker_io).await;
        cluster.admin.all_current(2).await;
        let hub_port = free_addr().port();
        let flag = format!("--upstream={hub_port}=docker.io");
        let registry = format!("http://{}", cluster.host());
        let node = NodeProcess::start_with(&registry, &cluster.type1, &[&flag]).await;
        Self {
            cluster,
            node,
            hub_port,
            hub: DockerHub::start().await,
        }
    }

    /// Logs the node proxy in with this type's login.
    fn become_type(&self, login: &Login) {
        let registry = format!("http://{}", self.cluster.host());
        self.node.log_in(&registry, login);
    }

    /// Each type's login, with the expected image.
    fn types(&self) -> [(&Login, &Image); 2] {
        let images = &self.cluster.docker.images;
        [
            (&self.cluster.type1, &images[2]),
            (&self.cluster.type2, &images[1]),
        ]
    }

    fn url(&self) -> String {
        format!("http://{}", self.node.addr())
    }

    /// The node proxy's URL as a mirror of Docker Hub only.
    fn hub_mirror(&self) -> String {
        format!("http://127.0.0.1:{}", self.hub_port)
    }

    /// The location of Docker Hub's names in registries.conf.
    fn location(&self) -> String {
        format!("{}/docker.io", self.node.addr())
    }

    fn podman(&self) -> Containers {
        Containers::podman().with_location(&self.location(), &self.hub)
    }

    /// Fails unless a refusal names the type and the image's requirements, and
    /// no engine has connected to Docker Hub.
    fn assert_denied(&self, said: &str) {
        for part in ["denied", "cpu:zen4"] {
            assert!(said.contains(part), "no {part} in: {said}");
        }
        self.assert_not_passed_by();
    }

    fn assert_not_passed_by(&self) {
        assert_eq!(self.hub.connections(), 0, "the engine went to Docker Hub");
    }
}

#[tokio::test]
async fn docker_with_the_node_as_its_mirror_runs_the_variant_of_its_type() {
    let host = Host::start().await;
    let docker = Dockerd::start_with_mirror(&host.hub_mirror(), &host.hub).await;

    for (login, wanted) in host.types() {
        host.become_type(login);
        docker.pull(BENCH).await.text();
        assert_eq!(docker.run(BENCH).await.text(), wanted.message);
    }
    host.assert_not_passed_by();
    host.cluster.assert_all_workers_served();
}

#[tokio::test]
async fn docker_keeps_to_a_refusal_of_names_at_the_node_but_not_of_its_mirror() {
    let host = Host::start().await;
    let docker = Dockerd::start_with_mirror(&host.hub_mirror(), &host.hub).await;
    let at_node = |name: &str| format!("{}/{name}", host.node.addr());

    let denied = docker.pull(&at_node(ZEN4)).await.complaint();
    host.assert_denied(&denied);
    let bench = at_node(BENCH);
    docker.pull(&bench).await.text();
    let wanted = &host.types()[0].1.message;
    assert_eq!(&docker.run(&bench).await.text(), wanted);
    host.assert_not_passed_by();

    docker.pull(ZEN4).await.complaint();
    assert_ne!(host.hub.connections(), 0, "docker keeps to it after all");
}

#[tokio::test]
async fn docker_sends_docker_hubs_password_to_a_mirror_that_asks_but_not_by_way_of_the_node() {
    let host = Host::start().await;
    let tap = Tap::before(host.cluster.traefik.addr()).await;
    let registry = format!("http://{}", tap.addr());
    // `hub-user:password-of-hub` in base64.
    let password = "aHViLXVzZXI6cGFzc3dvcmQtb2YtaHVi";
    let pull = async |mirror: &str, name: &str| {
        let docker = Dockerd::start_with_mirror(mirror, &host.hub).await;
        docker.keep_hub_login("hub-user", "password-of-hub");
        docker.pull(name).await
    };

    host.node.log_in(&registry, &host.cluster.type1);
    pull(&host.hub_mirror(), BENCH).await.text();
    pull(&host.hub_mirror(), ZEN4).await.complaint();
    host.node.log_in(&registry, &host.cluster.type2);
    assert!(tap.passed() > 0);
    assert!(!tap.has_seen(password), "the password has left the host");

    pull(&registry, BENCH).await.complaint();
    assert!(tap.has_seen(password), "docker has stopped sending it");
}

#[tokio::test]
async fn containerd_runs_the_variant_of_its_type_and_is_denied_the_others() {
    let host = Host::start().await;

    for (login, wanted) in host.types() {
        host.become_type(login);
        let containerd = Containerd::start().await;
        let pulled = containerd.pull_from(&host.url(), BENCH, &host.hub).await;
        pulled.text();
        assert_eq!(containerd.run(BENCH).await, wanted.message);

        let denied = containerd.pull_from(&host.url(), ZEN4, &host.hub).await;
        // ctr 1.6 does not print the registry's message.
        let said = denied.complaint();
        assert!(said.contains("403 Forbidden"), "{said}");
    }
    host.assert_not_passed_by();
    host.cluster.assert_all_workers_served();
}

#[tokio::test]
async fn podman_runs_the_variant_of_its_type_and_is_denied_the_others() {
    let host = Host::start().await;

    for (login, wanted) in host.types() {
        host.become_type(login);
        let podman = host.podman();
        podman.pull(BENCH).await.text();
        let ran = podman.run_image(BENCH).await;
        assert_eq!(ran.text(), wanted.message);

        host.assert_denied(&podman.pull(ZEN4).await.complaint());
    }
}

#[tokio::test]
async fn buildah_pulls_the_variant_of_its_type_and_is_denied_the_others() {
    let host = Host::start().await;

    for (login, wanted) in host.types() {
        host.become_type(login);
        let buildah = Containers::buildah().with_location(&host.location(), &host.hub);
        buildah.pull(BENCH).await.text();
        let listed = buildah.run(&["images", "--digests"]).await.text();
        assert!(listed.contains(&wanted.manifest.digest), "{listed}");

        host.assert_denied(&buildah.pull(ZEN4).await.complaint());
    }
}

#[tokio::test]
async fn skopeo_copies_the_variant_of_its_type_and_is_denied_the_others() {
    let host = Host::start().await;
    let skopeo = Containers::skopeo().with_location(&host.location(), &host.hub);

    for (login, wanted) in host.types() {
        host.become_type(login);
        skopeo.copy(BENCH, &login.name).await.text();
        let manifest = skopeo.path_of(&login.name) + "/manifest.json";
        assert_eq!(std::fs::read(manifest).unwrap(), wanted.manifest.bytes);

        host.assert_denied(&skopeo.copy(ZEN4, "denied").await.complaint());
    }
}

#[tokio::test]
async fn no_pull_fails_while_each_worker_is_restarted() {
    let mut host = Host::start().await;
    let docker = Dockerd::start_with_mirror(&host.hub_mirror(), &host.hub).await;
    let containerd = Containerd::start().await;
    let (podman, url) = (host.podman(), host.url());
    let skopeo = Containers::skopeo().with_location(&host.location(), &host.hub);
    let Host { cluster, hub, .. } = &mut host;
    let (workers, traefik) = (&mut cluster.workers, &cluster.traefik);
    let is_over = Cell::new(false);
    let restarts = async {
        for worker in workers {
            worker.restart().await;
            traefik.sees(worker.addr(), "UP").await;
        }
        is_over.set(true);
    };
    let pulls = async {
        let mut rounds = 0;
        while !is_over.get() {
            docker.pull(BENCH).await.text();
            containerd.pull_from(&url, BENCH, hub).await.text();
            podman.pull(BENCH).await.text();
            skopeo.copy(BENCH, &format!("copy{rounds}")).await.text();
            docker.docker(&["rmi", BENCH]).await.text();
            containerd.ctr(&["images", "rm", BENCH]).await.text();
            podman.run(&["rmi", BENCH]).await.text();
            rounds += 1;
        }
        rounds
    };

    let ((), rounds) = tokio::join!(restarts, pulls);

    assert!(rounds > 2, "only {rounds} rounds: too few to say anything");
    assert_eq!(hub.connections(), 0, "an engine went to Docker Hub");
}

#[tokio::test]
async fn a_refused_login_of_the_host_is_said_by_engines_in_the_nodes_words() {
    let host = Host::start().await;
    host.become_type(&super::nobody());
    let docker = Dockerd::start_with_mirror(&host.hub_mirror(), &host.hub).await;
    let skopeo = Containers::skopeo().with_location(&host.location(), &host.hub);
    let image = format!("{}/{REPOSITORY}:docker", host.node.addr());

    for said in [
        docker.pull(&image).await.complaint(),
        host.podman().pull(BENCH).await.complaint(),
        skopeo.copy(BENCH, "copy").await.complaint(),
    ] {
        assert!(said.contains("metahubctl host login"), "{said}");
    }
    host.assert_not_passed_by();
}
