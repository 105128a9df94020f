//! The places that the engines of this host pull from, in order: detects pulls
//! that bypass MetaHub.

mod buildkit;
mod containerd;
mod containers;
mod docker;
mod k3s;
mod route;

pub(super) use self::route::{Addresses, Way};
use super::{files::Root, finding::Finding};

/// The engines whose configuration doctor reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Engine {
    /// containerd, also below Kubernetes; nerdctl.
    #[value(alias = "nerdctl")]
    Containerd,
    /// Docker.
    Docker,
    /// Podman, buildah, skopeo and CRI-O, which share their files.
    #[value(aliases = ["buildah", "skopeo", "cri-o"])]
    Podman,
    /// buildkitd.
    Buildkit,
    /// k3s, and RKE2.
    #[value(alias = "rke2")]
    K3s,
}

const ALL: [Engine; 5] = [
    Engine::Containerd,
    Engine::Docker,
    Engine::Podman,
    Engine::Buildkit,
    Engine::K3s,
];

/// The findings for the engines' files, and the ways that the engines reach
/// MetaHub by.
pub(super) fn check(
    engine: Option<Engine>,
    root: &Root,
    addresses: &Addresses,
) -> (Vec<Finding>, Vec<Way>) {
    let mut ways = Vec::new();
    let engines: Vec<Engine> = engine.map_or_else(|| ALL.to_vec(), |it| vec![it]);
    let engines = engines.into_iter();
    let findings = engines.flat_map(|it| it.check(root, addresses, &mut ways));
    let mut findings: Vec<Finding> = findings.collect();
    if findings.is_empty() {
        findings.push(nothing(engine));
    }
    (findings, ways)
}

fn nothing(engine: Option<Engine>) -> Finding {
    let Some(engine) = engine else {
        let what = "no engine on this host is configured to pull through MetaHub";
        let next = "metahubctl client-config ENGINE --out /";
        return Finding::warn("engines", what, next);
    };
    let what = "it is not configured to pull through MetaHub";
    let next = format!("metahubctl client-config {} --out /", engine.name());
    Finding::warn(engine.name(), what, next)
}

impl Engine {
    fn check(self, root: &Root, addresses: &Addresses, ways: &mut Vec<Way>) -> Vec<Finding> {
        match self {
            Self::Containerd => containerd::check(root, addresses, ways),
            Self::Docker => docker::check(root, addresses, ways),
            Self::Podman => containers::check(root, addresses, ways),
            Self::Buildkit => buildkit::check(root, addresses, ways),
            Self::K3s => k3s::check(root, addresses, ways),
        }
    }

    /// The engine's name on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Buildkit => "buildkit",
            Self::K3s => "k3s",
        }
    }
}
