//! A connection to a control plane that says in plain words when something else
//! answers: a proxy, a balancer, a web server.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use tonic::{
    Code, Status,
    body::Body,
    transport::{self, Channel},
};
use tower::Service;

/// A channel of gRPC whose answers are checked before they are read as such.
#[derive(Clone, Debug)]
pub struct GrpcChannel(Channel);

impl From<Channel> for GrpcChannel {
    fn from(channel: Channel) -> Self {
        Self(channel)
    }
}

impl Service<Request<Body>> for GrpcChannel {
    type Response = Response<Body>;
    type Error = transport::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, transport::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), transport::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move { Ok(checked(answer.await?)) })
    }
}

/// The answer itself if it is one of gRPC, else one that says what it is.
fn checked(answer: Response<Body>) -> Response<Body> {
    let content = answer.headers().get(CONTENT_TYPE);
    let is_grpc = content.is_some_and(|it| it.as_bytes().starts_with(b"application/grpc"));
    match is_grpc || answer.headers().contains_key("grpc-status") {
        true => answer,
        false => foreign(answer.status()).into_http(),
    }
}

/// What an answer of HTTP alone means.
fn foreign(status: StatusCode) -> Status {
    let (code, why) = match status {
        StatusCode::PAYLOAD_TOO_LARGE => (
            Code::InvalidArgument,
            "a proxy before the control plane takes no request of this size: raise its limit",
        ),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => (
            Code::InvalidArgument,
            "the token is too large for what takes it: have the issuer name fewer groups, or raise \
             the proxy's limit for headers",
        ),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            (
                Code::Unavailable,
                "a proxy before the control plane does not reach it",
            )
        }
        StatusCode::TOO_MANY_REQUESTS => (
            Code::Unavailable,
            "a proxy before the control plane takes no more requests for now",
        ),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (
            Code::PermissionDenied,
            "a proxy before the control plane lets this request not pass",
        ),
        _ => (
            Code::Unavailable,
            "what answers is no control plane, or a proxy that does not pass gRPC on",
        ),
    };
    Status::new(code, format!("{why} (HTTP {status})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, content: &str) -> Option<Status> {
        let answer = Response::builder().status(status);
        let answer = answer.header(CONTENT_TYPE, content).body(Body::empty());
        Status::from_header_map(checked(answer.unwrap()).headers())
    }

    #[test]
    fn a_page_of_a_proxy_is_told_in_plain_words() {
        for status in [413, 431, 502, 503, 403, 200, 404] {
            let told = answered(status, "text/html").expect("it is an error");

            assert!(told.message().contains("prox"), "{told}");
            assert!(told.message().contains(&status.to_string()), "{told}");
        }
    }

    #[test]
    fn an_answer_of_grpc_is_left_alone() {
        assert!(answered(200, "application/grpc+proto").is_none());
    }
}
