//! A docker swarm of two hosts that joined by one token, each with
//! `metahub-node` and its own type: the variant that each node of a service
//! runs.

use std::{fs, time::Duration};

use metahub_cli::demo::image::REPOSITORY;
use metahub_tests::{
    parts::{Cluster, Dockerd, Host},
    wait::within,
};
use tempfile::TempDir;

/// The timeout for the tasks of a service to complete.
const PATIENCE: Duration = Duration::from_secs(60);

/// The engines pull images of Docker Hub through the node proxy of their host.
const SETTINGS: &str = r#"{"registry-mirrors": ["http://127.0.0.1:5000"]}"#;

/// The first host is a Broadwell and the manager; the second is a Skylake.
struct Swarm {
    manager: Dockerd,
    worker: Dockerd,
    hosts: [Host; 2],
    cluster: Cluster,
}

impl Swarm {
    async fn start() -> Self {
        let cluster = Cluster::start().await;
        let dir = TempDir::new().expect("a temporary directory");
        let token = dir.path().join("token");
        cluster.create_host_token(2, &token).await;
        let hosts = [
            Host::join(&cluster, &token, "manager", "cpu:broadwell").await,
            Host::join(&cluster, &token, "worker", "cpu:skylake").await,
        ];
        hosts[0].network().join(&hosts[1].network());
        let manager = Dockerd::start_on(&hosts[0], SETTINGS).await;
        let worker = Dockerd::start_on(&hosts[1], SETTINGS).await;
        let addresses = hosts.each_ref().map(|host| host.addr().to_string());
        let place = |n: usize| {
            [
                format!("--advertise-addr={}", addresses[n]),
                format!("--listen-addr={}:2377", addresses[n]),
            ]
        };
        let [advertise, listen] = place(0);
        let init = ["swarm", "init", &advertise, &listen];
        manager.docker(&init).await.text();
        let token = manager.docker(&["swarm", "join-token", "-q", "worker"]);
        let token = token.await.text();
        let [advertise, listen] = place(1);
        let at = format!("{}:2377", addresses[0]);
        let token = format!("--token={}", token.trim());
        let join = ["swarm", "join", &token, &advertise, &listen, &at];
        worker.docker(&join).await.text();
        Self {
            manager,
            worker,
            hosts,
            cluster,
        }
    }

    /// Creates a service with one task on each active node. Returns docker's
    /// messages and the sorted output of the tasks.
    async fn run(&self, name: &str, flags: &[&str], image: &str) -> (String, Vec<String>) {
        let create = ["service", "create", "--detach", "--mode=global"];
        let name_flag = format!("--name={name}");
        let args = ["--restart-condition=none", &name_flag, image];
        let args = [&create, flags, &args].concat();
        let created = self.manager.docker(&args).await;
        created.text();
        (created.stderr, self.prints(name).await)
    }

    /// The sorted output of a service's tasks, after all have completed.
    async fn prints(&self, service: &str) -> Vec<String> {
        let ps = ["service", "ps", "--format={{.CurrentState}}", service];
        let what = format!("all tasks of {service} complete");
        within(PATIENCE, &what, async || {
            let states = self.manager.docker(&ps).await.text();
            !states.is_empty() && states.lines().all(|it| it.starts_with("Complete"))
        })
        .await;
        let count = self.manager.docker(&ps).await.text().lines().count();
        let mut prints = Vec::new();
        within(PATIENCE, "the manager has all logs", async || {
            let logs = ["service", "logs", "--raw", service];
            let logs = self.manager.docker(&logs).await;
            prints = logs.text().lines().map(|it| format!("{it}\n")).collect();
            prints.len() == count
        })
        .await;
        prints.sort();
        prints
    }

    /// Deploys a stack of one such service and returns the output of its tasks.
    async fn deploy(&self, name: &str, flags: &[&str], image: &str) -> Vec<String> {
        let deploy = "{mode: global, restart_policy: {condition: none}}";
        let service = format!("{{image: '{image}', deploy: {deploy}}}");
        let text = format!("{{version: '3.8', services: {{app: {service}}}}}\n");
        let dir = TempDir::new().expect("a temporary directory");
        let file = dir.path().join("stack.yaml");
        fs::write(&file, text).expect("it can be written");
        let file = format!("--compose-file={}", file.display());
        let args = [&["stack", "deploy"], flags, &[&file, name]].concat();
        self.manager.docker(&args).await.text();
        self.prints(&format!("{name}_app")).await
    }

    fn broadwell(&self) -> String {
        self.cluster.oci.images[2].message.clone()
    }

    fn skylake(&self) -> String {
        self.cluster.oci.images[1].message.clone()
    }

    /// The image's name at the node proxy's address, and its name at Docker
    /// Hub.
    fn names() -> [String; 2] {
        [
            format!("{}/{REPOSITORY}:oci", Host::NODE),
            format!("{REPOSITORY}:docker"),
        ]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_node_runs_its_own_variant_where_the_tag_is_left_to_the_nodes() {
    let swarm = Swarm::start().await;
    let own = [swarm.broadwell(), swarm.skylake()];

    for (n, image) in Swarm::names().iter().enumerate() {
        let flags = ["--no-resolve-image"];
        let (_, prints) = swarm.run(&format!("plain{n}"), &flags, image).await;
        assert_eq!(prints, own, "{image}");

        // The login of the service's creator changes nothing, either.
        let login = &swarm.cluster.type1;
        let manager = &swarm.manager;
        let logged_in = manager.login(Host::NODE, &login.name, &login.secret).await;
        logged_in.text();
        let flags = ["--no-resolve-image", "--with-registry-auth"];
        let (_, prints) = swarm.run(&format!("auth{n}"), &flags, image).await;
        assert_eq!(prints, own, "{image}");

        let flags = ["--resolve-image=never"];
        let prints = swarm.deploy(&format!("stack{n}"), &flags, image).await;
        assert_eq!(prints, own, "{image}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_that_the_manager_resolves_is_the_managers_variant_on_all_nodes() {
    let swarm = Swarm::start().await;

    for (n, image) in Swarm::names().iter().enumerate() {
        let managers = [swarm.broadwell(), swarm.broadwell()];
        for (name, flags) in [("plain", &[][..]), ("auth", &["--with-registry-auth"])] {
            let (_, prints) = swarm.run(&format!("{name}{n}"), flags, image).await;
            assert_eq!(prints, managers, "{image} {flags:?}");
        }
        let prints = swarm.deploy(&format!("stack{n}"), &[], image).await;
        assert_eq!(prints, managers, "{image}");
    }
    let held = swarm.worker.docker(&["images", "--digests"]).await.text();
    let digest = &swarm.cluster.oci.images[2].manifest.digest;
    assert!(held.contains(digest.as_str()), "{held}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_without_a_node_proxy_leaves_the_tag_to_the_nodes() {
    let mut swarm = Swarm::start().await;
    swarm.hosts[0].stop_node();
    let ls = ["node", "ls", "--quiet", "--filter=role=manager"];
    let id = swarm.manager.docker(&ls).await.text();
    let drain = ["node", "update", "--availability=drain", id.trim()];
    swarm.manager.docker(&drain).await.text();

    let [image, _] = Swarm::names();
    let (said, prints) = swarm.run("drained", &[], &image).await;

    assert!(said.contains("could not be accessed"), "{said}");
    assert_eq!(prints, [swarm.skylake()]);
}
