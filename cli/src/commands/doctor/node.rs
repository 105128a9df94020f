//! Checks the node proxy of this host, if an engine is configured to pull
//! through it or if it is installed.

use http::StatusCode;
use metahub_host::credential::HostCredential;
use url::Url;

use super::{
    files::Root,
    finding::Finding,
    registry::{Caller, body, client, sent},
};
use crate::demo::client::refusal;

const CHECK: &str = "node";
/// The paths of the proxy's systemd unit, from packages and administrators.
const UNITS: [&str; 3] = [
    "/etc/systemd/system/metahub-node.service",
    "/usr/lib/systemd/system/metahub-node.service",
    "/lib/systemd/system/metahub-node.service",
];

/// Checks the proxy at `url`. `is_used`: an engine pulls through it.
pub(super) async fn check(
    url: &Url,
    root: &Root,
    is_used: bool,
    credential: Option<&HostCredential>,
) -> Option<Finding> {
    let is_installed = UNITS.iter().any(|it| root.exists(it));
    let readiness = ask(url, "/readyz").await;
    let answer = match readiness {
        Ok(answer) => answer,
        Err(_) if !is_used && !is_installed => return None,
        Err(error) => {
            let what = format!("metahub-node does not answer at {url}: {error:#}");
            let next = "systemctl enable --now metahub-node; journalctl -u metahub-node";
            return Some(match is_used {
                true => Finding::fail(CHECK, what, next),
                false => Finding::warn(CHECK, what, next),
            });
        }
    };
    let is_registry = answer
        .headers()
        .contains_key("docker-distribution-api-version");
    if !is_registry || answer.status() == StatusCode::NOT_FOUND {
        let what = format!("another program than metahub-node listens at {url}");
        let next =
            "ss -tlnp; METAHUB_NODE_LISTEN, and client-config --node-addr, name another port";
        return is_used.then(|| Finding::fail(CHECK, what, next));
    }
    Some(match answer.status() {
        StatusCode::OK => identity(url, credential).await,
        _ => {
            let what = format!(
                "metahub-node answers at {url}, but cannot pull: {}",
                refusal(answer).await
            );
            Finding::fail(CHECK, what, "journalctl -u metahub-node")
        }
    })
}

async fn ask(url: &Url, path: &str) -> anyhow::Result<reqwest::Response> {
    sent(client(None)?.get(url.join(path)?)).await
}

/// Checks that the proxy pulls with this host's login.
async fn identity(url: &Url, credential: Option<&HostCredential>) -> Finding {
    let caller = async {
        let answer = ask(url, "/v2/_metahub/caller").await.ok()?;
        let told: Caller = serde_json::from_slice(&body(answer).await.ok()?).ok()?;
        Some(told.name)
    };
    let own = credential.map(|it| it.machine_type.replace('/', "-"));
    match (caller.await, own) {
        (Some(node), Some(own)) if node != own => {
            let what = format!(
                "metahub-node pulls as a host of {node}, and this host's credential is of {own}"
            );
            let next = "give metahub-node the same credential: METAHUB_HOST_CREDENTIAL of its unit";
            Finding::fail(CHECK, what, next)
        }
        (Some(node), _) => Finding::ok(
            CHECK,
            format!("metahub-node at {url} pulls as a host of {node}"),
        ),
        (None, _) => Finding::ok(CHECK, format!("metahub-node at {url} reaches the workers")),
    }
}
