//! The real parts work on this machine by themselves. Where one of these tests
//! fails, look at the machine before looking at MetaHub.

use metahub_cli::demo::image::{Form, ImageSet};
use metahub_tests::parts::{Containerd, Containers, DockerRegistry, Dockerd, HealthCheck, Traefik};

const WORDS: &str = ">> This container is optimised for: generic\n";
const TAGS: [(Form, &str); 2] = [(Form::Docker, "docker"), (Form::Oci, "oci")];

/// A registry with an image that says [`WORDS`].
async fn registry() -> DockerRegistry {
    let registry = DockerRegistry::start().await;
    for (form, tag) in TAGS {
        let set = ImageSet::new(form, &[&[]]).expect("memory takes all");
        registry.push_images("qnib/hello", tag, &set).await;
    }
    registry
}

#[tokio::test]
async fn docker_runs_an_image_of_the_registry() {
    let registry = registry().await;
    let docker = Dockerd::start().await;

    for (_, tag) in TAGS {
        let image = format!("{}/qnib/hello:{tag}", registry.addr());
        docker.pull(&image).await.text();
        let said = docker.run(&image).await.text();

        assert_eq!(said, WORDS);
    }
}

#[tokio::test]
async fn docker_runs_an_image_that_comes_through_traefik() {
    let registry = registry().await;
    let health = HealthCheck {
        port: None,
        path: "/v2/",
    };
    let traefik = Traefik::start(&[registry.addr()], health).await;
    let docker = Dockerd::start().await;

    let image = format!("{}/qnib/hello:oci", traefik.addr());
    docker.pull(&image).await.text();
    let said = docker.run(&image).await.text();

    assert_eq!(said, WORDS);
}

#[tokio::test]
async fn ctr_runs_an_image_of_the_registry() {
    let registry = registry().await;
    let containerd = Containerd::start().await;

    for (_, tag) in TAGS {
        let image = format!("{}/qnib/hello:{tag}", registry.addr());
        containerd.pull(&image, "nobody", "nothing").await.text();
        let said = containerd.run(&image).await;

        assert_eq!(said, WORDS);
    }
}

#[tokio::test]
async fn podman_runs_an_image_of_the_registry() {
    let registry = registry().await;
    let podman = Containers::podman();

    let image = format!("{}/qnib/hello:oci", registry.addr());
    podman.pull(&image).await.text();
    let said = podman.run_image(&image).await.text();

    assert_eq!(said, WORDS);
}

#[tokio::test]
async fn buildah_and_skopeo_fetch_an_image_of_the_registry() {
    let registry = registry().await;
    let (buildah, skopeo) = (Containers::buildah(), Containers::skopeo());

    let image = format!("{}/qnib/hello:docker", registry.addr());

    buildah.pull(&image).await.text();
    skopeo.copy(&image, "copy").await.text();
}
