//! containerd as the kubelet uses it: pulls by the CRI image service, with and
//! without the credentials of a pod.

use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use metahub_cli::demo::image::{Form, Image, ImageSet, REPOSITORY};
use metahub_tests::{
    admin::Login,
    invocation::run,
    parts::{Cluster, Containerd, Host},
    program::ours,
};
use tempfile::TempDir;

/// A cluster with the upstream `docker.io`, containerd's name of Docker Hub.
async fn hub() -> Cluster {
    let mut cluster = Cluster::start().await;
    let url = cluster.upstream.url();
    cluster.admin.put_default_upstream("docker.io", &url).await;
    cluster.admin.all_current(cluster.workers.len()).await;
    cluster
}

/// The hosts file of a node that pulls only by its node proxy: the file of
/// `metahubctl client-config`.
async fn by_the_node_proxy() -> String {
    let dir = TempDir::new().expect("a temporary directory");
    let out = format!("--out={}", dir.path().display());
    let args = ["client-config", "containerd", "--enforce", &out];
    run(&ours("metahubctl"), args).await.text();
    let file = dir
        .path()
        .join("etc/containerd/certs.d/docker.io/hosts.toml");
    fs::read_to_string(file).expect("it is written")
}

/// The hosts file of a node that pulls from the workers, followed by `more`.
fn by_the_workers(cluster: &Cluster, more: &str) -> String {
    let workers = format!("http://{}", cluster.host());
    format!("server = '{workers}'\n[host.'{workers}']\ncapabilities = ['pull', 'resolve']\n{more}")
}

/// The hosts file of a node with its login in a header.
fn by_a_header(cluster: &Cluster, login: &Login) -> String {
    let Login { name, secret } = login;
    let basic = STANDARD.encode(format!("{name}:{secret}"));
    let table = format!("[host.'http://{}'.header]", cluster.host());
    by_the_workers(
        cluster,
        &format!("{table}\nauthorization = ['Basic {basic}']\n"),
    )
}

/// Pulls an image of Docker Hub for a pod. Fails unless it is `wanted`.
async fn assert_pod_gets(containerd: &Containerd, pod: Option<&Login>, tag: &str, wanted: &Image) {
    let image = format!("docker.io/{REPOSITORY}:{tag}");
    let mut cri = containerd.cri().await;
    cri.pull(&image, pod).await.expect("it is pulled");

    let digest = format!("docker.io/{REPOSITORY}@{}", wanted.manifest.digest);
    let digests = cri.repo_digests(&image).await;
    assert!(
        digests.contains(&digest),
        "{digests:?} for {}",
        wanted.variant
    );
    let ran = containerd.run_in("k8s.io", &image).await;
    assert_eq!(ran, wanted.message);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_node_with_a_node_proxy_gets_its_own_variant_for_any_pod() {
    let cluster = hub().await;
    let (broadwell, skylake) = (&cluster.type1, &cluster.type2);

    let hosts_toml = by_the_node_proxy().await;
    for (own, others, n) in [(broadwell, skylake, 2), (skylake, broadwell, 1)] {
        let host = Host::start(&cluster, own).await;
        for pod in [None, Some(others)] {
            for (tag, set) in cluster.forms() {
                // containerd does not pull an image again that it already has.
                let containerd = Containerd::start_for_kubelet(Some(&host), &hosts_toml).await;

                assert_pod_gets(&containerd, pod, tag, &set.images[n]).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_header_of_a_nodes_hosts_file_wins_over_the_credentials_of_a_pod() {
    let cluster = hub().await;
    let (broadwell, skylake) = (&cluster.type1, &cluster.type2);

    for (own, others, n) in [(broadwell, skylake, 2), (skylake, broadwell, 1)] {
        let hosts_toml = by_a_header(&cluster, own);
        for pod in [None, Some(others)] {
            let containerd = Containerd::start_for_kubelet(None, &hosts_toml).await;

            assert_pod_gets(&containerd, pod, "oci", &cluster.oci.images[n]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_an_identity_gets_the_variant_of_the_pods_credentials() {
    let cluster = hub().await;
    let hosts_toml = by_the_workers(&cluster, "");

    for (pod, n) in [(&cluster.type1, 2), (&cluster.type2, 1)] {
        let containerd = Containerd::start_for_kubelet(None, &hosts_toml).await;

        assert_pod_gets(&containerd, Some(pod), "oci", &cluster.oci.images[n]).await;
    }
    let containerd = Containerd::start_for_kubelet(None, &hosts_toml).await;
    let image = format!("docker.io/{REPOSITORY}:oci");
    let refused = containerd.cri().await.pull(&image, None).await;
    let said = refused.expect_err("nobody is logged in").to_string();
    // The error texts of containerd 1.6 and 2.1.
    let words = ["401 Unauthorized", "no basic auth credentials"];
    assert!(words.iter().any(|it| said.contains(it)), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_a_node_is_refused_stays_refused_for_any_pod() {
    let cluster = hub().await;
    let host = Host::start(&cluster, &cluster.type1).await;
    let set = ImageSet::new(Form::Oci, &[&["cpu:zen4"]]);
    let set = set.expect("memory takes all");
    cluster
        .upstream
        .push_images("qnib/zen4", "latest", &set)
        .await;
    let hosts_toml = by_the_node_proxy().await;
    let containerd = Containerd::start_for_kubelet(Some(&host), &hosts_toml).await;
    let mut cri = containerd.cri().await;

    for pod in [None, Some(&cluster.type2)] {
        let refused = cri.pull("docker.io/qnib/zen4:latest", pod).await;

        let said = refused.expect_err("no variant fits").to_string();
        assert!(said.contains("403 Forbidden"), "{said}");
    }
}
