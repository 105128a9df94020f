//! Who may call what.

use std::{fs, path::Path};

use tonic::{Code, Request, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_prost::ProstCodec;

use crate::plane::{Bearer, Plane};

/// Every call of the contract, as `/package.Service/Call`, read from the
/// `.proto` files so that a new one is tested too.
fn calls_of(proto: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/metahub");
    let text = fs::read_to_string(root.join(proto)).unwrap();
    let (mut package, mut service, mut calls) = ("", "", Vec::new());
    for line in text.lines().map(str::trim) {
        let words: Vec<&str> = line.split([' ', ';', '(', '{']).collect();
        match words[..] {
            ["package", name, ..] => package = name,
            ["service", name, ..] => service = name,
            ["rpc", name, ..] => calls.push(format!("/{package}.{service}/{name}")),
            _ => {}
        }
    }
    calls
}

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
async fn no_call_of_the_contract_is_answered_without_its_token() {
    let plane = Plane::start().await;
    let admin_calls = calls_of("admin/v1/admin.proto");
    let worker_calls = calls_of("policy/v1/policy.proto");
    assert!(admin_calls.len() >= 26 && worker_calls.len() >= 3);

    let cases = [
        (&admin_calls, plane.token("worker-token")),
        (&worker_calls, plane.token("admin-token")),
    ];
    for (calls, token_of_the_others) in cases {
        for call in calls {
            let tokens = [
                None,
                Some("wrong".into()),
                Some(token_of_the_others.clone()),
            ];
            for token in tokens {
                let code = answer(&plane, call, token.clone()).await;
                assert_eq!(code, Code::Unauthenticated, "{call} with {token:?}");
            }
        }
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
