//! The files of `metahubctl client-config` with real engines: the host gets its
//! variant, a refusal is final where it is enforced, and only MetaHub receives
//! the host's secret.

mod certificates;
mod engines;

use std::{fs, net::SocketAddr, path::Path};

use metahub_cli::demo::image::{Form, ImageSet, REPOSITORY};
use metahub_proto::policy::v1::Upstream;
use metahub_tests::{
    admin::Login,
    invocation::{Outcome, run},
    node::NodeProcess,
    parts::{Cluster, HostRoot},
    program::ours,
    tap::Tap,
    tls_front::TlsFront,
};

/// An image without a variant for the test hosts.
const DENIED: &str = "qnib/zen4";

/// The registry in the images' names.
const NAME: &str = "registry.test";

/// The kind of the registry, which engines ask after MetaHub's refusal.
#[derive(Clone, Copy)]
enum Registry {
    /// It serves every image without a login.
    Open,
    /// It requires a login, so an engine sends any secret that it has for it.
    AsksForLogin,
}

/// A cluster, and a registry behind a tap.
struct Hub {
    cluster: Cluster,
    registry: TlsFront,
    /// Records the requests to the registry, in plain text.
    tap: Tap,
    node: NodeProcess,
}

impl Hub {
    async fn start(kind: Registry) -> Self {
        let mut cluster = Cluster::start().await;
        let denied = ImageSet::new(Form::Docker, &[&["cpu:zen4"]]).expect("memory takes all");
        cluster
            .upstream
            .push_images(DENIED, "docker", &denied)
            .await;
        let behind: SocketAddr = match kind {
            Registry::Open => cluster.upstream.addr(),
            Registry::AsksForLogin => cluster.traefik.addr(),
        };
        let tap = Tap::before(behind).await;
        let registry = TlsFront::of_host(NAME, tap.addr()).await;
        for name in [NAME, "docker.io"] {
            let url = cluster.upstream.url();
            let upstream = Upstream {
                name: name.into(),
                url,
                ..Upstream::default()
            };
            cluster.admin.put_upstream(upstream).await;
        }
        cluster.admin.all_current(2).await;
        let metahub = format!("http://{}", cluster.host());
        let node = NodeProcess::start(&metahub, &cluster.type1).await;
        Self {
            cluster,
            registry,
            tap,
            node,
        }
    }

    /// A host that trusts the registry and has the files of `client-config`.
    /// `line` is the engine with its flags.
    async fn host(&self, line: &str) -> HostRoot {
        let root = HostRoot::trusting(&self.registry.ca_pem());
        let root = root.with_host(NAME, self.registry.addr().ip());
        self.configure(&root, line).await.text();
        root
    }

    async fn configure(&self, root: &HostRoot, line: &str) -> Outcome {
        let upstreams = format!("--upstreams={NAME}");
        let line = line.replace("--these", &upstreams);
        let flags = [
            format!("--out={}", root.path().display()),
            format!("--node-addr={}", self.node.addr()),
            format!("--registry=http://{}", self.cluster.host()),
            format!("--credential={}", self.node.credential_file().display()),
        ];
        let words = line.split_whitespace().map(String::from);
        let args = ["client-config".to_owned()].into_iter().chain(words);
        run(&ours("metahubctl"), args.chain(flags)).await
    }

    /// The full name of an image of the registry.
    fn image(&self, repository: &str) -> String {
        format!("{NAME}/{repository}:docker")
    }

    /// The digest of the host's variant.
    fn wanted(&self) -> &str {
        &self.cluster.docker.images[2].manifest.digest
    }

    /// The host's login.
    fn login(&self) -> &Login {
        &self.cluster.type1
    }

    /// Fails if a byte of the host's secret has reached the registry.
    fn assert_secret_stayed(&self, host: &HostRoot) {
        let basic = basic_in(host.path());
        for secret in [Some(self.login().secret.clone()), basic]
            .into_iter()
            .flatten()
        {
            assert!(
                !self.tap.has_seen(&secret),
                "the registry has seen {secret}"
            );
        }
    }
}

/// The host's Basic credential, from the first file of the host that has one.
fn basic_in(root: &Path) -> Option<String> {
    let certs = fs::read_dir(root.join("etc/containerd/certs.d"));
    let hosts = certs.into_iter().flatten().flatten();
    let files = hosts.map(|it| it.path().join("hosts.toml"));
    let auth = root.join("root/.config/containers/auth.json");
    let texts = files
        .chain([auth])
        .filter_map(|it| fs::read_to_string(it).ok());
    let after = |text: String| {
        let (_, rest) = text
            .split_once("Basic ")
            .or_else(|| text.split_once("\"auth\": \""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    texts.filter_map(after).next()
}

#[tokio::test]
async fn a_file_that_somebody_changed_is_not_replaced() {
    let hub = Hub::start(Registry::Open).await;
    let host = hub.host("containerd --these").await;
    let path = host
        .path()
        .join("etc/containerd/certs.d")
        .join(NAME)
        .join("hosts.toml");
    let text = fs::read_to_string(&path).expect("it was written") + "# ours\n";
    fs::write(&path, &text).expect("it can be written");

    let said = hub
        .configure(&host, "containerd --these --enforce")
        .await
        .complaint();

    assert!(said.contains("- # ours"), "{said}");
    assert_eq!(fs::read_to_string(&path).expect("it is there"), text);
}
