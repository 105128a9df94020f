//! Real engines behind traefik: one name, and each host runs what is for it.

use metahub_cli::demo::image::{Form, Image, ImageSet, REPOSITORY};
use metahub_tests::{
    admin::Login,
    parts::{Cluster, Containerd, Containers, Dockerd, OrasLogin, oras},
};
use serde_json::Value;

/// What the host of `login` is to get of `set`.
fn expected<'a>(cluster: &Cluster, login: &Login, set: &'a ImageSet) -> &'a Image {
    let broadwell = login.name == cluster.type1.name;
    &set.images[if broadwell { 2 } else { 1 }]
}

#[tokio::test]
async fn docker_runs_the_variant_of_the_type_that_it_is_logged_in_as() {
    let cluster = Cluster::start().await;

    for (tag, set) in cluster.forms() {
        // Both forms hold the same images: the second would find them here.
        let docker = Dockerd::start().await;
        for login in [&cluster.type1, &cluster.type2] {
            let image = cluster.image(tag);
            let wanted = expected(&cluster, login, set);
            let host = cluster.host();
            docker.login(&host, &login.name, &login.secret).await.text();
            docker.pull(&image).await.text();

            let name = format!("{host}/{REPOSITORY}@{}", wanted.manifest.digest);
            assert_eq!(docker.repo_digests(&image).await, [name]);
            assert_eq!(docker.run(&image).await.text(), wanted.message);
        }
    }
    cluster.assert_all_workers_served();
}

#[tokio::test]
async fn ctr_runs_the_variant_of_the_type_that_it_is_logged_in_as() {
    let cluster = Cluster::start().await;
    let containerd = Containerd::start().await;

    for (tag, set) in cluster.forms() {
        for login in [&cluster.type1, &cluster.type2] {
            let image = cluster.image(tag);
            let wanted = expected(&cluster, login, set);
            let pulled = containerd.pull(&image, &login.name, &login.secret).await;
            pulled.text();

            let listed = containerd.ctr(&["images", "ls"]).await.text();
            let line = listed.lines().find(|line| line.starts_with(&image));
            let line = line.expect("the image is listed");
            assert!(line.contains(&wanted.manifest.digest), "{line}");
            assert_eq!(containerd.run(&image).await, wanted.message);
        }
    }
    cluster.assert_all_workers_served();
}

#[tokio::test]
async fn podman_runs_the_variant_of_the_type_that_it_is_logged_in_as() {
    let cluster = Cluster::start().await;

    for (tag, set) in cluster.forms() {
        // Both forms hold the same images: the second would find them here.
        let podman = Containers::podman();
        for login in [&cluster.type1, &cluster.type2] {
            let image = cluster.image(tag);
            let wanted = expected(&cluster, login, set);
            let host = cluster.host();
            podman.login(&host, &login.name, &login.secret).await.text();
            podman.pull(&image).await.text();

            let digest = podman.digest(&image).await;
            assert_eq!(digest, wanted.manifest.digest);
            assert_eq!(podman.run_image(&image).await.text(), wanted.message);
        }
    }
}

#[tokio::test]
async fn buildah_pulls_the_variant_of_the_type_that_it_is_logged_in_as() {
    let cluster = Cluster::start().await;

    for (tag, set) in cluster.forms() {
        for login in [&cluster.type1, &cluster.type2] {
            // It pulls no name that it has: each host has its own.
            let buildah = Containers::buildah();
            let image = cluster.image(tag);
            let wanted = expected(&cluster, login, set);
            let host = cluster.host();
            buildah
                .login(&host, &login.name, &login.secret)
                .await
                .text();
            buildah.pull(&image).await.text();

            let listed = buildah.run(&["images", "--digests"]).await.text();
            assert!(listed.contains(&wanted.manifest.digest), "{listed}");
        }
    }
}

#[tokio::test]
async fn skopeo_copies_the_variant_of_the_type_that_it_is_logged_in_as() {
    let cluster = Cluster::start().await;
    let skopeo = Containers::skopeo();

    for (tag, set) in cluster.forms() {
        for login in [&cluster.type1, &cluster.type2] {
            let wanted = expected(&cluster, login, set);
            let host = cluster.host();
            skopeo.login(&host, &login.name, &login.secret).await.text();
            let place = format!("{tag}-{}", login.name);
            skopeo.copy(&cluster.image(tag), &place).await.text();

            let manifest = skopeo.path_of(&place) + "/manifest.json";
            let copied = std::fs::read(manifest).expect("a copy has a manifest");
            assert_eq!(copied, wanted.manifest.bytes);
        }
    }
}

#[tokio::test]
async fn skopeo_gets_the_very_bytes_that_a_digest_names() {
    let cluster = Cluster::start().await;
    let skopeo = Containers::skopeo();
    let login = &cluster.type1;
    let host = cluster.host();
    skopeo.login(&host, &login.name, &login.secret).await.text();

    for (_, set) in cluster.forms() {
        let children = set.images.iter().map(|image| &image.manifest);
        for manifest in children.chain([&set.index]) {
            let image = format!("{host}/{REPOSITORY}@{}", manifest.digest);
            let answer = skopeo.inspect_raw(&image).await;

            answer.text();
            assert_eq!(answer.stdout, manifest.bytes);
        }
    }
}

#[tokio::test]
async fn skopeo_lists_the_tags_of_the_upstream() {
    let cluster = Cluster::start().await;
    let skopeo = Containers::skopeo();
    let login = &cluster.type1;
    let host = cluster.host();
    skopeo.login(&host, &login.name, &login.secret).await.text();

    let said = skopeo.list_tags(&format!("{host}/{REPOSITORY}")).await;

    let said = said.text();
    for (tag, _) in cluster.forms() {
        assert!(said.contains(&format!("\"{tag}\"")), "{said}");
    }
}

#[tokio::test]
async fn oras_lists_the_tags_of_the_upstream_and_reads_what_its_host_is_given() {
    let cluster = Cluster::start().await;

    for (tag, set) in cluster.forms() {
        for login in [&cluster.type1, &cluster.type2] {
            let host = cluster.traefik.addr();
            let said = oras(host, OrasLogin::Basic, login, (REPOSITORY, tag)).await;

            let said: Value = serde_json::from_str(&said.text()).expect("it prints JSON");
            let wanted = &expected(&cluster, login, set).manifest.bytes;
            let wanted: Value = serde_json::from_slice(wanted).expect("a manifest is JSON");
            let tags = &said["pages"][0];
            assert!(
                ["docker", "oci"]
                    .iter()
                    .all(|it| tags.to_string().contains(it))
            );
            assert_eq!(said["manifest"], wanted);
        }
    }
}

#[tokio::test]
async fn docker_inspects_the_manifest_that_its_host_is_given() {
    let cluster = Cluster::start().await;
    let docker = Dockerd::start().await;
    let login = &cluster.type2;
    let host = cluster.host();
    docker.login(&host, &login.name, &login.secret).await.text();

    for (tag, set) in cluster.forms() {
        let args = ["manifest", "inspect", "--insecure", &cluster.image(tag)];
        let said = docker.docker(&args).await.text();

        let layer = &expected(&cluster, login, set).layer.digest;
        assert!(said.contains(layer.as_str()), "{said}");
    }
}

#[tokio::test]
async fn engines_say_unauthorized_to_a_wrong_secret_and_to_an_unknown_type() {
    let cluster = Cluster::start().await;
    let docker = Dockerd::start().await;
    let (podman, skopeo) = (Containers::podman(), Containers::skopeo());
    let host = cluster.host();

    for name in [cluster.type1.name.as_str(), "qnib-type9"] {
        let said = docker.login(&host, name, "wrong").await.complaint();
        assert!(said.to_lowercase().contains("unauthorized"), "{said}");

        for engine in [&podman, &skopeo] {
            let said = engine.login(&host, name, "wrong").await.complaint();
            assert!(said.contains("invalid username/password"), "{said}");
        }
    }
}

#[tokio::test]
async fn engines_say_why_no_variant_fits() {
    let cluster = Cluster::start().await;
    let set = ImageSet::new(Form::Docker, &[&["cpu:zen4"]]).unwrap();
    cluster
        .upstream
        .push_images("qnib/zen4", "latest", &set)
        .await;
    let docker = Dockerd::start().await;
    let (podman, skopeo) = (Containers::podman(), Containers::skopeo());
    let host = cluster.host();
    let Login { name, secret } = &cluster.type1;
    docker.login(&host, name, secret).await.text();
    podman.login(&host, name, secret).await.text();
    skopeo.login(&host, name, secret).await.text();

    let image = format!("{host}/qnib/zen4:latest");
    let complaints = [
        docker.pull(&image).await.complaint(),
        podman.pull(&image).await.complaint(),
        skopeo.copy(&image, "copy").await.complaint(),
    ];

    for said in complaints {
        for part in ["denied", name, "cpu:zen4"] {
            assert!(said.contains(part), "no {part} in: {said}");
        }
    }
}
