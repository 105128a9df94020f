//! Who may call what.

use metahub_proto::CALLS;
use tonic::{Code, Request, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_prost::ProstCodec;

use crate::plane::{Bearer, Plane};

const ADMIN_SERVICES: &str = "/metahub.admin.v1.";

async fn answer(plane: &Plane, call: &str, token: Option<String>) -> Code {
    let path = PathAndQuery::try_from(call).unwrap();
    let codec = ProstCodec::<(), ()>::default();
    let channel = plane.channel().await;
    let answer = match token {
        Some(token) => {
            let mut client = Grpc::new(tonic::service::interceptor::InterceptedService::new(
                channel,
                Bearer(token),
            ));
            client.ready().await.unwrap();
            client.unary(Request::new(()), path, codec).await
        }
        None => {
            let mut client = Grpc::new(channel);
            client.ready().await.unwrap();
            client.unary(Request::new(()), path, codec).await
        }
    };
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[tokio::test]
async fn no_call_of_the_contract_is_answered_without_a_token() {
    let plane = Plane::start().await;

    for call in CALLS {
        for token in [None, Some("wrong".to_owned())] {
            let code = answer(&plane, call, token.clone()).await;

            assert_eq!(code, Code::Unauthenticated, "{call} with {token:?}");
        }
    }
}

#[tokio::test]
async fn no_call_is_answered_to_one_whom_it_is_not_for() {
    let plane = Plane::start().await;

    for call in CALLS {
        let token_of_the_others = match call.starts_with(ADMIN_SERVICES) {
            true => plane.token("worker-token"),
            false => plane.token("admin-token"),
        };
        let code = answer(&plane, call, Some(token_of_the_others)).await;

        assert_eq!(code, Code::PermissionDenied, "{call}");
    }
}

#[tokio::test]
async fn a_call_without_a_rule_is_refused_to_all() {
    let plane = Plane::start().await;

    for token in [None, Some(plane.token("admin-token"))] {
        let code = answer(&plane, "/metahub.admin.v1.AdminService/DropAll", token).await;

        assert_eq!(code, Code::PermissionDenied);
    }
}

#[tokio::test]
async fn a_call_with_its_token_is_answered() {
    let plane = Plane::start().await;

    let token = plane.token("admin-token");
    let code = answer(
        &plane,
        "/metahub.admin.v1.AdminService/GetStatus",
        Some(token),
    )
    .await;

    assert_eq!(code, Code::Ok);
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

    let refused = App::bind(Config::parse_from(arguments)).await.unwrap_err();
    let asked = arguments.into_iter().chain(["--insecure"]);
    let accepted = App::bind(Config::parse_from(asked)).await;

    assert!(refused.to_string().contains("--insecure"), "{refused}");
    assert!(accepted.is_ok());
}
