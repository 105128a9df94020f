//! A docker daemon of the test's own, and the docker program that talks to it.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tempfile::TempDir;

use crate::{
    invocation::{Outcome, run, run_with_input},
    parts::{DockerHub, Host, answers, network::Network, own_namespaces},
    process::Process,
    program::{Program, with_helper},
};

const DAEMON: Program = Program {
    name: "dockerd",
    install: "install the Debian package docker.io",
};
const CLIENT: Program = Program {
    name: "docker",
    install: "install the Debian package docker.io (or docker-cli)",
};
/// A script that mounts a private `/etc/docker` for the daemon. It copies the
/// files of the directory `$2` as certificates for the registry `$1`.
const TRUST: &str = r#"set -e
mkdir -p /etc/docker
mount -t tmpfs tmpfs /etc/docker
mkdir -p "/etc/docker/certs.d/$1"
find "$2" -maxdepth 1 -type f -exec cp {} "/etc/docker/certs.d/$1/" \;"#;

/// A daemon with its own state, sockets and network.
///
/// It trusts registries on 127.0.0.0/8 without TLS, as docker does everywhere.
#[derive(Debug)]
pub struct Dockerd {
    process: Process,
    network: Arc<Network>,
    client: PathBuf,
    socket: String,
    dir: TempDir,
}

impl Dockerd {
    /// Starts one in this machine's network, and waits until it answers.
    pub async fn start() -> Self {
        Self::start_in(Network::shared().into(), "{}", None).await
    }

    /// Starts dockerd for a host whose Docker Hub is `hub`, with the registry
    /// at `mirror`, for example `http://127.0.0.1:5000`, as its mirror.
    pub async fn start_with_mirror(mirror: &str, hub: &DockerHub) -> Self {
        let config = serde_json::json!({"registry-mirrors": [mirror]});
        Self::start_with_settings(&config.to_string(), hub).await
    }

    /// Starts dockerd with these settings, the content of a `daemon.json`.
    pub async fn start_with_settings(settings: &str, hub: &DockerHub) -> Self {
        Self::start_in(Network::shared().into(), settings, Some(hub)).await
    }

    /// The same, with the image store of containerd in the place of its own.
    /// Fails with engines before docker 23, which have none.
    pub async fn start_with_containerd_store() -> Self {
        let config = r#"{"features": {"containerd-snapshotter": true}}"#;
        let docker = Self::start_in(Network::shared().into(), config, None).await;
        let format = "--format={{json .DriverStatus}}";
        let store = docker.docker(&["info", format]).await.text();
        assert!(store.contains("io.containerd.snapshotter"), "{store}");
        docker
    }

    /// Starts one in a network of its own, as on another machine. It finds
    /// this machine at [`Self::gateway`].
    pub async fn start_apart() -> Self {
        Self::start_in(Network::apart().into(), "{}", None).await
    }

    /// Starts dockerd on `host`, with these settings as JSON.
    pub async fn start_on(host: &Host, config: &str) -> Self {
        Self::start_in(host.network(), config, None).await
    }

    async fn start_in(network: Arc<Network>, config: &str, hub: Option<&DockerHub>) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        fs::write(dir.path().join("daemon.json"), config).expect("it can be written");
        let socket = format!("unix://{}/docker.sock", dir.path().display());
        let args = daemon_args(&dir, &network, &socket);
        let (program, args) = match hub {
            Some(hub) => hub.enter(DAEMON.path(), args),
            None => (DAEMON.path(), args),
        };
        let (program, args) = own_namespaces(&program, args);
        let (program, args) = network.enter(program, args);
        let mut process = Process::start("dockerd", &program, args, dir.path());
        let client = CLIENT.path();
        answers(&mut process, async || {
            run(&client, ["-H", &socket, "version"])
                .await
                .status
                .success()
        })
        .await;
        Self {
            process,
            network,
            client,
            socket,
            dir,
        }
    }

    /// Copies the files in `dir` to the daemon's directory of certificates for
    /// `registry`. Only this daemon sees them.
    pub async fn trust(&self, registry: &str, dir: &Path) {
        let (pid, dir) = (self.process.pid().to_string(), dir.display().to_string());
        let args = [
            "--target", &pid, "--mount", "sh", "-c", TRUST, "sh", registry, &dir,
        ];
        run(Path::new("nsenter"), args).await.text();
    }

    /// Runs docker with `args`, as a host with logins of its own.
    pub async fn docker(&self, args: &[&str]) -> Outcome {
        run(&self.client, self.with_place(args)).await
    }

    /// Logs in at `registry`. The login stays until the next one.
    pub async fn login(&self, registry: &str, login: &str, secret: &str) -> Outcome {
        let args = ["login", registry, "-u", login, "--password-stdin"];
        run_with_input(&self.client, self.with_place(&args), secret).await
    }

    /// Stores a login for Docker Hub in the client's settings, as `docker
    /// login` does after Docker Hub has accepted it.
    pub fn keep_hub_login(&self, name: &str, secret: &str) {
        let auth = STANDARD.encode(format!("{name}:{secret}"));
        let config = serde_json::json!({
            "auths": {"https://index.docker.io/v1/": {"auth": auth}}
        });
        let dir = self.dir.path().join("client");
        fs::create_dir_all(&dir).expect("it can be made");
        fs::write(dir.join("config.json"), config.to_string()).expect("it can be written");
    }

    /// Configures MetaHub's credential helper for `registry`, with the host's
    /// credential in the file `credential`.
    pub fn use_helper(&mut self, registry: &str, credential: &Path) {
        let config = serde_json::json!({"credHelpers": {registry: "metahub"}});
        let client = self.dir.path().join("client");
        fs::create_dir_all(&client).expect("the directory can be made");
        let path = client.join("config.json");
        fs::write(path, config.to_string()).expect("it can be written");
        self.client = with_helper(&self.client, credential, self.dir.path());
    }

    /// Pulls an image.
    pub async fn pull(&self, image: &str) -> Outcome {
        self.docker(&["pull", image]).await
    }

    /// Runs an image that is here.
    pub async fn run(&self, image: &str) -> Outcome {
        let args = ["run", "--rm", "--pull=never", "--network=none", image];
        self.docker(&args).await
    }

    /// The digest that an image was pulled by.
    pub async fn repo_digests(&self, image: &str) -> Vec<String> {
        let args = ["inspect", "--format={{json .RepoDigests}}", image];
        let text = self.docker(&args).await.text();
        serde_json::from_str(&text).expect("docker prints a list of names")
    }

    /// Where its API is, as `DOCKER_HOST` says it.
    pub fn host(&self) -> &str {
        &self.socket
    }

    /// Where its containers find what listens on this machine.
    pub fn gateway(&self) -> Ipv4Addr {
        self.network.addr()
    }

    fn with_place(&self, args: &[&str]) -> Vec<String> {
        let config = self.dir.path().join("client");
        let place = ["-H", &self.socket, "--config", &config.to_string_lossy()].map(String::from);
        place
            .into_iter()
            .chain(args.iter().map(|a| (*a).into()))
            .collect()
    }
}

fn daemon_args(dir: &TempDir, network: &Network, socket: &str) -> Vec<String> {
    let path = |name: &str| dir.path().join(name).display().to_string();
    let mut args = vec![
        format!("--data-root={}", path("data")),
        format!("--exec-root={}", path("exec")),
        format!("--pidfile={}", path("dockerd.pid")),
        format!("--config-file={}", path("daemon.json")),
        format!("--host={socket}"),
    ];
    args.extend(network.daemon_flags());
    args
}
