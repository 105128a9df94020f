//! Answers one request, by the proxy itself or by the balancer.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header::HOST, request::Parts};
use http_body_util::Empty;
use hyper::body::Incoming;
use tracing::debug;

use super::{
    Config, answer,
    balancer::{Balancer, error_chain},
    body::Body,
    credential_file::CredentialFile,
    headers::{self, API_VERSION, is_local},
};

/// The time limit for the balancer's readiness response.
const READINESS_TIMEOUT: Duration = Duration::from_secs(5);

/// Forwards requests to the balancer.
pub(super) struct Forward {
    credential: CredentialFile,
    answer_timeout: Duration,
    stall_timeout: Duration,
}

/// The listener that a request arrived at.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    /// A TCP port, with its upstream if it has one.
    Tcp(Option<Box<str>>),
    /// The unix socket, which web pages cannot reach.
    Unix,
}

impl Forward {
    /// Reads the credential file from the settings.
    pub(super) fn new(config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            credential: CredentialFile::open(config)?,
            answer_timeout: config.answer_timeout,
            stall_timeout: config.stall_timeout,
        })
    }

    /// Answers a request.
    pub(super) async fn answer(&self, request: Request<Incoming>, entry: &Entry) -> Response<Body> {
        let (request, _) = request.into_parts();
        let (method, path) = (request.method.clone(), request.uri.path().to_owned());
        let response = match refusal(&request, entry) {
            Some(refusal) => refusal,
            None if path == "/readyz" => self.readiness().await,
            None if matches!(&*path, "/v2" | "/v2/") => answer::base(),
            None => self.forward(request, entry).await,
        };
        debug!(%method, path, "answered {}", response.status().as_u16());
        response
    }

    async fn forward(&self, request: Parts, entry: &Entry) -> Response<Body> {
        let request = outgoing(request, entry);
        let balancer = self.credential.balancer();
        let mut answered = balancer.send(request.clone(), self.answer_timeout).await;
        let mut balancer = balancer;
        if answered
            .as_ref()
            .is_ok_and(|it| it.status() == StatusCode::UNAUTHORIZED)
        {
            // The credential may have been replaced in the meantime.
            let now = self.credential.balancer();
            if !now.has_credential_of(&balancer) {
                answered = now.send(request, self.answer_timeout).await;
                balancer = now;
            }
        }
        match answered {
            Ok(response) => self.passed(response, &balancer),
            Err(error) => {
                let why = format!("{}: {}", balancer.origin(), error_chain(&error));
                answer::unavailable(&why)
            }
        }
    }

    fn passed(&self, response: Response<Incoming>, balancer: &Balancer) -> Response<Body> {
        let origin = balancer.origin();
        let is_workers = response.headers().contains_key(API_VERSION);
        match response.status() {
            StatusCode::UNAUTHORIZED => return answer::login_refused(origin),
            StatusCode::NOT_FOUND if !is_workers => {
                let why = format!(
                    "{origin} answers, but no worker behind it does: is it the workers' address?"
                );
                return answer::unavailable(&why);
            }
            _ => {}
        }
        let limit = self.stall_timeout;
        let mut response = response.map(|body| Body::passed(body, limit));
        headers::keep_answer(response.headers_mut());
        response
    }

    /// The readiness: whether the workers accept this host's login.
    async fn readiness(&self) -> Response<Body> {
        let balancer = self.credential.balancer();
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = Uri::from_static("/v2/");
        match balancer.send(request, READINESS_TIMEOUT).await {
            Ok(response) if response.status() == StatusCode::OK => answer::base(),
            Ok(response) if response.status() == StatusCode::UNAUTHORIZED => {
                answer::login_refused(balancer.origin())
            }
            Ok(response) => {
                let (origin, status) = (balancer.origin(), response.status());
                answer::unavailable(&format!("{origin} answers {status}"))
            }
            Err(error) => {
                let (origin, why) = (balancer.origin(), error_chain(&error));
                answer::unavailable(&format!("{origin}: {why}"))
            }
        }
    }
}

/// The proxy's own response to a request that is not forwarded.
fn refusal(request: &Parts, entry: &Entry) -> Option<Response<Body>> {
    let path = request.uri.path();
    let host = request.headers.get(HOST);
    let is_foreign = || {
        let host = host.map(|it| it.to_str().unwrap_or("."));
        !is_local(host.unwrap_or_default())
    };
    let lower_case = || path.to_ascii_lowercase();
    if matches!(entry, Entry::Tcp(_)) && is_foreign() {
        Some(answer::foreign_host())
    } else if !matches!(request.method, Method::GET | Method::HEAD) {
        Some(answer::read_only())
    } else if path != "/readyz" && path != "/v2" && !path.starts_with("/v2/") {
        Some(answer::no_endpoint())
    } else if path.contains("/.") || (path.contains('%') && lower_case().contains("/%2e")) {
        Some(answer::invalid_name())
    } else {
        None
    }
}

/// The request to forward, without the host's credential.
fn outgoing(mut request: Parts, entry: &Entry) -> Request<Empty<Bytes>> {
    headers::keep_request(&mut request.headers);
    let mut outgoing = Request::new(Empty::new());
    *outgoing.method_mut() = request.method;
    *outgoing.uri_mut() = target(&request.uri, entry);
    *outgoing.headers_mut() = request.headers;
    outgoing
}

/// The original path and query, with the port's upstream as `ns` unless the
/// engine sends an `ns`.
fn target(uri: &Uri, entry: &Entry) -> Uri {
    let (path, query) = (uri.path(), uri.query());
    let has_namespace = || {
        let mut pairs = query.unwrap_or_default().split('&');
        pairs.any(|pair| pair == "ns" || pair.starts_with("ns="))
    };
    let text = match (entry, query) {
        (Entry::Tcp(Some(upstream)), query) if !has_namespace() => {
            let separator = if query.is_some() { "&" } else { "" };
            let query = query.unwrap_or_default();
            format!("{path}?{query}{separator}ns={upstream}")
        }
        (_, Some(query)) => format!("{path}?{query}"),
        (_, None) => path.to_owned(),
    };
    // The parts come from a parsed target, and an upstream's host has no other
    // characters: parsing cannot fail.
    text.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(uri: &str, entry: &Entry) -> String {
        target(&uri.parse().unwrap(), entry).to_string()
    }

    #[test]
    fn a_port_of_an_upstream_names_it_unless_the_engine_does() {
        let entry = Entry::Tcp(Some("ghcr.io".into()));

        for (given, wanted) in [
            ("/v2/a/tags/list", "/v2/a/tags/list?ns=ghcr.io"),
            ("/v2/a/tags/list?n=5", "/v2/a/tags/list?n=5&ns=ghcr.io"),
            ("/v2/a/tags/list?ns=quay.io", "/v2/a/tags/list?ns=quay.io"),
            ("/v2/a/tags/list?ans=1", "/v2/a/tags/list?ans=1&ns=ghcr.io"),
        ] {
            assert_eq!(sent(given, &entry), wanted);
        }
    }

    #[test]
    fn the_target_goes_on_as_it_was_sent() {
        for entry in [Entry::Tcp(None), Entry::Unix] {
            for target in [
                "/v2/a%3Ab/manifests/c?ns=docker.io&x=%20",
                "/v2/a/b?",
                "/v2//",
            ] {
                assert_eq!(sent(target, &entry), target);
            }
        }
    }

    #[test]
    fn an_absolute_target_leads_to_the_balancer_all_the_same() {
        let sent = sent("http://evil.example/v2/a/tags/list?x", &Entry::Tcp(None));

        assert_eq!(sent, "/v2/a/tags/list?x");
    }

    fn refused(method: Method, uri: &str, host: &str, entry: &Entry) -> u16 {
        let request = Request::builder().method(method).uri(uri);
        let request = request.header(HOST, host).body(()).unwrap();
        let refusal = refusal(&request.into_parts().0, entry);
        refusal.map_or(0, |it| it.status().as_u16())
    }

    #[test]
    fn only_reads_of_the_api_by_local_engines_go_on() {
        let (tcp, local) = (Entry::Tcp(None), "127.0.0.1:5000");

        for (method, uri, host, status) in [
            (Method::GET, "/v2/a/manifests/b", local, 0),
            (Method::HEAD, "/v2/a/manifests/b", local, 0),
            (Method::PUT, "/v2/a/manifests/b", local, 405),
            (Method::POST, "/v2/a/blobs/uploads/", local, 405),
            (Method::GET, "/token", local, 404),
            (Method::GET, "/v2/../admin", local, 400),
            (Method::GET, "/v2/%2E%2e/admin", local, 400),
            (Method::GET, "/v2/a/manifests/b", "evil.example", 403),
        ] {
            assert_eq!(refused(method, uri, host, &tcp), status, "{uri} at {host}");
        }
        let by_socket = refused(Method::GET, "/v2/", "any.example", &Entry::Unix);
        assert_eq!(by_socket, 0);
    }
}
