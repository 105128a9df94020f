//! A host for doctor: a root directory with a credential and a generated
//! configuration of containerd, a node proxy, and two workers with TLS behind a
//! balancer.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Mutex,
};

use metahub_cli::demo::image::Form;
use metahub_host::credential::HostCredential;
use metahub_tests::{
    admin::Login,
    authority::Authority,
    invocation::{Outcome, run},
    node::{self, NodeProcess},
    port::free_addr,
    program::ours,
    site::Site,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

pub(super) const IMAGE: &str = "qnib/bench";

pub(super) struct Stage {
    pub(super) site: Site,
    pub(super) login: Login,
    /// The machine's features, from `host detect`.
    pub(super) features: Vec<String>,
    credential: Mutex<HostCredential>,
    root: TempDir,
    node: Option<NodeProcess>,
    node_addr: SocketAddr,
    _certificate: TempDir,
}

/// The output of doctor.
pub(super) struct Said {
    pub(super) outcome: Outcome,
}

impl Stage {
    /// Starts a healthy host.
    pub(super) async fn start() -> Self {
        let mut stage = Self::without_node().await;
        let registry = stage.read().registry.to_string();
        let node = NodeProcess::start(&registry, &stage.login).await;
        stage.node_addr = node.addr();
        stage.node = Some(node);
        stage.give_node(&stage.read());
        stage.configure_containerd(stage.node_addr).await;
        stage
    }

    /// Starts a host without a running node proxy.
    pub(super) async fn without_node() -> Self {
        let (authority, certificate) = (
            Authority::new(),
            TempDir::new().expect("a temporary directory"),
        );
        let identity = authority.identity("127.0.0.1");
        let [cert, key] = ["cert.pem", "key.pem"].map(|it| certificate.path().join(it));
        fs::write(&cert, identity.certificate_pem()).expect("it can be done");
        fs::write(&key, identity.key_pem()).expect("it can be done");
        let flags = [
            format!("--tls-cert={}", cert.display()),
            format!("--tls-key={}", key.display()),
            "--tag-ttl=1h".into(),
        ];
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let mut site = Site::start_with(2, Form::Docker, &flags).await;
        let root = host_root();
        let features = features(root.path()).await;
        let texts: Vec<&str> = features.iter().map(String::as_str).collect();
        let login = site.admin.create_type("qnib", "mine", &texts).await;
        site.admin.all_current(2).await;
        let balancer = balancer(site.workers.iter().map(|it| it.addr()).collect()).await;
        let credential = HostCredential {
            machine_type: "qnib/mine".into(),
            registry_ca_pem: Some(authority.pem()),
            ..node::credential(&format!("https://{balancer}"), &login)
        };
        let stage = Self {
            site,
            login,
            features,
            credential: Mutex::new(credential),
            root,
            node: None,
            node_addr: free_addr(),
            _certificate: certificate,
        };
        stage.change(|_| ());
        stage.configure_containerd(stage.node_addr).await;
        stage
    }

    /// A path below the host's root directory.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    pub(super) fn credential_file(&self) -> PathBuf {
        self.path("etc/metahub/host.json")
    }

    fn read(&self) -> HostCredential {
        self.credential.lock().expect("no panic").clone()
    }

    /// Changes the host's credential file.
    pub(super) fn change(&self, change: impl FnOnce(&mut HostCredential)) {
        let mut credential = self.read();
        change(&mut credential);
        credential
            .write(&self.credential_file())
            .expect("it can be done");
    }

    /// Gives the host the login of a new type.
    pub(super) async fn become_type(&mut self, name: &str, features: &[String]) {
        let texts: Vec<&str> = features.iter().map(String::as_str).collect();
        let login = self.site.admin.create_type("qnib", name, &texts).await;
        self.site.admin.all_current(2).await;
        {
            let mut credential = self.credential.lock().expect("no panic");
            credential.machine_type = format!("qnib/{name}");
            credential.login = login.name.clone();
            credential.secret = login.secret.clone().into();
        }
        self.change(|_| ());
        self.give_node(&self.read());
        self.login = login;
    }

    /// Sets the node proxy's login, but not the host's.
    pub(super) fn log_node_in(&self, login: &Login) {
        let mut credential = self.read();
        credential.login = login.name.clone();
        credential.secret = login.secret.clone().into();
        self.give_node(&credential);
    }

    fn give_node(&self, credential: &HostCredential) {
        if let Some(node) = &self.node {
            credential
                .write(&node.credential_file())
                .expect("it can be done");
        }
    }

    /// Writes containerd's files with `client-config`, for the node proxy only.
    pub(super) async fn configure_containerd(&self, node: SocketAddr) {
        let _ = fs::remove_dir_all(self.path("etc/containerd/certs.d"));
        let (node, out) = (node.to_string(), self.path("").display().to_string());
        let args = [
            "client-config",
            "containerd",
            "--enforce",
            "--node-addr",
            &node,
            "--out",
            &out,
        ];
        run(&ours("metahubctl"), args).await.text();
    }

    /// Resolves a tag at one worker, which caches the digest, and returns it.
    pub(super) async fn resolve_at_worker(&self, n: usize, repository: &str) -> String {
        let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true);
        let client = client.no_proxy().build().expect("it can be done");
        let addr = self.site.workers[n].addr();
        let url = format!("https://{addr}/v2/{repository}/manifests/latest");
        let request = client.head(url).header("accept", "*/*");
        let request = request.basic_auth(&self.login.name, Some(&self.login.secret));
        let answer = request.send().await.expect("it answers");
        assert_eq!(answer.status(), 200);
        metahub_tests::client::header(&answer, "docker-content-digest")
    }

    pub(super) async fn doctor(&self, args: &[&str]) -> Said {
        self.doctor_at(self.node_addr, args).await
    }

    /// Runs doctor with the node proxy at this address.
    pub(super) async fn doctor_at(&self, node: SocketAddr, args: &[&str]) -> Said {
        doctor(self.root.path(), node, args).await
    }
}

/// Runs doctor on the host whose root directory is `root`.
pub(super) async fn doctor(root: &Path, node: SocketAddr, args: &[&str]) -> Said {
    let (root, node) = (root.display().to_string(), node.to_string());
    let args = ["doctor", "--root", &root, "--node-addr", &node]
        .into_iter()
        .chain(args.iter().copied());
    Said {
        outcome: run(&ours("metahubctl"), args).await,
    }
}

impl Said {
    pub(super) fn code(&self) -> i32 {
        self.outcome.status.code().expect("it ended by itself")
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.outcome.stdout);
        text.lines().map(str::to_owned).collect()
    }

    pub(super) fn all(&self) -> String {
        self.lines().join("\n") + &self.outcome.stderr
    }

    /// True if a check has a line.
    pub(super) fn has(&self, check: &str) -> bool {
        let lines = self.lines();
        lines
            .iter()
            .any(|it| it[6..].starts_with(&format!("{check}: ")))
    }

    #[track_caller]
    pub(super) fn fails(&self, check: &str, what: &str, next: &str) {
        assert_eq!(self.code(), 1, "{}", self.all());
        self.line("fail", check, what, next);
    }

    #[track_caller]
    pub(super) fn warns(&self, check: &str, what: &str, next: &str) {
        assert_eq!(self.code(), 3, "{}", self.all());
        self.line("warn", check, what, next);
    }

    /// Fails unless a line has this status and check, and both texts, one
    /// before and one after the arrow.
    #[track_caller]
    pub(super) fn line(&self, status: &str, check: &str, what: &str, next: &str) {
        let start = format!("{status:<4}  {check}: ");
        let lines = self.lines();
        let found = lines.iter().any(|line| {
            let parts = line.split_once("  ->  ");
            parts.is_some_and(|(found, step)| {
                found.starts_with(&start) && found.contains(what) && step.contains(next)
            })
        });
        assert!(
            found,
            "no line `{start}…{what}… -> …{next}…`\n{}",
            self.all()
        );
    }
}

/// A root directory with the processors of this machine.
pub(super) fn host_root() -> TempDir {
    let root = TempDir::new().expect("a temporary directory");
    fs::create_dir_all(root.path().join("proc")).expect("it can be done");
    let processors = fs::read("/proc/cpuinfo").expect("it can be done");
    fs::write(root.path().join("proc/cpuinfo"), processors).expect("it can be done");
    root
}

async fn features(root: &Path) -> Vec<String> {
    let root = root.display().to_string();
    let args = ["host", "detect", "--root", &root, "-o", "json"];
    let detected = run(&ours("metahubctl"), args).await.text();
    let detected: serde_json::Value = serde_json::from_str(&detected).expect("JSON");
    serde_json::from_value(detected["features"].clone()).expect("it can be done")
}

/// Forwards each connection to the next of `servers`.
async fn balancer(servers: Vec<SocketAddr>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        for server in servers.iter().cycle() {
            let Ok((mut client, _)) = listener.accept().await else {
                return;
            };
            let server = *server;
            tokio::spawn(async move {
                if let Ok(mut server) = TcpStream::connect(server).await {
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    addr
}

/// A server that answers every request with `head`.
pub(super) async fn web_server(head: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    let answer = format!("{head}\r\nConnection: close\r\n\r\n");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    addr
}
