//! Who may call what.

use metahub_proto::{CALLS, admin::v1::Role};
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Status, client::Grpc, codegen::http::uri::PathAndQuery, transport::Endpoint,
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_prost::ProstCodec;

use crate::plane::Plane;

const ADMIN_SERVICES: &str = "/metahub.admin.v1.";

/// The calls that need no token.
const PUBLIC: [&str; 4] = [
    "/metahub.admin.v1.AccessService/GetAuthSettings",
    "/metahub.policy.v1.JoinService/Join",
    // Their messages carry a host token, or the secret of a host's login.
    "/metahub.policy.v1.HostService/Join",
    "/metahub.policy.v1.HostService/Report",
];

/// What viewers may call of the admin services.
const VIEWERS: [&str; 20] = [
    "HostsService/ListHostTokens",
    "HostsService/ListHosts",
    "HostsService/GetHost",
    "AuthorityService/GetAuthority",
    "AdminService/ListUsers",
    "AdminService/ListTypes",
    "AdminService/ListLogins",
    "AdminService/ListUpstreams",
    "AdminService/ListRules",
    "AdminService/ListPins",
    "AdminService/ListGrants",
    "AdminService/ListCpus",
    "AdminService/ListRecipes",
    "AdminService/ListWorkers",
    "AdminService/GetStatus",
    "AccessService/ListTokens",
    "AccessService/WhoAmI",
    "AuditService/Tail",
    "DeclarationService/Diff",
    "DeclarationService/Export",
];

/// What owners may call of them.
const OWNERS: [&str; 28] = [
    "HostsService/CreateHostToken",
    "HostsService/ListHostTokens",
    "HostsService/RevokeHostToken",
    "HostsService/ListHosts",
    "HostsService/GetHost",
    "HostsService/RemoveHost",
    "HostsService/MoveHost",
    "AdminService/ListUsers",
    "AdminService/CreateType",
    "AdminService/ListTypes",
    "AdminService/UpdateType",
    "AdminService/DeleteType",
    "AdminService/CreateLogin",
    "AdminService/RotateLogin",
    "AdminService/ListLogins",
    "AdminService/DeleteLogin",
    "AdminService/ListUpstreams",
    "AdminService/ListRules",
    "AdminService/PutPin",
    "AdminService/ListPins",
    "AdminService/DeletePin",
    "AdminService/PutGrant",
    "AdminService/ListGrants",
    "AdminService/DeleteGrant",
    "AdminService/ListCpus",
    "AdminService/ListWorkers",
    "AdminService/GetStatus",
    "AccessService/WhoAmI",
];

/// Calls with an empty message.
async fn answer(plane: &Plane, call: &str, token: Option<&str>) -> Result<(), Status> {
    let path = PathAndQuery::try_from(call).unwrap();
    let codec = ProstCodec::<(), ()>::default();
    let mut request = Request::new(());
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    let mut client = Grpc::new(plane.channel().await);
    client.ready().await.unwrap();
    client.unary(request, path, codec).await.map(|_| ())
}

/// The same, for the code only.
async fn code(plane: &Plane, call: &str, token: Option<&str>) -> Code {
    let answer = answer(plane, call, token).await;
    answer.map_or_else(|status| status.code(), |()| Code::Ok)
}

/// Whether the table of rules lets the call pass, whatever becomes of it.
async fn passes(plane: &Plane, call: &str, token: &str) -> bool {
    match answer(plane, call, Some(token)).await {
        Err(status) if status.code() == Code::Unauthenticated => false,
        Err(status) if status.code() == Code::PermissionDenied => {
            !status.message().contains(" is for ")
        }
        _ => true,
    }
}

fn short(call: &str) -> &str {
    call.strip_prefix(ADMIN_SERVICES).unwrap_or(call)
}

fn is_public(call: &str) -> bool {
    PUBLIC.contains(&call)
}

#[tokio::test]
async fn no_call_of_the_contract_is_answered_without_a_token() {
    let plane = Plane::start().await;

    for call in CALLS.iter().filter(|call| !is_public(call)) {
        for token in [None, Some("wrong"), Some("mh_adm_wrong")] {
            let code = code(&plane, call, token).await;

            assert_eq!(code, Code::Unauthenticated, "{call} with {token:?}");
        }
    }
}

#[tokio::test]
async fn each_role_may_call_what_it_is_for_and_nothing_else() {
    let plane = Plane::start().await;
    plane.create_user("qnib").await;
    let admin = plane.token("admin-token");
    let worker = plane.token("worker-token");
    let viewer = plane.create_token("viewer", Role::Viewer).await;
    let owner = plane.create_token("owner", Role::Owner).await;

    // A rollback to nothing takes the owner with it, so it comes last.
    let mut calls: Vec<_> = CALLS.iter().filter(|call| !is_public(call)).collect();
    calls.sort_by_key(|call| call.contains("DeclarationService"));
    for call in calls {
        let is_admins = call.starts_with(ADMIN_SERVICES);
        let cases = [
            ("admin", &admin, is_admins),
            ("worker", &worker, !is_admins),
            ("viewer", &viewer, VIEWERS.contains(&short(call))),
            ("owner", &owner, OWNERS.contains(&short(call))),
        ];
        for (role, token, expected) in cases {
            assert_eq!(
                passes(&plane, call, token).await,
                expected,
                "{call} by {role}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_public_needs_no_token() {
    let plane = Plane::start().await;

    for call in PUBLIC {
        let code = code(&plane, call, None).await;

        assert_ne!(code, Code::Unauthenticated, "{call}");
        assert_ne!(code, Code::PermissionDenied, "{call}");
    }
}

#[tokio::test]
async fn a_call_without_a_rule_is_refused_to_all() {
    let plane = Plane::start().await;

    let admin = plane.token("admin-token");
    for token in [None, Some(admin.as_str())] {
        let code = code(&plane, "/metahub.admin.v1.AdminService/DropAll", token).await;

        assert_eq!(code, Code::PermissionDenied);
    }
}

#[tokio::test]
async fn health_needs_no_token() {
    let plane = Plane::start().await;

    let mut client = HealthClient::new(plane.channel().await);
    let request = HealthCheckRequest {
        service: "metahub.policy.v1.PolicyService".into(),
    };
    let answer = client.check(request).await.unwrap().into_inner();

    assert_eq!(answer.status, 1, "SERVING");
}

#[tokio::test]
async fn plain_text_beyond_loopback_must_be_asked_for() {
    use clap::Parser;
    use metahub_control::{App, Config};

    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().to_str().unwrap();
    let arguments = [
        "control",
        "--grpc-addr",
        "0.0.0.0:0",
        "--data-dir",
        data_dir,
    ];

    let secured = App::bind(Config::parse_from(arguments)).await.unwrap();
    let url = format!("http://127.0.0.1:{}", secured.grpc_addr().port());
    let serving = tokio::spawn(secured.run(CancellationToken::new()));
    let mut health = HealthClient::new(Endpoint::from_shared(url).unwrap().connect_lazy());
    let answer = health.check(HealthCheckRequest::default()).await;
    serving.abort();
    let _ = serving.await;
    let asked = arguments
        .into_iter()
        .chain(["--insecure", "--store=memory"]);
    let plain = App::bind(Config::parse_from(asked)).await.unwrap();

    assert!(answer.is_err());
    assert_eq!(plain.fingerprint(), None);
}
