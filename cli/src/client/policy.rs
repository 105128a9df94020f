//! What answers depend on, as the control plane holds it.

use std::net::SocketAddr;

use super::Client;
use crate::{
    explain::policy::{Policy, Records},
    failure::Failure,
    record::Worker,
};

impl Client {
    /// The policy.
    pub(crate) async fn policy(&self) -> anyhow::Result<Policy> {
        let records = Records {
            types: self.machine_types(None).await?,
            rules: self.rules().await?,
            pins: self.pins().await?,
            cpus: self.cpus().await?,
            upstreams: self.upstreams().await?,
            grants: self.grants().await?,
        };
        Policy::new(records)
    }

    /// Where the first connected worker serves the registry API.
    pub(crate) async fn worker_address(&self) -> Result<String, Failure> {
        let workers = self.workers().await?.0;
        let mut serving = workers
            .iter()
            .filter(|worker| worker.connected && !worker.registry_address.is_empty());
        serving.next().map(reachable).ok_or(Failure::NoRegistry)
    }
}

/// A worker that serves on every address is reached where it came from.
fn reachable(worker: &Worker) -> String {
    let own: Result<SocketAddr, _> = worker.registry_address.parse();
    let peer: Result<SocketAddr, _> = worker.peer_address.parse();
    match (own, peer) {
        (Ok(own), Ok(peer)) if own.ip().is_unspecified() => {
            SocketAddr::new(peer.ip(), own.port()).to_string()
        }
        _ => worker.registry_address.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_worker_that_serves_everywhere_is_reached_where_it_came_from() {
        let mut worker = Worker {
            id: "one".into(),
            version: "1".into(),
            registry_address: "0.0.0.0:7480".into(),
            peer_address: "10.0.0.7:50000".into(),
            connected: true,
            applied: None,
            lag_ms: 0,
            rejected_reason: String::new(),
            digest: String::new(),
            mismatches: 0,
            mismatch: String::new(),
            doubled: false,
            since: UNIX_EPOCH,
        };
        assert_eq!(reachable(&worker), "10.0.0.7:7480");

        worker.registry_address = "hub.example:7480".into();
        assert_eq!(reachable(&worker), "hub.example:7480");
    }
}
