//! A whole MetaHub of real parts: docker-registry, a control plane and workers
//! as processes, traefik before them.

use std::{fs, path::Path};

use http::Method;
use metahub_cli::demo::image::{Form, ImageSet, REPOSITORY};

use crate::{
    admin::{Admin, Login},
    client::RegistryClient,
    control::ControlProcess,
    invocation::run,
    parts::{DockerRegistry, HealthCheck, Traefik},
    program::ours,
    site::policy,
    worker::{Ports, WorkerProcess},
};

/// Workers behind traefik, with `qnib/bench` upstream.
#[derive(Debug)]
pub struct Cluster {
    /// The load balancer.
    pub traefik: Traefik,
    /// The workers.
    pub workers: Vec<WorkerProcess>,
    /// The control plane.
    pub control: ControlProcess,
    /// The upstream.
    pub upstream: DockerRegistry,
    /// What edits the policy.
    pub admin: Admin,
    /// The login of a Broadwell host.
    pub type1: Login,
    /// The login of a Skylake host.
    pub type2: Login,
    /// `qnib/bench:docker`.
    pub docker: ImageSet,
    /// `qnib/bench:oci`.
    pub oci: ImageSet,
}

impl Cluster {
    /// Starts one with two workers.
    pub async fn start() -> Self {
        Self::start_with(2, &[]).await
    }

    /// Starts one with this many workers, which get more flags.
    pub async fn start_with(count: u8, flags: &[&str]) -> Self {
        let upstream = DockerRegistry::start().await;
        let docker = push(&upstream, Form::Docker, "docker").await;
        let oci = push(&upstream, Form::Oci, "oci").await;
        let control = ControlProcess::start().await;
        let mut admin = control.place().admin();
        let (type1, type2) = policy(&mut admin, &upstream.url()).await;
        let ports = Ports::free();
        let mut workers = Vec::new();
        for n in 0..count {
            workers.push(WorkerProcess::start_with(control.place(), ports, n, flags).await);
        }
        admin.all_current(workers.len()).await;
        let traefik = before(&workers, ports).await;
        Self {
            traefik,
            workers,
            control,
            upstream,
            admin,
            type1,
            type2,
            docker,
            oci,
        }
    }

    /// The name by which engines pull `qnib/bench` with this tag.
    pub fn image(&self, tag: &str) -> String {
        format!("{}/{}:{tag}", self.host(), REPOSITORY)
    }

    /// What engines log in at.
    pub fn host(&self) -> String {
        self.traefik.addr().to_string()
    }

    /// The forms of `qnib/bench`: a tag and what the tag means upstream.
    pub fn forms(&self) -> [(&'static str, &ImageSet); 2] {
        [("docker", &self.docker), ("oci", &self.oci)]
    }

    /// Creates a token by which `uses` hosts of `qnib` may join, and writes it
    /// to `file`.
    pub async fn create_host_token(&self, uses: u32, file: &Path) {
        let place = self.control.place();
        let args = [
            "host".to_owned(),
            "token".into(),
            "create".into(),
            "--user=qnib".into(),
            format!("--uses={uses}"),
            format!("--control={}", place.url()),
            format!("--token-file={}", place.admin_token_file().display()),
        ];
        let token = run(&ours("metahubctl"), args).await.text();
        fs::write(file, token).expect("it can be written");
    }

    /// A client of traefik.
    pub fn client(&self, login: &Login) -> RegistryClient {
        RegistryClient::new(self.traefik.addr(), login)
    }

    /// Fails unless each worker has answered a GET or HEAD of a manifest that
    /// came through traefik.
    pub fn assert_all_workers_served(&self) {
        let log = self.traefik.log();
        let manifests: Vec<&str> = log.lines().filter(|l| is_manifest(l)).collect();
        for worker in &self.workers {
            let url = format!("http://{}", worker.addr());
            let served = manifests.iter().any(|line| line.contains(&url));
            assert!(served, "{url} got no request:\n{log}");
        }
    }
}

fn is_manifest(line: &str) -> bool {
    [Method::GET, Method::HEAD]
        .iter()
        .any(|method| line.contains(&format!("\"{method} /v2/{}/manifests/", REPOSITORY)))
}

async fn push(upstream: &DockerRegistry, form: Form, tag: &str) -> ImageSet {
    let set = ImageSet::bench(form).expect("memory takes all");
    upstream.push_images(REPOSITORY, tag, &set).await;
    set
}

async fn before(workers: &[WorkerProcess], ports: Ports) -> Traefik {
    let servers: Vec<_> = workers.iter().map(WorkerProcess::addr).collect();
    let health = HealthCheck {
        port: Some(ports.admin),
        path: "/readyz",
    };
    Traefik::start(&servers, health).await
}
