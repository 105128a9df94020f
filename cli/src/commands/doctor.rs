//! `metahubctl doctor`: checks this host's pulls, one line per check, each with
//! the next step.
//!
//! The command changes nothing, needs no admin token, and prints no secret. A
//! check that depends on a failed one has no line.

mod credential;
mod engine_pull;
mod engines;
mod features;
mod files;
mod finding;
mod image;
mod node;
mod reach;
mod registry;
mod swarm;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context as _;
use metahub_host::credential::{DEFAULT_PATH, HostCredential};
use tokio::{task::spawn_blocking, time::timeout};
use url::Url;

use self::{
    engines::{Addresses, Engine, Way},
    files::Root,
    finding::{Finding, Report, Status},
    registry::{PolicyAge, Registry},
};
use crate::{config::Settings, explain::name::ImageName, failure::Failure, output::Output, pull};

/// The time limit for all network checks, except a pull by the engine.
const LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Check the configuration of this engine [default: all that are configured
    /// for MetaHub].
    #[arg(long, value_enum)]
    engine: Option<Engine>,

    /// Resolve this image as this host. A name with a digest: print the
    /// digest's meaning for this host.
    #[arg(long, value_name = "REF")]
    image: Option<ImageName>,

    /// Pull this image with the engine itself.
    #[arg(long, value_name = "REF", requires = "engine")]
    pull: Option<String>,

    /// The host's root directory: in a container, the directory where it is
    /// mounted.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,

    /// The host's credential [default: /etc/metahub/host.json below --root].
    #[arg(long, env = "METAHUB_HOST_CREDENTIAL", value_name = "FILE")]
    credential: Option<PathBuf>,

    /// The address of metahub-node.
    #[arg(long, env = "METAHUB_NODE_ADDR", default_value = "127.0.0.1:5000")]
    node_addr: SocketAddr,
}

/// The host to check, with the addresses and arguments for the checks.
struct Host {
    root: Root,
    root_path: PathBuf,
    credential: Option<HostCredential>,
    image: Option<ImageName>,
    node: Url,
    /// Whether an engine pulls through the node proxy.
    uses_node: bool,
    insecure: bool,
}

pub(crate) async fn run(
    arguments: &Arguments,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let report = Report::new(arguments.findings(settings).await?);
    output.record(&report, &report.text())?;
    let (failed, warnings) = (report.count(Status::Fail), report.count(Status::Warn));
    match report.status {
        Status::Ok => Ok(()),
        Status::Warn => Err(Failure::Warnings.into()),
        Status::Fail => Err(Failure::Unhealthy { failed, warnings }.into()),
    }
}

impl Arguments {
    async fn findings(&self, settings: &Settings) -> anyhow::Result<Vec<Finding>> {
        let root = Root::at(&self.root);
        let default = root.path(DEFAULT_PATH);
        let path = self.credential.as_deref().unwrap_or(&default);
        let (credential, mut findings) = credential::check(path);
        let node = Url::parse(&format!("http://{}", self.node_addr))?;
        let named = settings.registry.as_deref().map(pull::url).transpose()?;
        let registry = credential.as_ref().map(|it| it.registry.clone());
        let addresses = Addresses {
            registry: registry.or(named),
            node: Some(node.clone()),
        };
        let (of_engines, ways) = engines::check(self.engine, &root, &addresses);
        let host = Host {
            root,
            root_path: self.root.clone(),
            credential,
            image: self.image.clone(),
            node,
            uses_node: ways.contains(&Way::Node),
            insecure: settings.insecure,
        };
        findings.extend(host.bounded().await);
        findings.extend(of_engines);
        if let (Some(engine), Some(image)) = (self.engine, &self.pull) {
            findings.push(engine_pull::check(engine, image).await);
        }
        Ok(findings)
    }
}

impl Host {
    /// The checks that use the network. Findings from before the time limit are
    /// kept.
    async fn bounded(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let others = async {
            let credential = self.credential.as_ref();
            let node = node::check(&self.node, &self.root, self.uses_node, credential);
            let (node, swarm) = tokio::join!(node, swarm::check(&self.root));
            node.into_iter().chain(swarm).collect::<Vec<_>>()
        };
        let registry = timeout(LIMIT, self.registry(&mut findings));
        let (registry, others) = tokio::join!(registry, timeout(LIMIT, others));
        findings.extend(others.into_iter().flatten());
        if registry.is_err() {
            let what = format!(
                "not all checks of the registry ended within {} s",
                LIMIT.as_secs()
            );
            let next = "see why it answers so slowly: the last line above came so far";
            findings.push(Finding::fail("time", what, next));
        }
        findings
    }

    async fn registry(&self, findings: &mut Vec<Finding>) {
        let Some(credential) = self.credential.clone() else {
            return;
        };
        let (url, ca) = (
            credential.registry.clone(),
            credential.registry_ca_pem.clone(),
        );
        if !reach::check(&url, ca.as_deref(), findings).await {
            return;
        }
        let registry = match Registry::new(credential.clone()) {
            Ok(registry) => registry,
            Err(error) => {
                let what = format!("the credential cannot be used: {error:#}");
                findings.push(Finding::fail(
                    "credential",
                    what,
                    "metahubctl host login again",
                ));
                return;
            }
        };
        if !registry.greet(findings).await {
            return;
        }
        if !registry.is_private() && !self.insecure {
            let what = format!("{url} is on another host, and plain text would show the login");
            let next = "metahubctl host login --registry https://…; --insecure accepts it";
            findings.push(Finding::fail("login", what, next));
            return;
        }
        if !registry.log_in(findings).await {
            return;
        }
        findings.extend(self.machine_type(&registry, &credential).await);
        if let Some(image) = &self.image {
            let registry = registry.reconnected().unwrap_or(registry);
            let image = image.clone().at(&pull::host(&url));
            findings.extend(image::check(&registry, &image).await);
        }
    }

    /// Compares the type by which the workers serve this host with the host's
    /// own features.
    async fn machine_type(&self, registry: &Registry, credential: &HostCredential) -> Vec<Finding> {
        let mut callers = Vec::new();
        for told in registry.callers().await {
            match told {
                Ok(caller) => callers.extend(caller),
                Err(error) => {
                    let what = format!("a worker does not tell this host's type: {error:#}");
                    let next = "metahubctl worker list, and the workers' logs";
                    return vec![Finding::warn("type", what, next)];
                }
            }
        }
        let mut findings: Vec<Finding> = PolicyAge::check(&callers).into_iter().collect();
        let Some(caller) = callers.into_iter().next() else {
            let what = "the workers are of a version that does not tell a host its type";
            findings.push(Finding::warn("type", what, "upgrade the workers"));
            return findings;
        };
        let (root, credential) = (self.root_path.clone(), credential.clone());
        let compared = spawn_blocking(move || features::check(&root, &credential, &caller));
        match compared.await.context("the comparison broke off") {
            Ok(compared) => findings.extend(compared),
            Err(error) => {
                let what = format!("{error:#}");
                findings.push(Finding::fail("type", what, "metahubctl host detect"));
            }
        }
        findings
    }
}
