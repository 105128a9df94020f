//! Batch jobs: Slurm with podman, and the image pullers of HPC clusters.

use std::{fs, path::Path};

use metahub_cli::demo::image::REPOSITORY;
use metahub_tests::{
    admin::Login,
    invocation::run,
    parts::{Cluster, Containers, Host, Slurm},
    program::Program,
    tls_front::TlsFront,
};
use tempfile::TempDir;

/// Limits that a machine without all capabilities allows.
const LIMITS: &str = "[containers]\ndefault_ulimits = ['nofile=1024:1024', 'nproc=1024:1024']\n";

/// A Broadwell and a Skylake host, each with its node proxy.
async fn hosts(cluster: &Cluster) -> [Host; 2] {
    let hosts = [
        Host::start(cluster, &cluster.type1).await,
        Host::start(cluster, &cluster.type2).await,
    ];
    hosts[0].network().join(&hosts[1].network());
    hosts
}

/// The message of the expected variant for each host.
fn messages(cluster: &Cluster) -> [&str; 2] {
    [2, 1].map(|n| cluster.oci.images[n].message.trim_end())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_task_of_a_slurm_job_runs_the_variant_of_its_node() {
    let cluster = Cluster::start().await;
    let hosts = hosts(&cluster).await;
    let slurm = Slurm::start(&hosts).await;
    let storage = TempDir::new().expect("a temporary directory");

    let job = format!(
        "exec podman --root {0}/$SLURMD_NODENAME --runroot {0}/run-$SLURMD_NODENAME \
         --storage-driver vfs --runtime runc run --quiet --rm --tls-verify=false --network none \
         --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 {1}/{REPOSITORY}:oci",
        storage.path().display(),
        Host::NODE,
    );
    let said = slurm
        .srun(&["--label", "--nodes=2", "sh", "-c", &job])
        .await;

    let said = said.text();
    for (n, message) in messages(&cluster).iter().enumerate() {
        assert!(said.contains(&format!("{n}: {message}")), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn podman_runs_the_variant_of_its_host_for_a_pod_of_kubernetes() {
    let cluster = Cluster::start().await;

    for (host, message) in hosts(&cluster).await.iter().zip(messages(&cluster)) {
        let podman = Containers::podman().with_settings(LIMITS).on(host);
        let pod = podman.path_of("pod.yaml");
        let image = format!("{}/{REPOSITORY}:oci", Host::NODE);
        let text = format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: app}}, spec: {{hostNetwork: true, \
             restartPolicy: Never, containers: [{{name: app, image: '{image}'}}]}}}}\n"
        );
        fs::write(&pod, text).expect("it can be written");
        let args = ["--runtime=runc", "play", "kube", "--tls-verify=false", &pod];
        podman.run(&args).await.text();

        let said = podman.run(&["--runtime=runc", "wait", "app-app"]).await;
        said.text();
        let said = podman.run(&["--runtime=runc", "logs", "app-app"]).await;
        assert_eq!(said.text().trim_end(), message);
        let down = ["--runtime=runc", "play", "kube", "--down", &pod];
        podman.run(&down).await.text();
    }
}

const CH_IMAGE: Program = Program {
    name: "ch-image",
    install: "install the Debian package charliecloud-builders",
};
const CH_RUN: Program = Program {
    name: "ch-run",
    install: "install the Debian package charliecloud-runtime",
};

/// Charliecloud pulls over HTTPS only, so it cannot use the node proxy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn charliecloud_runs_the_variant_of_the_login_in_its_environment() {
    let cluster = Cluster::start().await;
    let front = TlsFront::before(cluster.traefik.addr()).await;
    let image = format!("{}/{REPOSITORY}:oci", &front.url()["https://".len()..]);

    for (login, message) in [&cluster.type1, &cluster.type2]
        .iter()
        .zip(messages(&cluster))
    {
        let Login { name, secret } = login;
        let dir = TempDir::new().expect("a temporary directory");
        let place = |name: &str| dir.path().join(name).display().to_string();
        fs::write(place("ca.pem"), front.ca_pem()).expect("it can be written");
        let variables = [
            // The program is a Python script and uses the system's Python.
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            "USER=root".to_owned(),
            format!("REQUESTS_CA_BUNDLE={}", place("ca.pem")),
            format!("CH_IMAGE_USERNAME={name}"),
            format!("CH_IMAGE_PASSWORD={secret}"),
        ];
        let mut pull = variables.to_vec();
        pull.push(CH_IMAGE.path().display().to_string());
        let storage = place("storage");
        pull.extend(["pull", "--auth", "-s", &storage, &image].map(String::from));
        run(Path::new("env"), pull).await.text();

        let mut images = fs::read_dir(place("storage/img")).expect("it has images");
        let root = images.next().expect("it has one").expect("it can be read");
        let root = root.path().display().to_string();
        let ch_run = CH_RUN.path().display().to_string();
        let program = [
            "USER=root",
            &ch_run,
            "--no-passwd",
            &root,
            "--",
            "/optimised",
        ];
        let said = run(Path::new("env"), program).await;
        assert_eq!(said.text().trim_end(), message);
    }
}

#[cfg(feature = "engine-matrix")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apptainer_builds_from_the_variant_of_its_host_without_a_login() {
    const APPTAINER: Program = Program {
        name: "apptainer",
        install: "run `tests/run --engines sid`",
    };
    let cluster = Cluster::start().await;

    for (host, message) in hosts(&cluster).await.iter().zip(messages(&cluster)) {
        let dir = TempDir::new().expect("a temporary directory");
        let root = dir.path().join("root").display().to_string();
        let image = format!("docker://{}/{REPOSITORY}:oci", Host::NODE);
        let args = ["build", "--no-https", "--sandbox", &root, &image];
        let args = args.map(String::from).to_vec();
        let (program, args) = host.network().enter(APPTAINER.path(), args);
        run(&program, args).await.text();

        let program = fs::read(format!("{root}/optimised")).expect("the image has a program");
        let message = message.as_bytes();
        assert!(program.windows(message.len()).any(|it| it == message));
    }
}
