//! Checks the registry by HTTP, with and without the host's login.
//!
//! Two connections stand for two workers: a balancer sends each new one to the
//! next worker.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use http::{HeaderMap, StatusCode, header};
use metahub_host::credential::HostCredential;
use metahub_policy::MachineType;
use reqwest::{Certificate, Method, Response, redirect::Policy};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use url::Url;

use super::finding::Finding;
use crate::{
    client::is_local,
    demo::client::{MANIFEST_TYPES, refusal},
};

/// The time limit of one response.
const ANSWER: Duration = Duration::from_secs(5);
/// The largest accepted difference between the clocks of host and registry.
const SKEW: Duration = Duration::from_secs(30);
/// The size limit of a JSON response.
const MAX_BODY: usize = 4 << 20;
/// The policy age for a warning: a worker gets a message from its control plane
/// every few seconds.
const OLD_POLICY: Duration = Duration::from_secs(120);

/// The registry, by two independent connections.
pub(super) struct Registry {
    pub(super) url: Url,
    connections: [reqwest::Client; 2],
    credential: HostCredential,
}

/// A worker's response for the calling host.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Caller {
    /// The type's login name, `<user>-<type>`.
    #[serde(rename = "type")]
    pub(super) name: String,
    pub(super) machine_type: MachineType,
    pub(super) policy: PolicyAge,
}

/// The age of a worker's policy.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct PolicyAge {
    age_seconds: u64,
    lag: u64,
}

impl Registry {
    pub(super) fn new(credential: HostCredential) -> anyhow::Result<Self> {
        let client = || client(credential.registry_ca_pem.as_deref());
        Ok(Self {
            connections: [client()?, client()?],
            url: credential.registry.clone(),
            credential,
        })
    }

    /// The registry by two new connections. One opens directly after the other,
    /// so a balancer that takes turns sends them to two workers. A client that
    /// has been used may hold any number of connections.
    pub(super) fn reconnected(&self) -> anyhow::Result<Self> {
        Self::new(self.credential.clone())
    }

    /// Whether a secret can be sent to the registry: not in plain text to
    /// another host.
    pub(super) fn is_private(&self) -> bool {
        self.url.scheme() == "https" || is_local(&self.url)
    }

    /// Sends a request with the host's login by the `n`th connection.
    pub(super) async fn ask(
        &self,
        n: usize,
        method: Method,
        path: &str,
        headers: HeaderMap,
    ) -> anyhow::Result<Response> {
        let url = self.url.join(path)?;
        let secret = self.credential.secret.expose_secret();
        let request = self.connections[n].request(method, url);
        let request = request.basic_auth(&self.credential.login, Some(secret));
        let request = request.header(header::ACCEPT, MANIFEST_TYPES);
        sent(request.headers(headers)).await
    }

    /// Checks the first response: its challenge and its clock.
    pub(super) async fn greet(&self, findings: &mut Vec<Finding>) -> bool {
        let asked = SystemTime::now();
        let url = match self.url.join("/v2/") {
            Ok(url) => url,
            Err(error) => {
                let what = format!("{} is no address of a registry: {error}", self.url);
                findings.push(Finding::fail(
                    "challenge",
                    what,
                    "metahubctl host login again",
                ));
                return false;
            }
        };
        let answer = match sent(self.connections[0].get(url)).await {
            Ok(answer) => answer,
            Err(error) => {
                let what = format!("{} does not answer: {error:#}", self.url);
                let next = "see the workers' balancer, and metahubctl worker list";
                findings.push(Finding::fail("challenge", what, next));
                return false;
            }
        };
        findings.extend(skew(answer.headers(), asked, SystemTime::now()));
        let (is_good, finding) = challenge(&self.url, &answer);
        findings.push(finding);
        is_good
    }

    /// Checks that the workers accept the login.
    pub(super) async fn log_in(&self, findings: &mut Vec<Finding>) -> bool {
        const CHECK: &str = "login";
        let login = &self.credential.login;
        let answer = self.ask(0, Method::GET, "/v2/", HeaderMap::new()).await;
        let finding = match answer {
            Ok(answer) => match answer.status() {
                StatusCode::OK => Finding::ok(CHECK, format!("{login} is accepted")),
                StatusCode::UNAUTHORIZED => {
                    let what = format!(
                        "{} does not accept {login}: it was removed, or its secret is another one now",
                        self.url
                    );
                    let next = "metahubctl host login --token-file FILE, on this host; an admin sees its login in metahubctl host list";
                    Finding::fail(CHECK, what, next)
                }
                StatusCode::TOO_MANY_REQUESTS => {
                    let what = format!(
                        "too many tries with a wrong login: {}",
                        refusal(answer).await
                    );
                    Finding::warn(CHECK, what, "wait a minute, then metahubctl doctor again")
                }
                _ => {
                    let what = format!("{} answers: {}", self.url, refusal(answer).await);
                    Finding::fail(CHECK, what, "see the workers' logs")
                }
            },
            Err(error) => {
                let what = format!("{} does not answer: {error:#}", self.url);
                Finding::fail(CHECK, what, "see the workers' balancer")
            }
        };
        let is_good = finding.next.is_none();
        findings.push(finding);
        is_good
    }

    /// The responses of the workers of both connections for this host.
    pub(super) async fn callers(&self) -> [anyhow::Result<Option<Caller>>; 2] {
        let (first, second) = tokio::join!(self.caller(0), self.caller(1));
        [first, second]
    }

    /// The response of one worker. `None`: the worker's version has no such
    /// endpoint.
    async fn caller(&self, n: usize) -> anyhow::Result<Option<Caller>> {
        let path = "/v2/_metahub/caller";
        let answer = self.ask(n, Method::GET, path, HeaderMap::new()).await?;
        match answer.status() {
            StatusCode::OK => Ok(Some(serde_json::from_slice(&body(answer).await?)?)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => anyhow::bail!("{}", refusal(answer).await),
        }
    }
}

impl PolicyAge {
    /// Checks whether a worker has lost its control plane.
    pub(super) fn check(callers: &[Caller]) -> Option<Finding> {
        const CHECK: &str = "policy";
        let oldest = callers.iter().map(|it| it.policy.age_seconds).max()?;
        let lag = callers.iter().map(|it| it.policy.lag).max()?;
        let next = "metahubctl worker list, and the logs of the workers";
        if Duration::from_secs(oldest) > OLD_POLICY {
            let what = format!(
                "a worker has not heard from its control plane for {oldest} s: it does not know newer logins, types and grants"
            );
            return Some(Finding::warn(CHECK, what, next));
        }
        if lag > 0 {
            let what = format!("a worker is {lag} revisions behind");
            return Some(Finding::warn(CHECK, what, next));
        }
        let what =
            format!("the workers have heard from their control plane {oldest} s ago, or later");
        Some(Finding::ok(CHECK, what))
    }
}

/// A client that sends the host's secret to no other address: it follows no
/// redirect and uses no proxy, like the node proxy.
pub(super) fn client(ca_pem: Option<&str>) -> anyhow::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .timeout(ANSWER)
        .redirect(Policy::none())
        .no_proxy();
    if let Some(pem) = ca_pem {
        builder = builder.tls_certs_merge(Certificate::from_pem_bundle(pem.as_bytes())?);
    }
    builder.build().context("cannot make an HTTP client")
}

/// Sends a request. The error has no URL: the finding names it already.
pub(super) async fn sent(request: reqwest::RequestBuilder) -> anyhow::Result<Response> {
    Ok(request.send().await.map_err(reqwest::Error::without_url)?)
}

/// The whole body, up to the size limit.
pub(super) async fn body(mut answer: Response) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.context("the answer broke off")? {
        anyhow::ensure!(
            bytes.len() + chunk.len() <= MAX_BODY,
            "the answer has more than {MAX_BODY} bytes"
        );
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The text of a header.
pub(super) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    Some(text.to_owned()).filter(|it| !it.is_empty())
}

fn challenge(url: &Url, answer: &Response) -> (bool, Finding) {
    const CHECK: &str = "challenge";
    let next = "name the workers' address: metahubctl host login --registry URL";
    let offered = text(answer.headers(), "www-authenticate").unwrap_or_default();
    let scheme = offered.split(' ').next().unwrap_or_default();
    match answer.status() {
        StatusCode::UNAUTHORIZED if ["Basic", "Bearer"].contains(&scheme) => {
            let what = format!("{url} asks for a login ({scheme})");
            (true, Finding::ok(CHECK, what))
        }
        StatusCode::UNAUTHORIZED => {
            let what = format!("{url} asks for a login in a way that no engine knows");
            (false, Finding::fail(CHECK, what, next))
        }
        StatusCode::OK => {
            let what = format!("{url} asks nobody for a login: it is not a worker of MetaHub");
            (false, Finding::fail(CHECK, what, next))
        }
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            let what = format!("{url} answers {}: no worker is behind it", answer.status());
            (false, Finding::fail(CHECK, what, "metahubctl worker list"))
        }
        status => {
            let what = format!("{url} answers {status}, and not as a registry does");
            (false, Finding::fail(CHECK, what, next))
        }
    }
}

/// The finding if this host's clock differs too much from the registry's `Date`
/// (RFC 9110, 6.6.1).
fn skew(headers: &HeaderMap, asked: SystemTime, heard: SystemTime) -> Option<Finding> {
    let date = httpdate::parse_http_date(&text(headers, "date")?).ok()?;
    // The registry wrote the response between both times, and its date has
    // whole seconds.
    let (ahead, behind) = (
        asked.duration_since(date + Duration::from_secs(1)),
        date.duration_since(heard),
    );
    let (skew, word) = match (ahead, behind) {
        (Ok(skew), _) => (skew, "ahead of"),
        (_, Ok(skew)) => (skew, "behind"),
        _ => (Duration::ZERO, "with"),
    };
    let seconds = skew.as_secs();
    Some(match skew > SKEW {
        true => {
            let what = format!("this host's clock is {seconds} s {word} the registry's");
            let next = "set it: timedatectl; tokens and certificates fail by a wrong clock";
            Finding::warn("clock", what, next)
        }
        false => Finding::ok(
            "clock",
            format!("within {} s of the registry's", SKEW.as_secs()),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Status, *};

    fn skewed(by: i64) -> Finding {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let date = match by {
            0.. => now - Duration::from_secs(by.unsigned_abs()),
            _ => now + Duration::from_secs(by.unsigned_abs()),
        };
        let mut headers = HeaderMap::new();
        let date = httpdate::fmt_http_date(date);
        headers.insert("date", date.parse().unwrap());
        skew(&headers, now, now + Duration::from_millis(50)).unwrap()
    }

    fn policy(age_seconds: u64, lag: u64) -> Finding {
        let caller = serde_json::json!({
            "type": "qnib-type1",
            "machine_type": {"features": []},
            "policy": {"age_seconds": age_seconds, "lag": lag},
        });
        let fresh = serde_json::json!({
            "type": "qnib-type1",
            "machine_type": {},
            "policy": {"age_seconds": 0, "lag": 0},
        });
        let callers = [fresh, caller].map(|it| serde_json::from_value(it).unwrap());
        PolicyAge::check(&callers).unwrap()
    }

    #[test]
    fn one_worker_that_has_lost_its_control_plane_is_enough_for_a_warning() {
        assert_eq!(policy(5, 0).status, Status::Ok);
        assert!(policy(121, 0).what.contains("for 121 s"));
        assert!(policy(5, 2).what.contains("2 revisions behind"));
    }

    #[test]
    fn a_clock_that_is_more_than_30_seconds_off_is_warned_of() {
        assert_eq!(skewed(0).status, Status::Ok);
        assert_eq!(skewed(29).status, Status::Ok);
        assert_eq!(skewed(-29).status, Status::Ok);
        let (ahead, behind) = (skewed(40), skewed(-40));
        assert!(ahead.what.contains("s ahead of"), "{ahead}");
        assert!(behind.what.contains("s behind"), "{behind}");
    }
}
