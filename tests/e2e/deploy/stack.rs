//! A MetaHub that docker-compose runs, with one upstream and one worker at first.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use metahub_cli::demo::image::{Form, ImageSet, REPOSITORY};
use metahub_tests::{
    invocation::{Outcome, run},
    parts::{DockerRegistry, Dockerd},
    program::Program,
    wait::eventually,
};

use super::images;

const COMPOSE: Program = Program {
    name: "docker-compose",
    install: "install the Debian package docker-compose",
};
/// The machine types, and what their hosts have.
const TYPES: [(&str, &str); 2] = [("type1", "cpu:broadwell"), ("type2", "cpu:skylake")];

/// The upstream, the engine, and what runs on it.
#[derive(Debug)]
pub(super) struct Stack {
    // Ended in this order: containers first, their engine after them.
    project: Project,
    docker: Dockerd,
    upstream: DockerRegistry,
    images: ImageSet,
    secrets: Vec<String>,
}

impl Stack {
    /// Starts traefik, a control plane and a worker. User `qnib` has a type for
    /// each of two kinds of hosts; the upstream has an image with a variant for
    /// each.
    pub(super) async fn up() -> Self {
        Self::up_with(&[]).await
    }

    /// The same, with more settings of the compose file, as `NAME=value`.
    pub(super) async fn up_with(settings: &[&str]) -> Self {
        let docker = Dockerd::start_apart().await;
        let upstream = DockerRegistry::start_at(docker.gateway()).await;
        let images = ImageSet::bench(Form::Docker).expect("memory takes all");
        upstream.push_images(REPOSITORY, "latest", &images).await;
        let mut project = Project::new(&docker);
        let settings = settings.iter().map(|it| (*it).to_owned());
        project.settings.extend(settings);
        images::build_traefik(&docker).await;
        images::build_metahub(&docker, &project.deploy).await;
        project.compose(&["up", "-d"]).await.text();
        let mut stack = Self {
            project,
            docker,
            upstream,
            images,
            secrets: Vec::new(),
        };
        stack.sees_workers(1).await;
        stack.populate().await;
        stack
    }

    async fn populate(&mut self) {
        let url = self.upstream.url();
        let upstream = ["upstream", "create", "upstream.test", "--default", "--url"];
        self.metahubctl(&[&upstream[..], &[&url]].concat()).await;
        self.metahubctl(&["user", "create", "qnib"]).await;
        for (name, feature) in TYPES {
            let create = [
                "-o=json",
                "type",
                "create",
                name,
                "--user=qnib",
                "--feature",
            ];
            let made = self.metahubctl(&[&create[..], &[feature]].concat()).await;
            let made: serde_json::Value = serde_json::from_str(&made).expect("it prints JSON");
            let secret = made["login"]["secret"].as_str();
            let secret = secret.expect("it prints the secret");
            self.secrets.push(secret.to_owned());
        }
    }

    /// What the variant that needs these features says when it is run.
    pub(super) fn message_for(&self, variant: &str) -> &str {
        let image = self.images.images.iter().find(|it| it.variant == variant);
        &image.expect("the image has this variant").message
    }

    /// Logs this engine in as a host of this type.
    pub(super) async fn log_in_as(&self, name: &str) {
        let position = TYPES.iter().position(|(known, _)| *known == name);
        let secret = &self.secrets[position.expect("the stack has this type")];
        let login = format!("qnib-{name}");
        self.docker
            .login(&self.project.registry, &login, secret)
            .await
            .text();
    }

    /// Logs in, pulls, runs, and says what the container said.
    pub(super) async fn run_as(&self, name: &str) -> String {
        self.log_in_as(name).await;
        self.pull().await;
        self.docker.run(&self.image()).await.text()
    }

    /// Pulls again and again, from nothing each time, until `change` is over.
    /// Says how often; fails when one pull fails.
    pub(super) async fn pull_while(&self, change: impl Future<Output = ()>) -> usize {
        let image = self.image();
        let mut change = std::pin::pin!(change);
        let mut over = false;
        let mut pulls = 0;
        while !over {
            let pull = async {
                self.pull().await;
                self.docker.docker(&["image", "rm", &image]).await.text();
            };
            let mut pull = std::pin::pin!(pull);
            tokio::select! {
                () = &mut change, if !over => { over = true; pull.await }
                () = &mut pull => {}
            }
            pulls += 1;
        }
        pulls
    }

    /// Has so many workers run, and waits until the control plane sees them.
    pub(super) async fn scale_workers(&self, count: usize) {
        let scale = format!("worker={count}");
        self.compose(&["up", "-d", "--no-recreate", "--scale", &scale])
            .await;
        self.sees_workers(count).await;
    }

    /// Runs docker-compose with `args` on this project.
    pub(super) async fn compose(&self, args: &[&str]) -> String {
        self.project.compose(args).await.text()
    }

    async fn pull(&self) {
        self.docker.pull(&self.image()).await.text();
    }

    fn image(&self) -> String {
        format!("{}/{}", self.project.registry, REPOSITORY)
    }

    async fn metahubctl(&self, args: &[&str]) -> String {
        self.project.metahubctl(args).await.text()
    }

    async fn sees_workers(&self, count: usize) {
        eventually(&format!("{count} workers are connected"), async || {
            let list = ["-o=json", "worker", "list"];
            let list = self.project.metahubctl(&list).await.stdout;
            let list: Vec<serde_json::Value> = serde_json::from_slice(&list).unwrap_or_default();
            let connected = list.iter().filter(|worker| worker["connected"] == true);
            connected.count() == count
        })
        .await;
    }
}

/// The compose file's services on one engine. Dropped: gone, with their data.
#[derive(Debug)]
struct Project {
    deploy: PathBuf,
    registry: String,
    settings: Vec<String>,
}

impl Project {
    fn new(docker: &Dockerd) -> Self {
        // A port of the daemon's own machine, so to speak: nobody else is there.
        let registry = "127.0.0.1:5000";
        let socket = docker.host().trim_start_matches("unix://");
        let settings = vec![
            format!("DOCKER_HOST={}", docker.host()),
            format!("DOCKER_SOCKET={socket}"),
            format!("METAHUB_PORT={registry}"),
            format!("METAHUB_IMAGE={}", images::METAHUB),
            format!("TRAEFIK_IMAGE={}", images::TRAEFIK),
        ];
        Self {
            deploy: Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy"),
            registry: registry.into(),
            settings,
        }
    }

    fn command(&self, args: &[&str]) -> Vec<String> {
        let file = self.deploy.join("compose.yaml").display().to_string();
        let program = COMPOSE.path().display().to_string();
        let place = [program, "-p".into(), "metahub".into(), "-f".into(), file];
        let args = args.iter().map(|arg| (*arg).to_owned());
        let settings = self.settings.iter().cloned();
        settings.chain(place).chain(args).collect()
    }

    async fn compose(&self, args: &[&str]) -> Outcome {
        run(Path::new("env"), self.command(args)).await
    }

    async fn metahubctl(&self, args: &[&str]) -> Outcome {
        let place = ["exec", "-T", "control", "metahubctl"];
        self.compose(&[&place[..], args].concat()).await
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = Command::new("env")
                .args(self.command(&["logs", "--no-color", "--tail", "40"]))
                .status();
        }
        let _ = Command::new("env")
            .args(self.command(&["down", "-v", "--timeout", "1"]))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}
