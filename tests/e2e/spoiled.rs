//! Changes that do not arrive as they were sent, at a whole worker.

use metahub_proto::admin::v1::{ListWorkersRequest, Worker as Listed};
use metahub_tests::{
    admin::{Admin, Login},
    client::RegistryClient,
    control::Control,
    relay::{Relay, Spoil},
    wait::eventually,
    worker::Worker,
};

/// A worker behind a relay, and a login that it serves.
struct Stage {
    relay: Relay,
    worker: Worker,
    admin: Admin,
    login: Login,
    _control: Control,
}

impl Stage {
    async fn start() -> Self {
        let control = Control::start().await;
        let relay = Relay::before(control.place()).await;
        let worker = Worker::start(relay.place()).await;
        let mut admin = control.place().admin();
        admin.create_user("qnib").await;
        let login = admin.create_type("qnib", "first", &["cpu:skylake"]).await;
        admin.all_current(1).await;
        let stage = Self {
            relay,
            worker,
            admin,
            login,
            _control: control,
        };
        assert!(stage.serves(&stage.login).await);
        stage
    }

    async fn serves(&self, login: &Login) -> bool {
        let client = RegistryClient::new(self.worker.addr(), login);
        client.get("/v2/").await.status() == 200
    }

    async fn listed(&mut self) -> Listed {
        let listed = self
            .admin
            .client()
            .list_workers(ListWorkersRequest {})
            .await;
        let workers = listed.expect("workers are listed").into_inner().workers;
        workers.into_iter().next().expect("there is one")
    }
}

#[tokio::test]
async fn a_change_that_cannot_be_read_is_rejected_and_shown_until_the_next() {
    let mut stage = Stage::start().await;
    let before = stage.listed().await.applied;

    stage.relay.spoil(Spoil::Unreadable);
    let second = stage
        .admin
        .create_type("qnib", "second", &["cpu:zen4"])
        .await;
    eventually("the rejection is listed", async || {
        !stage.listed().await.rejected_reason.is_empty()
    })
    .await;

    assert_eq!(stage.listed().await.applied, before);
    assert!(stage.serves(&stage.login).await);
    assert!(!stage.serves(&second).await);
    let third = stage
        .admin
        .create_type("qnib", "third", &["cpu:zen4"])
        .await;
    stage.admin.all_current(1).await;
    assert_eq!(stage.listed().await.rejected_reason, "");
    for login in [&stage.login, &second, &third] {
        assert!(stage.serves(login).await, "{}", login.name);
    }
}

#[tokio::test]
async fn a_change_that_loses_a_record_is_noticed_and_healed() {
    let mut stage = Stage::start().await;

    stage.relay.spoil(Spoil::LosesRecord);
    let second = stage
        .admin
        .create_type("qnib", "second", &["cpu:zen4"])
        .await;
    stage.admin.all_current(1).await;

    assert!(stage.serves(&second).await);
    let listed = stage.listed().await;
    assert_eq!((listed.mismatches, listed.mismatch.as_str()), (1, ""));
}
