//! What admins are told, on the wire.

use metahub_proto::{
    admin::v1::{
        CreateTypeRequest, CreateUserRequest, DeleteUpstreamRequest, GetStatusRequest,
        ListLoginsRequest, ListTypesRequest, PutRuleRequest, UpdateTypeRequest,
    },
    policy::v1::{MatchMode, Rule, RuleMatch},
};
use tonic::Code;

use crate::plane::{Plane, machine_type};

#[tokio::test]
async fn a_type_comes_back_with_its_defaults_filled_in() {
    let plane = Plane::start().await;
    plane.create_user("qnib").await;

    let request = CreateTypeRequest {
        machine_type: Some(machine_type("qnib", "type1")),
        without_login: true,
        ..Default::default()
    };
    let created = plane.admin().await.create_type(request).await;

    let created = created.unwrap().into_inner();
    assert_eq!(created.login, None);
    let machine_type = created.machine_type.unwrap();
    assert_eq!(machine_type.os, "linux");
    assert_eq!(machine_type.r#match(), MatchMode::Best);
    assert_ne!(machine_type.r#match, 0);
}

#[tokio::test]
async fn lists_can_be_of_one_user() {
    let plane = Plane::start().await;
    for user in ["qnib", "moby"] {
        plane.create_user(user).await;
        plane.create_type(user, "type1").await;
    }

    let mut admin = plane.admin().await;
    let types = admin.list_types(ListTypesRequest {
        user: "moby".into(),
    });
    let types = types.await.unwrap().into_inner().machine_types;
    let logins = admin.list_logins(ListLoginsRequest {
        user: String::new(),
    });
    let logins = logins.await.unwrap().into_inner().logins;

    assert_eq!(types.len(), 1);
    assert_eq!(types[0].user, "moby");
    let names: Vec<&str> = logins.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["moby-type1", "qnib-type1"]);
}

#[tokio::test]
async fn refusals_say_what_to_change_under_their_own_code() {
    let plane = Plane::start().await;
    plane.create_user("qnib").await;
    let mut admin = plane.admin().await;
    let user = |name: &str| CreateUserRequest {
        name: name.into(),
        password: String::new(),
    };

    let bad_name = admin.create_user(user("qnib-lab")).await.unwrap_err();
    let twice = admin.create_user(user("qnib")).await.unwrap_err();
    let missing = admin.update_type(UpdateTypeRequest {
        machine_type: Some(machine_type("qnib", "type9")),
    });
    let missing = missing.await.unwrap_err();
    let blocked = admin.delete_upstream(DeleteUpstreamRequest {
        name: "docker.io".into(),
    });
    let blocked = blocked.await.unwrap_err();

    assert_eq!(bad_name.code(), Code::InvalidArgument);
    assert!(bad_name.message().starts_with("name: "), "{bad_name}");
    assert_eq!(twice.code(), Code::AlreadyExists);
    assert!(twice.message().contains("`qnib`"), "{twice}");
    assert_eq!(missing.code(), Code::NotFound);
    assert_eq!(blocked.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn an_enumeration_that_is_not_known_is_refused() {
    let plane = Plane::start().await;
    plane.create_user("qnib").await;

    let mut newer = machine_type("qnib", "type1");
    newer.present = 99;
    let request = CreateTypeRequest {
        machine_type: Some(newer),
        ..Default::default()
    };
    let refused = plane.admin().await.create_type(request).await;

    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_rule_keeps_the_difference_between_any_and_none() {
    let plane = Plane::start().await;
    let mut admin = plane.admin().await;
    let rule = Rule {
        name: "almalinux-v3".into(),
        repository: "almalinux/*".into(),
        tag: String::new(),
        r#match: Some(RuleMatch {
            architecture: Some("amd64".into()),
            variant: Some(String::new()),
            ..Default::default()
        }),
        requires: vec!["cpu:x86_64_v3".into()],
    };

    let request = PutRuleRequest {
        rule: Some(rule.clone()),
    };
    admin.put_rule(request).await.unwrap();

    let listed = admin.list_rules(metahub_proto::admin::v1::ListRulesRequest {});
    assert_eq!(listed.await.unwrap().into_inner().rules, [rule]);
}

#[tokio::test]
async fn the_status_counts_what_there_is() {
    let plane = Plane::start().await;
    plane.create_user("qnib").await;
    plane.create_type("qnib", "type1").await;
    let mut follower = plane.follow("w1", None).await;
    let revision = follower.snapshot().await.revision;
    follower.applied(revision).await;
    plane.until_worker(|it| it.applied.is_some()).await;

    let status = plane.admin().await.get_status(GetStatusRequest {}).await;

    let status = status.unwrap().into_inner();
    assert_eq!(status.revision, Some(revision));
    assert_eq!(
        (status.users, status.machine_types, status.logins),
        (1, 1, 1)
    );
    assert_eq!((status.workers_connected, status.workers_current), (1, 1));
}
