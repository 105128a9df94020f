//! What owners and holders of admin tokens may do.

use metahub_proto::{
    admin::v1::{
        CreateLoginRequest, CreateTokenRequest, CreateTypeRequest, DeleteGrantRequest,
        DeleteLoginRequest, DeletePinRequest, DeleteTypeRequest, ListGrantsRequest,
        ListLoginsRequest, ListPinsRequest, ListTokensRequest, ListTypesRequest, ListUsersRequest,
        PutGrantRequest, PutPinRequest, RevokeTokenRequest, Role, RotateLoginRequest, TailRequest,
        UpdateTypeRequest, WhoAmIRequest, admin_service_client::AdminServiceClient,
    },
    policy::v1::{Grant, Pin},
};
use tonic::{Code, Response, Status};

use crate::plane::{Authorised, Plane, in_time, machine_type};

/// The users `qnib` and `moby` with a type, a login, a pin and a grant each,
/// and an owner of `qnib` who may grant what is within `ghcr.io/acme/`.
async fn plane() -> (Plane, AdminServiceClient<Authorised>) {
    let plane = Plane::start().await;
    let mut admin = plane.admin().await;
    for user in ["qnib", "moby"] {
        plane.create_user(user).await;
        plane.create_type(user, "type1").await;
        admin.put_pin(pin(user)).await.unwrap();
        let all = grant(user, "ghcr.io/**");
        admin.put_grant(all).await.unwrap();
    }
    let request = CreateTokenRequest {
        name: "owner".into(),
        role: Role::Owner.into(),
        user: "qnib".into(),
        grantable: vec!["ghcr.io/acme/**".into()],
        lifetime_secs: 0,
    };
    let secret = plane.create_token_as(request).await;
    let owner = plane.admin_with(&secret).await;
    (plane, owner)
}

fn pin(user: &str) -> PutPinRequest {
    let pin = Some(Pin {
        user: user.into(),
        machine_type: "type1".into(),
        repository: "qnib/bench".into(),
        digest: format!("sha256:{}", "ab".repeat(32)),
    });
    PutPinRequest { pin }
}

fn a_grant(user: &str, repository: &str) -> Option<Grant> {
    Some(Grant {
        user: user.into(),
        repository: repository.into(),
        all_users: user.is_empty(),
    })
}

fn grant(user: &str, repository: &str) -> PutGrantRequest {
    PutGrantRequest {
        grant: a_grant(user, repository),
    }
}

fn code<T>(answer: Result<Response<T>, Status>) -> Code {
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

/// The codes of every call that changes what belongs to `user`.
async fn changes(
    api: &mut AdminServiceClient<Authorised>,
    user: &str,
) -> Vec<(&'static str, Code)> {
    let (user, name) = (user.to_owned(), "type1".to_owned());
    let login = format!("{user}-type1");
    let update = UpdateTypeRequest {
        machine_type: Some(machine_type(&user, &name)),
    };
    let create = CreateTypeRequest {
        machine_type: Some(machine_type(&user, "type2")),
        ..Default::default()
    };
    let delete_pin = DeletePinRequest {
        user: user.clone(),
        machine_type: name.clone(),
        repository: "qnib/bench".into(),
    };
    let create_login = CreateLoginRequest {
        user: user.clone(),
        machine_type: name.clone(),
        allow_selectors: false,
        name: String::new(),
    };
    let rotate = RotateLoginRequest {
        name: login.clone(),
    };
    let within = a_grant(&user, "ghcr.io/acme/app");
    vec![
        ("CreateType", code(api.create_type(create).await)),
        ("UpdateType", code(api.update_type(update).await)),
        ("RotateLogin", code(api.rotate_login(rotate).await)),
        (
            "DeleteLogin",
            code(api.delete_login(DeleteLoginRequest { name: login }).await),
        ),
        ("CreateLogin", code(api.create_login(create_login).await)),
        ("PutPin", code(api.put_pin(pin(&user)).await)),
        ("DeletePin", code(api.delete_pin(delete_pin).await)),
        (
            "PutGrant",
            code(api.put_grant(grant(&user, "ghcr.io/acme/app")).await),
        ),
        (
            "DeleteGrant",
            code(api.delete_grant(DeleteGrantRequest { grant: within }).await),
        ),
        (
            "DeleteType",
            code(api.delete_type(DeleteTypeRequest { user, name }).await),
        ),
    ]
}

#[tokio::test]
async fn an_owner_changes_all_that_belongs_to_its_user() {
    let (_plane, mut owner) = plane().await;

    for (call, code) in changes(&mut owner, "qnib").await {
        assert_eq!(code, Code::Ok, "{call}");
    }
}

#[tokio::test]
async fn an_owner_changes_nothing_that_belongs_to_another_user() {
    let (plane, mut owner) = plane().await;
    let before = plane.catalog.revision();

    for (call, code) in changes(&mut owner, "moby").await {
        assert_eq!(code, Code::PermissionDenied, "{call}");
    }

    assert_eq!(plane.catalog.revision(), before);
}

#[tokio::test]
async fn an_owner_does_not_learn_whether_another_user_has_a_login() {
    let (_plane, mut owner) = plane().await;

    for name in ["moby-type1", "moby-none", "nobody-none"] {
        let request = RotateLoginRequest { name: name.into() };
        let refused = owner.rotate_login(request).await;

        assert_eq!(code(refused), Code::PermissionDenied, "{name}");
    }
}

#[tokio::test]
async fn an_owner_grants_no_more_than_the_admin_allowed() {
    let (_plane, mut owner) = plane().await;

    for (user, repository) in [
        ("qnib", "ghcr.io/other/app"),
        ("qnib", "ghcr.io/**"),
        ("qnib", "**"),
        ("", "ghcr.io/acme/app"),
    ] {
        let refused = owner.put_grant(grant(user, repository)).await;

        assert_eq!(code(refused), Code::PermissionDenied, "{user} {repository}");
    }
}

#[tokio::test]
async fn an_owners_lists_show_its_own_user_only() {
    let (_plane, mut owner) = plane().await;

    let users = owner.list_users(ListUsersRequest {}).await.unwrap();
    let all_users = String::new;
    let types = ListTypesRequest { user: all_users() };
    let types = owner.list_types(types).await.unwrap();
    let logins = ListLoginsRequest { user: all_users() };
    let logins = owner.list_logins(logins).await.unwrap();
    let pins = owner.list_pins(ListPinsRequest {}).await.unwrap();
    let grants = owner.list_grants(ListGrantsRequest {}).await.unwrap();

    let users: Vec<String> = [
        users
            .into_inner()
            .users
            .into_iter()
            .map(|it| it.name)
            .collect::<Vec<_>>(),
        types
            .into_inner()
            .machine_types
            .into_iter()
            .map(|it| it.user)
            .collect(),
        logins
            .into_inner()
            .logins
            .into_iter()
            .map(|it| it.user)
            .collect(),
        pins.into_inner()
            .pins
            .into_iter()
            .map(|it| it.user)
            .collect(),
        grants
            .into_inner()
            .grants
            .into_iter()
            .map(|it| it.user)
            .collect(),
    ]
    .concat();
    assert_eq!(users, ["qnib"; 5]);
}

#[tokio::test]
async fn a_token_shows_its_secret_once_and_its_use() {
    let plane = Plane::start().await;
    let secret = plane.create_token("ci", Role::Viewer).await;
    let mut with_it = plane.access_with(&secret).await;

    let who = with_it
        .who_am_i(WhoAmIRequest {})
        .await
        .unwrap()
        .into_inner();
    let listed = with_it.list_tokens(ListTokensRequest {}).await.unwrap();

    assert_eq!((who.name.as_str(), who.role()), ("ci", Role::Viewer));
    let tokens = listed.into_inner().tokens;
    assert!(tokens[0].last_used_unix_secs > 0);
    assert_eq!(tokens[0].created_by, "bootstrap");
    assert!(!format!("{tokens:?}").contains(&secret));
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_and_told_what_to_do() {
    let plane = Plane::start().await;
    let secret = plane.create_token("ci", Role::Admin).await;
    let mut with_it = plane.access_with(&secret).await;
    with_it.who_am_i(WhoAmIRequest {}).await.unwrap();

    let revoke = RevokeTokenRequest { name: "ci".into() };
    plane.access().await.revoke_token(revoke).await.unwrap();

    let refused = with_it.who_am_i(WhoAmIRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(
        refused.message().contains("metahubctl token create"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_stream_ends_when_its_token_is_revoked() {
    let plane = Plane::start().await;
    let secret = plane.create_token("ci", Role::Viewer).await;
    let follow = TailRequest {
        follow: true,
        ..Default::default()
    };
    let mut audit = plane.audit_with(&secret).await;
    let mut stream = audit.tail(follow).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();

    let revoke = RevokeTokenRequest { name: "ci".into() };
    plane.access().await.revoke_token(revoke).await.unwrap();

    let end = in_time(async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return Code::Ok,
                Err(status) => return status.code(),
            }
        }
    });
    assert_eq!(end.await, Code::Unauthenticated);
}

#[tokio::test]
async fn a_token_lasts_over_a_restart() {
    let plane = Plane::start().await;
    let secret = plane.create_token("ci", Role::Viewer).await;
    let (addr, dir) = plane.stop().await;

    let plane = Plane::start_at(&addr, dir).await;

    let mut with_it = plane.access_with(&secret).await;
    assert!(with_it.who_am_i(WhoAmIRequest {}).await.is_ok());
}
