//! Parts end and come back under load, and hosts behind traefik see nothing.

use metahub_cli::demo::image::REPOSITORY;
use metahub_tests::{
    client::RegistryClient,
    control::ControlProcess,
    large::large,
    load::Load,
    parts::{Cluster, Dockerd},
    valve::Valve,
    wait::eventually,
};

const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_while_it_sends_a_layer_fails_no_pull() {
    let mut cluster = Cluster::start().await;
    let image = large(64);
    cluster
        .upstream
        .push_image("qnib/large", "v1", &image)
        .await;
    let valve = Valve::before(cluster.upstream.addr(), 16 * MIB).await;
    let url = format!("http://{}", valve.addr());
    cluster
        .admin
        .put_default_upstream("upstream.test", &url)
        .await;
    cluster.admin.all_current(2).await;
    let docker = Dockerd::start().await;
    let host = cluster.host();
    let login = &cluster.type1;
    docker.login(&host, &login.name, &login.secret).await.text();

    let workers = &mut cluster.workers;
    let kill = async {
        let port = valve.stuck().await;
        let busy = workers.iter_mut().find(|worker| worker.has_port(port));
        busy.expect("a worker asked the upstream").kill();
        valve.open();
    };
    let name = format!("{host}/qnib/large:v1");
    let (pulled, ()) = tokio::join!(docker.pull(&name), kill);

    pulled.text();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarting_each_worker_under_load_fails_no_pull() {
    let mut cluster = Cluster::start().await;
    let load = Load::start(&format!("http://{}", cluster.host()), "oci", &cluster.type1);

    for worker in &mut cluster.workers {
        load.goes_on().await;
        worker.restart().await;
        cluster.traefik.sees(worker.addr(), "UP").await;
    }
    load.goes_on().await;

    assert_eq!(load.stop().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_control_plane_fails_no_pull_and_changes_flow_once_it_is_back() {
    let cluster = Cluster::start().await;
    let load = Load::start(&format!("http://{}", cluster.host()), "oci", &cluster.type1);

    let place = cluster.control.kill();
    load.goes_on().await;
    let control = ControlProcess::start_at(place).await;
    let mut admin = control.place().admin();
    let login = admin.create_type("qnib", "type3", &["cpu:skylake"]).await;
    for worker in &cluster.workers {
        let client = RegistryClient::new(worker.addr(), &login);
        eventually("the worker serves the new type", async || {
            client.manifest(REPOSITORY, "oci").await.status() == 200
        })
        .await;
    }

    assert_eq!(load.stop().await, Vec::<String>::new());
}
