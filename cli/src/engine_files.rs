//! The paths of engines' configuration files, which `client-config` writes and
//! `doctor` reads.

/// containerd: its directory of `hosts.toml` files.
pub(crate) const CONTAINERD_HOSTS: &str = "/etc/containerd/certs.d";
/// containerd: its settings.
pub(crate) const CONTAINERD_CONFIG: &str = "/etc/containerd/config.toml";
/// The CRI plugin for Kubernetes pulls: in containerd 1.x, and from 2.0 on.
pub(crate) const CONTAINERD_PLUGINS: [&str; 2] =
    ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"];
/// The directory for each registry without a directory of its own.
pub(crate) const CONTAINERD_DEFAULT: &str = "_default";

/// dockerd: its settings.
pub(crate) const DOCKER_CONFIG: &str = "/etc/docker/daemon.json";
/// docker: the logins of root.
pub(crate) const DOCKER_LOGINS: &str = "/root/.docker/config.json";

/// podman, buildah, skopeo and CRI-O: the file read before the drop-ins.
pub(crate) const REGISTRIES: &str = "/etc/containers/registries.conf";
/// podman, buildah, skopeo and CRI-O: the drop-ins. A later one takes
/// precedence.
pub(crate) const REGISTRIES_DROP_INS: &str = "/etc/containers/registries.conf.d";
/// podman: the permanent logins of root.
pub(crate) const PODMAN_LOGINS: &str = "/root/.config/containers/auth.json";

/// buildkitd: its settings.
pub(crate) const BUILDKIT_CONFIG: &str = "/etc/buildkit/buildkitd.toml";

/// k3s: the directory of all its settings.
pub(crate) const K3S: &str = "/etc/rancher/k3s";
/// RKE2: the directory of all its settings.
pub(crate) const RKE2: &str = "/etc/rancher/rke2";

/// kubelet: the configuration of its credential providers.
pub(crate) const KUBELET_PROVIDER: &str = "/etc/metahub/kubelet-credential-provider.yaml";
