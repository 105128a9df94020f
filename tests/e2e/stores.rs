//! A store that is gone, and what a control plane and its workers make of it.

use clap::Parser as _;
use metahub_control::{App, Config};
use metahub_tests::{
    client::RegistryClient,
    control::{Control, Place},
    wait::eventually,
    worker::Worker,
};

async fn bind(place: &Place, flags: &[&str]) -> anyhow::Result<App> {
    let own = [
        "metahub-control".to_owned(),
        "--grpc-addr=127.0.0.1:0".to_owned(),
        format!("--data-dir={}", place.dir().display()),
    ];
    let flags = flags.iter().map(|flag| (*flag).to_owned());
    App::bind(Config::parse_from(own.into_iter().chain(flags))).await
}

fn lose_the_database(place: &Place) {
    for file in ["metahub.db", "metahub.db-wal", "metahub.db-shm"] {
        let _ = std::fs::remove_file(place.dir().join(file));
    }
}

#[tokio::test]
async fn a_control_plane_does_not_begin_anew_where_its_database_is_gone() {
    let place = Control::start().await.stop().await;
    lose_the_database(&place);

    let missing = bind(&place, &[]).await.err().map(|it| format!("{it:#}"));
    std::fs::write(place.dir().join("metahub.db"), "").unwrap();
    let empty = bind(&place, &[]).await.err().map(|it| format!("{it:#}"));

    for refused in [missing, empty] {
        let refused = refused.expect("it is refused");
        assert!(refused.contains("--start-anew"), "{refused}");
    }
    assert!(bind(&place, &["--start-anew"]).await.is_ok());
}

#[tokio::test]
async fn workers_serve_on_when_the_control_plane_has_lost_its_store() {
    let control = Control::start().await;
    let mut admin = control.place().admin();
    admin.create_user("qnib").await;
    let login = admin.create_type("qnib", "type1", &["cpu:skylake"]).await;
    let worker = Worker::start(control.place()).await;
    let place = control.stop().await;
    lose_the_database(&place);

    let control = Control::start_at(place.with(&["--start-anew"])).await;
    let mut admin = control.place().admin();
    let rejected = async || {
        let workers = admin.workers().await;
        workers
            .iter()
            .any(|it| it.rejected_reason.contains("no login"))
    };
    eventually("the worker rejects the empty policy", rejected).await;

    let host = RegistryClient::new(worker.addr(), &login);
    assert_eq!(host.get("/v2/").await.status(), 200);
    let mut admin = control.place().admin();
    admin.create_user("moby").await;
    let new = admin.create_type("moby", "type1", &["cpu:skylake"]).await;
    admin.all_current(1).await;
    let host = RegistryClient::new(worker.addr(), &new);
    assert_eq!(host.get("/v2/").await.status(), 200);
}

#[tokio::test]
async fn a_database_that_is_removed_while_it_is_open_takes_no_change() {
    let control = Control::start().await;
    let mut admin = control.place().admin();
    admin.create_user("qnib").await;

    lose_the_database(control.place());

    let request = metahub_proto::admin::v1::CreateUserRequest {
        name: "moby".into(),
        password: String::new(),
    };
    let refused = admin.client().create_user(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable);
}
