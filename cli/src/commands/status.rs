//! `metahubctl status`: the state of the control plane and its workers.

use crate::{
    client::Client,
    config::Settings,
    output::Output,
    record::{Revision, Status},
};

pub(crate) async fn run(settings: &Settings, output: &mut Output<'_>) -> anyhow::Result<()> {
    let status = Client::connect(settings).await?.status().await?;
    output.record(&status, &text(&status, settings))
}

/// Workers that may serve something else than is known.
fn doubts(status: &Status) -> String {
    let mut doubts = String::new();
    if status.workers_lost > 0 {
        doubts += &format!(", {} lost", status.workers_lost);
    }
    if status.workers_doubled > 0 {
        doubts += &format!(", {} ids of two workers each", status.workers_doubled);
    }
    doubts
}

fn text(status: &Status, settings: &Settings) -> String {
    format!(
        "control plane  {} (version {})\n\
         revision       {}\n\
         users          {}\n\
         types          {}\n\
         logins         {}\n\
         hosts          {} joined, {} drifted\n\
         workers        {} connected, {} at this revision{}\n\
         refused        {} calls since it started\n",
        settings.control,
        status.version,
        Revision::text(status.revision),
        status.users,
        status.machine_types,
        status.logins,
        status.hosts,
        status.hosts_drifted,
        status.workers_connected,
        status.workers_current,
        doubts(status),
        status.refused_calls,
    )
}
