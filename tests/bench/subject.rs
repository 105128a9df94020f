//! The servers that are compared. All of them answer with the same bytes.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use metahub_cli::demo::image::{Form, Image, ImageSet, REPOSITORY};
use metahub_tests::{
    admin::Login,
    client::RegistryClient,
    control::ControlProcess,
    invocation::run,
    parts::DockerRegistry,
    port::free_addr,
    process::Process,
    program::Program,
    site::policy,
    wait::eventually,
    worker::{Ports, WorkerProcess},
};
use tempfile::TempDir;

const NGINX: Program = Program {
    name: "nginx",
    install: "install the Debian package nginx-light",
};
/// The tag of the index at the upstream, and of the image that fits type1.
const INDEX: &str = "latest";
const CHOSEN: &str = "chosen";

/// One server, and what it is asked.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) pid: u32,
    pub(crate) url: String,
    pub(crate) headers: Vec<String>,
}

/// All servers, running until this is dropped.
#[derive(Debug)]
pub(crate) struct Subjects {
    list: Vec<Subject>,
    _running: (
        WorkerProcess,
        ControlProcess,
        [DockerRegistry; 2],
        Option<Nginx>,
    ),
}

impl Subjects {
    /// Starts each, warms its cache, and puts it on the first core.
    pub(crate) async fn start() -> Self {
        let images = ImageSet::bench(Form::Docker).expect("memory takes all");
        let chosen = images
            .images
            .iter()
            .find(|it| it.variant == "cpu:broadwell");
        let chosen = chosen.expect("the image has this variant");
        let registry = DockerRegistry::start().await;
        registry.push_images(REPOSITORY, INDEX, &images).await;
        registry.push_image(REPOSITORY, CHOSEN, chosen).await;
        let mirror = DockerRegistry::start_mirror_of(&registry).await;
        let control = ControlProcess::start().await;
        let mut admin = control.place().admin();
        let (type1, _) = policy(&mut admin, &registry.url()).await;
        let worker = WorkerProcess::start(control.place(), Ports::free(), 0).await;
        admin.all_current(1).await;
        let nginx = NGINX.is_installed().then(|| Nginx::start(chosen));
        let worker_subject = |name| subject(name, worker.pid(), worker.addr(), INDEX);
        let mut list = vec![
            worker_subject("metahub-worker").with_login(&type1),
            worker_subject("metahub-worker, by token")
                .with_token(worker.addr(), &type1)
                .await,
            subject("docker-registry", registry.pid(), registry.addr(), CHOSEN),
            subject(
                "docker-registry, pull-through",
                mirror.pid(),
                mirror.addr(),
                CHOSEN,
            ),
        ];
        if let Some(nginx) = &nginx {
            list.push(subject(
                "nginx, static file",
                nginx.process.pid(),
                nginx.addr,
                CHOSEN,
            ));
        }
        for subject in &list {
            subject.settle(chosen).await;
        }
        Self {
            list,
            _running: (worker, control, [registry, mirror], nginx),
        }
    }

    pub(crate) fn list(&self) -> &[Subject] {
        &self.list
    }
}

fn subject(name: &'static str, pid: u32, addr: SocketAddr, tag: &str) -> Subject {
    Subject {
        name,
        pid,
        url: format!("http://{addr}/v2/{REPOSITORY}/manifests/{tag}"),
        headers: vec![
            "Accept: application/vnd.docker.distribution.manifest.v2+json, \
             application/vnd.docker.distribution.manifest.list.v2+json"
                .into(),
        ],
    }
}

impl Subject {
    fn with_login(mut self, login: &Login) -> Self {
        let basic = STANDARD.encode(format!("{}:{}", login.name, login.secret));
        self.headers.push(format!("Authorization: Basic {basic}"));
        self
    }

    /// The same, with a token that the worker at `addr` gives. It is good for
    /// longer than all turns take.
    async fn with_token(mut self, addr: SocketAddr, login: &Login) -> Self {
        let path = format!("/token?service=metahub&scope=repository:{REPOSITORY}:pull");
        let answer = RegistryClient::new(addr, login).get(&path).await;
        let answer: serde_json::Value = answer.json().await.expect("a token is JSON");
        let token = answer["token"].as_str().expect("a token is text");
        self.headers.push(format!("Authorization: Bearer {token}"));
        self
    }

    /// Waits until it answers with the image that is asked for.
    async fn settle(&self, chosen: &Image) {
        eventually(self.name, async || {
            self.body().await == chosen.manifest.bytes
        })
        .await;
        let pid = self.pid.to_string();
        run(Path::new("taskset"), ["-a", "-c", "-p", "0", &pid])
            .await
            .text();
    }

    async fn body(&self) -> Vec<u8> {
        let mut request = reqwest::Client::new().get(&self.url);
        for header in &self.headers {
            let (name, value) = header.split_once(": ").expect("a header has a name");
            request = request.header(name, value);
        }
        let Ok(answer) = request.send().await else {
            return Vec::new();
        };
        answer.bytes().await.unwrap_or_default().into()
    }
}

/// A plain file server: what an answer costs at the least.
#[derive(Debug)]
struct Nginx {
    process: Process,
    addr: SocketAddr,
    _dir: TempDir,
}

impl Nginx {
    fn start(chosen: &Image) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let addr = free_addr();
        let manifests = dir.path().join(format!("v2/{REPOSITORY}/manifests"));
        let file = |name: &str| -> PathBuf { dir.path().join(name) };
        let root = dir.path().display();
        let config = format!(
            "daemon off; master_process off; pid {root}/pid; error_log {root}/errors;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    open_file_cache max=10;
    server {{ listen {addr}; root {root}; default_type {}; }}
}}
",
            chosen.manifest.media_type
        );
        fs::create_dir_all(&manifests).expect("the directory can be written");
        fs::write(manifests.join(CHOSEN), &chosen.manifest.bytes).expect("the file can be written");
        fs::write(file("nginx.conf"), config).expect("the configuration can be written");
        let config = file("nginx.conf");
        let args = ["-c".as_ref(), config.as_os_str()];
        let process = Process::start("nginx", &NGINX.path(), args, dir.path());
        Self {
            process,
            addr,
            _dir: dir,
        }
    }
}
