//! A containerd of the test's own, and `ctr`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use tempfile::TempDir;

use crate::{
    cri::ImageService,
    invocation::{Outcome, run},
    parts::{DockerHub, Host, HostRoot, answers, own_namespaces},
    process::Process,
    program::Program,
};

const DAEMON: Program = Program {
    name: "containerd",
    install: "install the Debian package containerd",
};
const CLIENT: Program = Program {
    name: "ctr",
    install: "install the Debian package containerd",
};

/// A daemon with its own state and socket.
#[derive(Debug)]
pub struct Containerd {
    _process: Process,
    client: PathBuf,
    socket: String,
    dir: TempDir,
}

impl Containerd {
    /// Starts one, and waits until it answers.
    pub async fn start() -> Self {
        let more = "disabled_plugins = ['io.containerd.grpc.v1.cri']\n";
        Self::start_in(TempDir::new().expect("a temporary directory"), None, more).await
    }

    /// Starts containerd with a kubelet's settings, on `host` or in this
    /// machine's network. Waits until it answers. `hosts_toml` is the content
    /// of `hosts.toml` for Docker Hub.
    pub async fn start_for_kubelet(host: Option<&Host>, hosts_toml: &str) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let certs = dir.path().join("certs.d");
        let hub = certs.join("docker.io");
        fs::create_dir_all(&hub).expect("a directory can be made");
        fs::write(hub.join("hosts.toml"), hosts_toml).expect("it can be written");
        let cri = "plugins.'io.containerd.grpc.v1.cri'";
        let more = format!(
            "[{cri}]\nstream_server_port = '0'\n[{cri}.registry]\nconfig_path = '{}'\n",
            certs.display()
        );
        Self::start_in(dir, host, &more).await
    }

    async fn start_in(dir: TempDir, host: Option<&Host>, more: &str) -> Self {
        let path = |name: &str| dir.path().join(name).display().to_string();
        let socket = path("containerd.sock");
        let config = format!(
            "version = 2\nroot = '{}'\nstate = '{}'\n{more}[grpc]\naddress = '{socket}'\n",
            path("root"),
            path("state"),
        );
        fs::write(path("config.toml"), config).expect("the configuration can be written");
        let args = vec!["--config".to_owned(), path("config.toml")];
        let (program, args) = own_namespaces(&DAEMON.path(), args);
        let (program, args) = match host {
            Some(host) => host.network().enter(program, args),
            None => (program, args),
        };
        let mut process = Process::start("containerd", &program, args, dir.path());
        let client = CLIENT.path();
        answers(&mut process, async || {
            run(&client, ["-a", &socket, "version"])
                .await
                .status
                .success()
        })
        .await;
        Self {
            _process: process,
            client,
            socket,
            dir,
        }
    }

    /// Runs ctr with `args`.
    pub async fn ctr(&self, args: &[&str]) -> Outcome {
        let place = ["-a", &self.socket];
        run(&self.client, place.iter().chain(args)).await
    }

    /// Runs ctr with the files of `host`.
    pub async fn ctr_on(&self, host: &HostRoot, args: &[&str]) -> Outcome {
        let place = ["-a", &self.socket];
        let args: Vec<String> = place.iter().chain(args).map(|it| (*it).into()).collect();
        host.run(&self.client, &args).await
    }

    /// Pulls `image` over plain HTTP with a login.
    pub async fn pull(&self, image: &str, login: &str, secret: &str) -> Outcome {
        let user = format!("{login}:{secret}");
        let args = ["images", "pull", "--plain-http", "--user", &user, image];
        self.ctr(&args).await
    }

    /// Connects to containerd's CRI service, as the kubelet does. Its pulls are
    /// in the namespace `k8s.io`.
    pub async fn cri(&self) -> ImageService {
        let service = ImageService::connect(&self.socket).await;
        service.expect("the socket is there")
    }

    /// Pulls `image` only from the registry at `mirror`, for example
    /// `http://127.0.0.1:5000`, on a host whose Docker Hub is `hub`.
    pub async fn pull_from(&self, mirror: &str, image: &str, hub: &DockerHub) -> Outcome {
        let hosts = self.dir.path().join("certs.d");
        fs::create_dir_all(hosts.join("docker.io")).expect("it can be made");
        let text = format!(
            "server = \"{mirror}\"\n[host.\"{mirror}\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
        );
        fs::write(hosts.join("docker.io/hosts.toml"), text).expect("it can be written");
        let hosts = hosts.display().to_string();
        let args = [
            "-a",
            &self.socket,
            "images",
            "pull",
            "--hosts-dir",
            &hosts,
            image,
        ];
        let args = args.map(String::from).to_vec();
        let (program, args) = hub.enter(self.client.clone(), args);
        run(&program, args).await
    }

    /// Pulls `image` by the `hosts.toml` files in a directory.
    pub async fn pull_by(&self, hosts_dir: &Path, image: &str) -> Outcome {
        let hosts_dir = hosts_dir.display().to_string();
        self.ctr(&["images", "pull", "--hosts-dir", &hosts_dir, image])
            .await
    }

    /// Runs an image that is here, and says what it prints.
    ///
    /// By way of a file: ctr itself now and then loses all output of a program
    /// that ends at once.
    pub async fn run(&self, image: &str) -> String {
        self.run_in("default", image).await
    }

    /// Runs an image in a namespace.
    pub async fn run_in(&self, namespace: &str, image: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = format!("c{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let file = self.dir.path().join(&id);
        let log = format!("--log-uri=file://{}", file.display());
        let args = ["--namespace", namespace, "run", "--rm", &log, image, &id];
        self.ctr(&args).await.text();
        fs::read_to_string(file).expect("containerd writes what it prints")
    }
}
