//! Where engines keep their configuration: what `client-config` writes, and
//! `doctor` reads.

/// containerd: its directory of `hosts.toml` files.
pub(crate) const CONTAINERD_HOSTS: &str = "/etc/containerd/certs.d";
/// containerd: its settings.
pub(crate) const CONTAINERD_CONFIG: &str = "/etc/containerd/config.toml";
/// The plugin that pulls for Kubernetes: in containerd 1.x, and from 2.0 on.
pub(crate) const CONTAINERD_PLUGINS: [&str; 2] =
    ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"];
/// The directory for each registry that has none of its own.
pub(crate) const CONTAINERD_DEFAULT: &str = "_default";

/// dockerd: its settings.
pub(crate) const DOCKER_CONFIG: &str = "/etc/docker/daemon.json";
/// docker: the logins of root.
pub(crate) const DOCKER_LOGINS: &str = "/root/.docker/config.json";

/// podman, buildah, skopeo and CRI-O: what comes before the drop-ins.
pub(crate) const REGISTRIES: &str = "/etc/containers/registries.conf";
/// The drop-ins, of which later ones win.
pub(crate) const REGISTRIES_DROP_INS: &str = "/etc/containers/registries.conf.d";
/// podman: the logins of root, kept for good.
pub(crate) const PODMAN_LOGINS: &str = "/root/.config/containers/auth.json";

/// buildkitd: its settings.
pub(crate) const BUILDKIT_CONFIG: &str = "/etc/buildkit/buildkitd.toml";

/// k3s: the directory of all its settings.
pub(crate) const K3S: &str = "/etc/rancher/k3s";
/// RKE2: the same.
pub(crate) const RKE2: &str = "/etc/rancher/rke2";

/// kubelet: which credential provider it asks, and for which images.
pub(crate) const KUBELET_PROVIDER: &str = "/etc/metahub/kubelet-credential-provider.yaml";
