//! `metahubctl host report`: reports this host's current features.

use std::path::PathBuf;

use anyhow::Context;
use metahub_host::credential::{DEFAULT_PATH, HostCredential};
use serde::Serialize;
use url::Url;

use super::machine::Machine;
use crate::{
    client::{HostClient, TrustSettings},
    output::Output,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    machine: Machine,

    /// The file with the host's login.
    #[arg(long, env = "METAHUB_HOST_CREDENTIAL", value_name = "FILE", default_value = DEFAULT_PATH)]
    credential: PathBuf,
}

/// The output of a report.
#[derive(Debug, Serialize)]
struct Reported {
    #[serde(rename = "type")]
    machine_type: String,
    login: String,
    /// Whether the host's login has changed.
    moved: bool,
    drift: Vec<String>,
}

pub(crate) async fn run(arguments: Arguments, output: &mut Output<'_>) -> anyhow::Result<()> {
    let mut own = HostCredential::read(&arguments.credential)?;
    let facts = arguments.machine.facts(&own.features, output)?;
    let ca_file = own.control_ca_pem.as_deref().map(written).transpose()?;
    let pinned = own.control_fingerprint.as_deref().map(str::parse);
    let trust = TrustSettings {
        fingerprint: pinned
            .transpose()
            .context("the host's credential holds a wrong fingerprint")?,
        ca_file: ca_file.as_ref().map(|it| it.path().to_owned()),
        known_controls: None,
    };
    // Plain text is allowed: `host login` already allowed it for this address,
    // or the address is this host.
    let client = HostClient::connect(&own.control, true, &trust).await?;
    let before = own.clone();
    let mut reported = client.report(&own.login, &own.secret, &facts).await?;
    own.login = reported.login.clone();
    own.machine_type = reported.machine_type.clone();
    own.control_fingerprint = match client.proved() {
        Some(proved) => Some(proved.to_string()),
        None => own.control_fingerprint,
    };
    if let Ok(told) = Url::parse(&reported.registry) {
        own.registry = told;
    }
    let moved = own.login != before.login;
    if moved
        || own.control_fingerprint != before.control_fingerprint
        || own.registry != before.registry
    {
        own.write(&arguments.credential)?;
    }
    if moved {
        // The former login is no longer needed.
        reported = client.report(&own.login, &own.secret, &facts).await?;
    }
    let said = Reported {
        machine_type: reported.machine_type,
        login: reported.login,
        moved,
        drift: reported.drift,
    };
    output.record(&said, &said.text())
}

/// The PEM text in a temporary file, removed on drop.
fn written(pem: &str) -> anyhow::Result<tempfile::NamedTempFile> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), pem)?;
    Ok(file)
}

impl Reported {
    fn text(&self) -> String {
        let moved = match self.moved {
            true => ", to which it has moved",
            false => "",
        };
        let mut text = format!("{} is of type {}{moved}.\n", self.login, self.machine_type);
        for lack in &self.drift {
            text += &format!("drift: {lack}\n");
        }
        text
    }
}
