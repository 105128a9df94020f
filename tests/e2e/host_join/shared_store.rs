//! Hosts that join at several control planes with one etcd cluster.

use metahub_tests::{
    control::{ControlProcess, Place},
    ctl::Ctl,
    host::JoiningHosts,
    parts::Etcd,
    wait::eventually,
};
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_join_at_two_control_planes_share_the_uses_of_one_token() {
    let etcd = Etcd::start().await;
    let store = format!("--store={}", etcd.store());
    let one = ControlProcess::start_with(Place::fresh(), &[&store]).await;
    let twin = one.place().twin();
    let two = ControlProcess::start_with(twin, &[&store]).await;
    let mut admin = one.place().admin();
    admin.create_user("qnib").await;
    admin.create_type("qnib", "any", &[]).await;
    let create = ["host", "token", "create", "--user=qnib", "--uses=20"];
    let token = Ctl::at(one.place()).json(&create).await;
    let token = token["secret"].as_str().expect("a secret").to_owned();
    let listed = async |place: &Place| {
        let listed = Ctl::at(place).json(&["host", "list"]).await;
        listed.as_array().expect("a list").clone()
    };
    eventually("the other one knows the token", async || {
        let tokens = Ctl::at(two.place()).json(&["host", "token", "list"]).await;
        tokens.as_array().is_some_and(|it| it.len() == 1)
    })
    .await;

    let mut joins = JoinSet::new();
    for n in 0..24 {
        let place = [one.place(), two.place()][n % 2].clone();
        let hosts = JoiningHosts::new(&place, "http://127.0.0.1:1", &token);
        joins.spawn(async move {
            let login = hosts.login(&format!("node{n}"), "zen3", &[]).await;
            let joined = hosts.credential_file(&format!("node{n}")).exists();
            drop(login);
            joined
        });
    }
    let joined = joins.join_all().await.into_iter().filter(|it| *it).count();

    assert_eq!(joined, 20);
    for place in [one.place(), two.place()] {
        eventually("both know all hosts and what they are", async || {
            let listed = listed(place).await;
            let known = listed.iter().filter(|it| it["last_seen"].is_string());
            (listed.len(), known.count()) == (20, 20)
        })
        .await;
    }
}
