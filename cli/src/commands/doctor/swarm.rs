//! Checks for a swarm manager: it pins the images of services by digest, so
//! that all nodes run the variant of the host that created them.

use std::{path::Path, time::Duration};

use serde_json::Value;

use super::{files::Root, finding::Finding, registry::body};

const CHECK: &str = "swarm";
const SOCKETS: [&str; 2] = ["/run/docker.sock", "/var/run/docker.sock"];
const ANSWER: Duration = Duration::from_secs(3);
/// The largest number of service names in one line.
const NAMED: usize = 3;

/// The finding for this host's swarm. `None`: no docker daemon of this host
/// manages a swarm.
pub(super) async fn check(root: &Root) -> Option<Finding> {
    let sockets = SOCKETS.into_iter().map(|it| root.path(it));
    let socket = sockets.into_iter().find(|it| it.exists())?;
    let client = reqwest::Client::builder()
        .unix_socket(socket.clone())
        .timeout(ANSWER)
        .no_proxy()
        .build()
        .ok()?;
    let info = match get(&client, "/info").await {
        Ok(info) => info,
        Err(error) => return Some(closed(&socket, &error)),
    };
    if info["Swarm"]["ControlAvailable"] != true {
        return None;
    }
    let services = get(&client, "/services").await.ok()?;
    let services = services.as_array()?;
    let pinned: Vec<&str> = services.iter().filter_map(pinned).collect();
    if pinned.is_empty() {
        let what = format!("none of {} services is pinned by digest", services.len());
        return Some(Finding::ok(CHECK, what));
    }
    let more = match pinned.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let names = pinned[..pinned.len().min(NAMED)].join(", ");
    let what = format!(
        "services are pinned by digest, {names}{more}: every node runs the variant of the host that created them"
    );
    let next = "docker service update --no-resolve-image --image NAME:TAG SERVICE, and create services with --no-resolve-image";
    Some(Finding::warn(CHECK, what, next))
}

async fn get(client: &reqwest::Client, path: &str) -> anyhow::Result<Value> {
    let answer = client.get(format!("http://localhost{path}")).send().await?;
    Ok(serde_json::from_slice(
        &body(answer.error_for_status()?).await?,
    )?)
}

/// The name of a service whose image has a digest.
fn pinned(service: &Value) -> Option<&str> {
    let image = &service["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"];
    let is_pinned = image.as_str().is_some_and(|it| it.contains("@sha"));
    is_pinned.then(|| service["Spec"]["Name"].as_str())?
}

fn closed(socket: &Path, error: &anyhow::Error) -> Finding {
    let what = format!(
        "dockerd cannot be asked whether it manages a swarm, at {}: {error:#}",
        socket.display()
    );
    Finding::warn(
        CHECK,
        what,
        "run metahubctl doctor as root; systemctl status docker",
    )
}
