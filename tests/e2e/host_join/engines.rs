//! A host's login name contains a `~`: every engine can log in with it.

use metahub_cli::demo::image::REPOSITORY;
use metahub_tests::{
    host::JoiningHosts,
    parts::{Cluster, Containerd, Containers, Dockerd},
};

#[tokio::test]
async fn docker_ctr_podman_and_skopeo_pull_with_the_login_of_a_host() {
    let cluster = Cluster::start().await;
    let registry = format!("http://{}", cluster.host());
    let hosts = JoiningHosts::by_new_token(cluster.control.place(), &registry, &[]).await;
    hosts.login("node17", "skylake", &[]).await.text();
    let login = hosts.login_of("node17");
    assert_eq!(login.name, "qnib-type2~node17");
    let (tag, set) = cluster.forms().into_iter().next().expect("there is one");
    let (host, image) = (cluster.host(), cluster.image(tag));
    let wanted = &set.images[1].manifest.digest;

    let docker = Dockerd::start().await;
    docker.login(&host, &login.name, &login.secret).await.text();
    docker.pull(&image).await.text();
    let digests = docker.repo_digests(&image).await;
    assert_eq!(digests, [format!("{host}/{REPOSITORY}@{wanted}")]);

    let containerd = Containerd::start().await;
    let pulled = containerd.pull(&image, &login.name, &login.secret).await;
    pulled.text();
    let listed = containerd.ctr(&["images", "ls"]).await.text();
    assert!(listed.contains(wanted.as_str()), "{listed}");

    let podman = Containers::podman();
    podman.login(&host, &login.name, &login.secret).await.text();
    podman.pull(&image).await.text();
    assert_eq!(&podman.digest(&image).await, wanted);

    let skopeo = Containers::skopeo();
    skopeo.login(&host, &login.name, &login.secret).await.text();
    let raw = skopeo.inspect_raw(&image).await.text();
    assert!(raw.contains(&set.images[1].config.digest), "{raw}");
}
