//! `metahubctl demo`: the whole of MetaHub in one process, with its own
//! upstream, images and hosts. Needs no network and no docker.
//!
//! Its parts are public because end-to-end tests use them as well.

pub mod client;
pub mod digest;
pub(crate) mod docker;
pub mod elf;
pub mod image;
pub mod registry;
mod this_machine;

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use serde::Serialize;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use self::{
    client::Client,
    image::{Form, ImageSet, REPOSITORY},
    registry::Registry,
    this_machine::ThisMachine,
};
use crate::{
    client::Client as Admin,
    output::Row,
    planes::{ANY_PORT, ControlPlace, Planes, State, WorkerPlace},
    record::{MachineType, NewLogin, Upstream, UpstreamSecrets},
};

const USER: &str = "qnib";
const TAG: &str = "latest";
const WORKERS: usize = 2;

/// The hosts: a machine type, its features, and the variant that it is to get.
const HOSTS: [(&str, &[&str], &str); 3] = [
    ("type1", &["cpu:broadwell"], "cpu:broadwell"),
    ("type2", &["cpu:skylake"], "cpu:skylake"),
    (
        "type3",
        &["cpu:broadwell", "nvcap:5.2"],
        "cpu:broadwell,nvcap:5.2",
    ),
];

/// A MetaHub with an upstream and three hosts, all in this process.
pub(crate) struct Demo {
    planes: Planes,
    shutdown: CancellationToken,
    _upstream: Registry,
    images: ImageSet,
    workers: Vec<SocketAddr>,
    hosts: Vec<Host>,
    this_machine: anyhow::Result<ThisMachine>,
    _data: TempDir,
}

/// A host: what it logs in with, and what it is to get.
struct Host {
    machine_type: &'static str,
    login: NewLogin,
    expected: &'static str,
}

/// What one host got from one worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Pull {
    #[serde(rename = "type")]
    machine_type: &'static str,
    digest: String,
    variant: String,
    expected: &'static str,
    worker: String,
}

impl Demo {
    /// Starts everything, and waits until both workers know the hosts.
    pub(crate) async fn start(shutdown: CancellationToken) -> anyhow::Result<Self> {
        let images = ImageSet::bench(Form::Docker).context("cannot write the images")?;
        let upstream = Registry::start()
            .await
            .context("cannot start the upstream")?;
        upstream.put_images(REPOSITORY, TAG, &images);

        let data = TempDir::with_prefix("metahub-demo-").context("cannot make a directory")?;
        let control = ControlPlace {
            grpc_addr: ANY_PORT,
            data_dir: data.path().into(),
            state: State::InMemory,
            insecure: false,
            registry_url: None,
        };
        let mut planes = Planes::start(&control, shutdown.clone()).await?;
        let mut workers = Vec::with_capacity(WORKERS);
        for _ in 0..WORKERS {
            let place = WorkerPlace {
                registry_addr: ANY_PORT,
                admin_addr: ANY_PORT,
                blobs: None,
                tls: None,
            };
            workers.push(planes.add_worker(&place).await?);
        }
        let admin = planes.admin().await?;
        let hosts = set_up(&admin, &upstream).await?;
        let this_machine = ThisMachine::set_up(&admin).await;
        planes.ready(WORKERS).await?;
        Ok(Self {
            planes,
            shutdown,
            _upstream: upstream,
            images,
            workers,
            hosts,
            this_machine,
            _data: data,
        })
    }

    /// Pulls as each host, through one worker after the other, until each host
    /// has been at each worker.
    pub(crate) async fn pull_all(&self) -> anyhow::Result<Vec<Pull>> {
        let mut pulls = Vec::new();
        for (turn, host) in self.turns() {
            let (place, round) = (turn % self.hosts.len(), turn / self.hosts.len());
            let worker = (place + round) % self.workers.len();
            let url = format!("http://{}", self.workers[worker]);
            let client = Client::new(url, &host.login.name, &host.login.secret)?;
            let pulled = client
                .pull(REPOSITORY, TAG)
                .await
                .with_context(|| format!("{} cannot pull", host.login.name))?;
            pulls.push(Pull {
                machine_type: host.machine_type,
                variant: self.variant(&pulled.digest),
                digest: pulled.digest,
                expected: host.expected,
                worker: format!("worker {} ({})", worker + 1, self.workers[worker]),
            });
        }
        Ok(pulls)
    }

    /// Pulls as the machine that the demo runs on. Returns a short text with
    /// the result and the reason.
    pub(crate) async fn pull_as_this_machine(&self) -> anyhow::Result<String> {
        let url = format!("http://{}", self.workers[0]);
        match &self.this_machine {
            Ok(machine) => machine.pull(url, &self.images).await,
            // The demo does not depend on this machine.
            Err(error) => Ok(format!("\nThis machine is none of its hosts: {error:#}")),
        }
    }

    /// Runs until `shutdown` is cancelled.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        self.planes.run().await
    }

    /// Stops everything.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        self.planes.run().await
    }

    /// Each host as often as there are workers.
    fn turns(&self) -> impl Iterator<Item = (usize, &Host)> {
        let turns = self.hosts.len() * self.workers.len();
        self.hosts.iter().cycle().take(turns).enumerate()
    }

    fn variant(&self, digest: &str) -> String {
        let image = self.images.image(digest);
        image.map_or_else(|| "unknown".into(), |image| image.variant.clone())
    }
}

/// Creates the upstream, the user and the machine types.
async fn set_up(admin: &Admin, upstream: &Registry) -> anyhow::Result<Vec<Host>> {
    let upstream = Upstream {
        name: "demo.example".into(),
        url: upstream.url(),
        default: true,
        ..Upstream::default()
    };
    admin
        .put_upstream(upstream, UpstreamSecrets::default())
        .await?;
    admin.create_user(USER, "").await?;
    let mut hosts = Vec::with_capacity(HOSTS.len());
    for (name, features, expected) in HOSTS {
        let features = features.iter().map(ToString::to_string).collect();
        let machine_type = MachineType::for_linux(USER.into(), name.into(), features);
        let created = admin.create_type(machine_type, true, false).await?;
        hosts.push(Host {
            machine_type: name,
            login: created.login.context("a new type has a login")?,
            expected,
        });
    }
    Ok(hosts)
}

/// Fails when a host got another variant than it is to get.
pub(crate) fn verify(pulls: &[Pull]) -> anyhow::Result<()> {
    for pull in pulls {
        ensure!(
            pull.variant == pull.expected,
            "{} got the variant {} from {}, not {}",
            pull.machine_type,
            pull.variant,
            pull.worker,
            pull.expected,
        );
    }
    Ok(())
}

impl Row for Pull {
    const COLUMNS: &'static [&'static str] = &["TYPE", "DIGEST", "VARIANT", "WORKER"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.machine_type.into(),
            self.digest.clone(),
            self.variant.clone(),
            self.worker.clone(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[tokio::test]
    async fn every_host_gets_its_variant_from_every_worker() {
        let demo = Demo::start(CancellationToken::new()).await.unwrap();

        let pulls = demo.pull_all().await.unwrap();

        verify(&pulls).unwrap();
        let pairs: BTreeSet<_> = pulls
            .iter()
            .map(|pull| (pull.machine_type, &pull.worker))
            .collect();
        assert_eq!(pairs.len(), HOSTS.len() * WORKERS);
        demo.stop().await.unwrap();
    }

    #[tokio::test]
    async fn this_machine_gets_a_variant_and_each_of_them_has_a_reason() {
        let demo = Demo::start(CancellationToken::new()).await.unwrap();

        let said = demo.pull_as_this_machine().await.unwrap();

        assert!(
            said.contains("This machine is ") && said.contains("\nIt got "),
            "{said}"
        );
        for variant in [
            "generic",
            "cpu:skylake",
            "cpu:broadwell",
            "cpu:broadwell,nvcap:5.2",
        ] {
            let reason = said
                .lines()
                .find(|line| line.starts_with(&format!("  {variant} ")));
            assert!(reason.is_some(), "{variant}: {said}");
        }
        demo.stop().await.unwrap();
    }

    fn pull(variant: &str) -> Pull {
        Pull {
            machine_type: "type1",
            digest: "sha256:0".into(),
            variant: variant.into(),
            expected: "cpu:broadwell",
            worker: "worker 1".into(),
        }
    }

    #[test]
    fn a_wrong_variant_fails_the_demo() {
        let pulls = [pull("cpu:broadwell"), pull("cpu:skylake")];

        assert!(verify(&pulls[..1]).is_ok());
        assert!(verify(&pulls).is_err());
    }
}
