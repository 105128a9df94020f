//! How each client pulls, and how it shows what it got.

use std::{
    fs,
    path::{Path, PathBuf},
};

use metahub_cli::demo::image::Image;
use metahub_tests::{
    admin::Login,
    invocation::{Outcome, run_with_input},
    parts::{Containerd, Containers, Dockerd},
    program::Program,
};
use serde_json::Value;
use tempfile::TempDir;

use super::Form;

/// A way to pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    Docker,
    DockerContainerd,
    Build,
    BuildContainerd,
    Compose,
    Ctr,
    Podman,
    Buildah,
    Skopeo,
    Oras,
    Crane,
    Apptainer,
    Cosign,
}

/// What a host asks for, and what it is to get.
#[derive(Debug)]
pub(super) struct Pull<'a> {
    /// The registry.
    pub(super) host: String,
    /// The image's name there.
    pub(super) image: String,
    pub(super) login: &'a Login,
    pub(super) wanted: &'a Image,
    /// The repository at the upstream.
    pub(super) upstream: String,
}

impl Client {
    pub(super) const ALL: [Self; 13] = [
        Self::Docker,
        Self::DockerContainerd,
        Self::Build,
        Self::BuildContainerd,
        Self::Compose,
        Self::Ctr,
        Self::Podman,
        Self::Buildah,
        Self::Skopeo,
        Self::Oras,
        Self::Crane,
        Self::Apptainer,
        Self::Cosign,
    ];

    /// Its name in the table, its program, and Debian's package of that.
    fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Docker => ("docker, graph drivers", "dockerd", "docker.io"),
            Self::DockerContainerd => ("docker, containerd store", "dockerd", "docker.io"),
            Self::Build => ("docker build (buildx)", "docker", "docker-buildx"),
            Self::BuildContainerd => ("docker build, containerd store", "docker", "docker-buildx"),
            Self::Compose => ("docker compose", "docker", "docker-compose"),
            Self::Ctr => ("containerd (ctr)", "ctr", "containerd"),
            Self::Podman => ("podman", "podman", "podman"),
            Self::Buildah => ("buildah", "buildah", "buildah"),
            Self::Skopeo => ("skopeo", "skopeo", "skopeo"),
            Self::Oras => ("oras", "oras", "oras"),
            Self::Crane => ("crane", "crane", "crane"),
            Self::Apptainer => ("apptainer", "apptainer", "apptainer"),
            Self::Cosign => ("cosign verify", "cosign", "cosign"),
        }
    }

    /// Whether the suite has it.
    pub(super) fn is_in(self, engines: &Path) -> bool {
        engines.join(self.names().1).is_file() && version(engines, self.names().2).is_some()
    }

    /// The start of its row: its name and its version.
    pub(super) fn row(self, engines: &Path) -> String {
        let (name, _, package) = self.names();
        let version = version(engines, package);
        format!("| {name} | {} |", version.unwrap_or_default())
    }

    /// Why it cannot do with a form, in the table's words.
    pub(super) fn is_not_made_for(self, form: Form) -> Option<&'static str> {
        let is_signed = self != Self::Cosign || form == Form::Image;
        (!is_signed).then_some("no: unsigned")
    }

    /// Fails unless the client gets what it is to get.
    pub(super) async fn gets(self, pull: &Pull<'_>) {
        match self {
            Self::Docker => docker(&Dockerd::start().await, pull).await,
            Self::DockerContainerd => {
                docker(&Dockerd::start_with_containerd_store().await, pull).await;
            }
            Self::Build => build(&Dockerd::start().await, pull).await,
            Self::BuildContainerd => {
                build(&Dockerd::start_with_containerd_store().await, pull).await;
            }
            Self::Compose => compose(&Dockerd::start().await, pull).await,
            Self::Ctr => ctr(&Containerd::start().await, pull).await,
            Self::Podman => podman(&Containers::podman(), pull).await,
            Self::Buildah => buildah(&Containers::buildah(), pull).await,
            Self::Skopeo => skopeo(&Containers::skopeo(), pull).await,
            Self::Oras => Tool::new("oras").oras(pull).await,
            Self::Crane => Tool::new("crane").crane(pull).await,
            Self::Apptainer => Tool::new("apptainer").apptainer(pull).await,
            Self::Cosign => Tool::new("cosign").cosign(pull).await,
        }
    }
}

/// A package's version, without Debian's part of it.
fn version(engines: &Path, package: &str) -> Option<String> {
    let versions = fs::read_to_string(engines.join("versions")).ok()?;
    let lines = versions.lines().filter_map(|it| it.split_once(' '));
    let (_, version) = { lines }.find(|(name, _)| *name == package)?;
    let end = version.find(['+', '~', '-']).unwrap_or(version.len());
    Some(version[..end].to_owned())
}

async fn log_in(docker: &Dockerd, pull: &Pull<'_>) {
    let Login { name, secret } = pull.login;
    docker.login(&pull.host, name, secret).await.text();
}

async fn docker(docker: &Dockerd, pull: &Pull<'_>) {
    log_in(docker, pull).await;
    docker.pull(&pull.image).await.text();

    assert_eq!(docker.run(&pull.image).await.text(), pull.wanted.message);
}

async fn build(docker: &Dockerd, pull: &Pull<'_>) {
    log_in(docker, pull).await;
    let context = TempDir::new().expect("a temporary directory");
    let text = format!("FROM {}\nLABEL built=yes\n", pull.image);
    fs::write(context.path().join("Dockerfile"), text).expect("it can be written");
    let place = context.path().to_string_lossy();
    let args = ["buildx", "build", "--load", "--tag=built", &place];
    docker.docker(&args).await.text();

    assert_eq!(docker.run("built").await.text(), pull.wanted.message);
}

async fn compose(docker: &Dockerd, pull: &Pull<'_>) {
    log_in(docker, pull).await;
    let dir = TempDir::new().expect("a temporary directory");
    let file = dir.path().join("compose.yaml");
    let text = format!(
        "services: {{app: {{image: '{}', network_mode: none}}}}\n",
        pull.image
    );
    fs::write(&file, text).expect("it can be written");
    let file = file.to_string_lossy();
    let args = ["compose", "-f", &file, "up", "--abort-on-container-exit"];
    let said = docker.docker(&args).await.text();

    assert!(said.contains(pull.wanted.message.trim()), "{said}");
}

async fn ctr(containerd: &Containerd, pull: &Pull<'_>) {
    let Login { name, secret } = pull.login;
    containerd.pull(&pull.image, name, secret).await.text();

    assert_eq!(containerd.run(&pull.image).await, pull.wanted.message);
}

async fn podman(podman: &Containers, pull: &Pull<'_>) {
    pull_with(podman, pull).await;

    let said = podman.run_image(&pull.image).await.text();
    assert_eq!(said, pull.wanted.message);
}

async fn buildah(buildah: &Containers, pull: &Pull<'_>) {
    pull_with(buildah, pull).await;

    let container = buildah.run(&["from", "--pull-never", &pull.image]).await;
    let container = container.text().trim().to_owned();
    let root = buildah.run(&["mount", &container]).await.text();
    assert_is_root_of(Path::new(root.trim()), pull.wanted);
}

async fn pull_with(engine: &Containers, pull: &Pull<'_>) {
    let Login { name, secret } = pull.login;
    engine.login(&pull.host, name, secret).await.text();
    engine.pull(&pull.image).await.text();
}

async fn skopeo(skopeo: &Containers, pull: &Pull<'_>) {
    let Login { name, secret } = pull.login;
    skopeo.login(&pull.host, name, secret).await.text();
    skopeo.copy(&pull.image, "copy").await.text();

    let copied = fs::read(skopeo.path_of("copy") + "/manifest.json");
    assert_eq!(copied.expect("a manifest"), pull.wanted.manifest.bytes);
}

/// The program of an image prints a text that it holds.
fn assert_is_root_of(root: &Path, wanted: &Image) {
    let files = fs::read_dir(root).expect("an image has a root directory");
    let files = files.flatten().filter_map(|it| fs::read(it.path()).ok());
    let message = wanted.message.as_bytes();
    let has = |file: &Vec<u8>| file.windows(message.len()).any(|it| it == message);
    assert!(
        { files }.any(|file| has(&file)),
        "no program of {}",
        wanted.variant
    );
}

/// A program that runs to its end, and a place for its state.
struct Tool {
    path: PathBuf,
    dir: TempDir,
}

impl Tool {
    fn new(name: &'static str) -> Self {
        let install = "run `tests/run --engines SUITE`";
        Self {
            path: Program { name, install }.path(),
            dir: TempDir::new().expect("a temporary directory"),
        }
    }

    fn place(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Runs it with its state in the place, and more variables.
    async fn run(&self, variables: &[(&str, &str)], args: &[&str], input: &str) -> Outcome {
        let home = self.dir.path().display();
        let variables = variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let mut all: Vec<String> = ["HOME", "DOCKER_CONFIG", "TMPDIR"]
            .map(|name| format!("{name}={home}"))
            .into();
        all.extend(variables);
        all.push(self.path.display().to_string());
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        run_with_input(Path::new("env"), all, input).await
    }

    async fn oras(&self, pull: &Pull<'_>) {
        let Login { name, secret } = pull.login;
        let login = [
            "login",
            "--plain-http",
            "-u",
            name,
            "--password-stdin",
            &pull.host,
        ];
        self.run(&[], &login, secret).await.text();
        let to = self.place("layout") + ":copy";
        let from = [
            "cp",
            "--from-plain-http",
            "--platform=linux/amd64",
            &pull.image,
        ];
        self.run(&[], &[&from[..], &["--to-oci-layout", &to]].concat(), "")
            .await
            .text();

        self.assert_layout_has(pull.wanted);
    }

    async fn crane(&self, pull: &Pull<'_>) {
        let Login { name, secret } = pull.login;
        let login = ["auth", "login", &pull.host, "-u", name, "--password-stdin"];
        self.run(&[], &login, secret).await.text();
        let to = self.place("layout");
        let args = [
            "pull",
            "--insecure",
            "--platform=linux/amd64",
            "--format=oci",
        ];
        self.run(&[], &[&args[..], &[&pull.image, &to]].concat(), "")
            .await
            .text();

        self.assert_layout_has(pull.wanted);
    }

    fn assert_layout_has(&self, wanted: &Image) {
        let index = fs::read(self.place("layout/index.json")).expect("a layout has an index");
        let index: Value = serde_json::from_slice(&index).expect("an index is JSON");
        assert_eq!(index["manifests"][0]["digest"], wanted.manifest.digest);
    }

    async fn apptainer(&self, pull: &Pull<'_>) {
        let Login { name, secret } = pull.login;
        let variables = [
            ("APPTAINER_DOCKER_USERNAME", name.as_str()),
            ("APPTAINER_DOCKER_PASSWORD", secret),
        ];
        let root = self.place("root");
        let image = format!("docker://{}", pull.image);
        let args = ["build", "--no-https", "--sandbox", &root, &image];
        self.run(&variables, &args, "").await.text();

        assert_is_root_of(Path::new(&root), pull.wanted);
    }

    /// Signs the image at the upstream, and verifies it by the tag.
    async fn cosign(&self, pull: &Pull<'_>) {
        let Login { name, secret } = pull.login;
        let key = self.place("signer");
        let passphrase = [("COSIGN_PASSWORD", "")];
        let prefix = format!("--output-key-prefix={key}");
        self.run(&passphrase, &["generate-key-pair", &prefix], "")
            .await
            .text();
        let signed = format!("{}@{}", pull.upstream, pull.wanted.manifest.digest);
        let private = format!("--key={key}.key");
        let sign = [
            "sign",
            "--yes",
            "--tlog-upload=false",
            "--allow-http-registry",
            &private,
        ];
        // Version 3 takes that only with one more flag, which version 2 lacks.
        let flag = ["--use-signing-config=false"];
        let third = [&sign[..], &flag, &[&signed]].concat();
        if !self.run(&passphrase, &third, "").await.status.success() {
            let second = [&sign[..], &[&signed]].concat();
            self.run(&passphrase, &second, "").await.text();
        }
        let login = ["login", &pull.host, "-u", name, "-p", secret];
        self.run(&[], &login, "").await.text();

        let public = format!("--key={key}.pub");
        let verify = [
            "verify",
            "--insecure-ignore-tlog",
            "--allow-http-registry",
            &public,
        ];
        let said = self
            .run(&[], &[&verify[..], &[&pull.image]].concat(), "")
            .await;
        let said = said.text();
        assert!(said.contains(&pull.wanted.manifest.digest), "{said}");
    }
}
