//! What `deploy/` ships, on a real docker engine: the image's last stage around
//! the binaries under test, and the compose file as it is.

mod images;
mod stack;

use self::stack::Stack;

#[tokio::test]
async fn two_types_run_different_variants_pulled_from_a_composed_metahub() {
    let stack = Stack::up().await;

    let type1 = stack.run_as("type1").await;
    let type2 = stack.run_as("type2").await;

    assert_eq!(type1, stack.message_for("cpu:broadwell"));
    assert_eq!(type2, stack.message_for("cpu:skylake"));
}

#[tokio::test]
async fn no_pull_fails_while_workers_come_and_go() {
    let stack = Stack::up().await;
    stack.log_in_as("type1").await;

    let pulls = stack
        .pull_while(async {
            stack.scale_workers(3).await;
            stack.scale_workers(1).await;
        })
        .await;

    assert!(pulls > 2, "only {pulls} pulls: too few to say anything");
}

#[tokio::test]
async fn a_composed_metahub_serves_pulls_while_its_control_plane_is_stopped() {
    let stack = Stack::up().await;

    stack.compose(&["stop", "control"]).await;

    let type1 = stack.run_as("type1").await;
    assert_eq!(type1, stack.message_for("cpu:broadwell"));
}

#[tokio::test]
async fn docker_asks_for_its_token_where_it_has_no_certificate_to_verify() {
    let stack = Stack::up_with(&["METAHUB_CHALLENGE=bearer"]).await;

    let type1 = stack.run_as("type1").await;

    assert_eq!(type1, stack.message_for("cpu:broadwell"));
    let log = stack.compose(&["logs", "--no-color", "traefik"]).await;
    let asked: Vec<&str> = log
        .lines()
        .filter(|it| it.contains("\"GET /token"))
        .collect();
    assert!(!asked.is_empty(), "no token was asked for:\n{log}");
    for line in asked {
        assert!(
            line.contains("\"metahub@docker\""),
            "asked over TLS: {line}"
        );
    }
}
