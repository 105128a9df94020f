//! `metahubctl auth`: who calls the control plane.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::ensure;
use humantime::format_duration;
use serde::Serialize;

use crate::{
    client::Client,
    config::Settings,
    credential::{self, Origin},
    failure::Failure,
    output::Output,
    record::Who,
    sign_in::{self, Invitation, Issuer, Place, Session},
};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Signs in at the issuer that the control plane names, with a browser on
    /// any device.
    Login {
        /// Authorities to trust for the issuer besides the system's, as PEM.
        /// Kept with the sign-in.
        #[arg(long, env = "METAHUB_ISSUER_CA_FILE", value_name = "FILE")]
        issuer_ca_file: Option<PathBuf>,
    },
    /// Forgets the sign-in.
    Logout,
    /// Tells who the control plane takes the caller for.
    #[command(visible_alias = "whoami")]
    Status,
}

pub(crate) async fn run(
    command: Command,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    match command {
        Command::Login { issuer_ca_file } => {
            login(issuer_ca_file.as_deref(), settings, output).await
        }
        Command::Logout => logout(settings, output).await,
        Command::Status => status(settings, output).await,
    }
}

async fn login(
    issuer_ca_file: Option<&Path>,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let issuer_ca_pem = issuer_ca_file.map(sign_in::read_authorities).transpose()?;
    let stranger = Client::connect_as(settings, None, None).await?;
    let found = stranger.auth_settings().await?;
    let wanted = found.ok_or(Failure::NoIssuer)?;
    let place = Place {
        issuer: wanted.issuer,
        client_id: wanted.client_id,
        issuer_ca_pem,
    };
    let issuer = Issuer::find(&place).await?;
    let invitation = issuer.invite(&wanted.scopes).await?;
    ensure!(
        invitation.is_printable(),
        "the issuer sends what cannot be shown"
    );
    output.note(&text(&invitation));
    let tokens = issuer.accepted(&invitation).await?;
    // One whom the control plane refuses has not signed in.
    let refresh_token = tokens.refresh_token.clone();
    let session = Session::of(place, tokens, refresh_token)?;
    let access = session.access_token.as_ref();
    let client = Client::connect_as(settings, Some(&session.id_token), access).await?;
    let who = client.who_am_i().await?;
    let sessions = settings.sessions()?;
    let _lock = sessions.lock().await?;
    sessions.put(&settings.control, &session)?;
    output.record(
        &who,
        &format!("Signed in as {}, {}.", who.name, who.role.of(&who.user)),
    )
}

fn text(invitation: &Invitation) -> String {
    let good_for = format_duration(Duration::from_secs(invitation.expires_in));
    let mut text = format!(
        "To sign in, open\n\n  {}\n\nand enter the code  {}   (good for {good_for})\n",
        invitation.verification_uri, invitation.user_code,
    );
    if let Some(complete) = &invitation.verification_uri_complete {
        text += &format!("\nor open\n\n  {complete}\n");
    }
    text
}

async fn logout(settings: &Settings, output: &mut Output<'_>) -> anyhow::Result<()> {
    match sign_in::end(&settings.sessions()?, &settings.control).await? {
        true => output.done(&format!("Signed out of {}.", settings.control)),
        false => output.done(&format!("No one had signed in at {}.", settings.control)),
    }
}

async fn status(settings: &Settings, output: &mut Output<'_>) -> anyhow::Result<()> {
    let found = credential::find(settings).await?;
    let client = Client::connect_with(settings, &found).await?;
    let shown = Shown {
        who: client.who_am_i().await?,
        control: settings.control.to_string(),
        from: found.origin,
    };
    output.record(&shown, &shown.text())
}

/// Who calls, and by what.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    who: Who,
    control: String,
    from: Origin,
}

impl Shown {
    fn text(&self) -> String {
        let who = &self.who;
        let mut text = format!(
            "control  {}\nname     {}\nrole     {}\nby       {}\n",
            self.control,
            who.name,
            who.role.of(&who.user),
            self.from,
        );
        if !who.grantable.is_empty() {
            text += &format!("grants   {}\n", who.grantable.join(" "));
        }
        if let Some(end) = who.expires {
            text += &format!("until    {}\n", humantime::format_rfc3339_seconds(end));
        }
        text
    }
}
