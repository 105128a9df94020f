//! Lists, shows, moves and removes hosts.

use std::fmt::Write;

use anyhow::bail;

use crate::{
    client::Client,
    failure::Failure,
    output::Output,
    record::{Host, ShownHost},
};

/// The host to act on.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// The host's id, as `host list` shows it.
    id: String,
    /// The host's user. Needed only if another user has a host with the same
    /// id.
    #[arg(long)]
    user: Option<String>,
}

pub(crate) async fn list(
    user: Option<String>,
    client: &Client,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let hosts = client.hosts(user.as_deref()).await?;
    let warnings = hosts.iter().flat_map(|host| {
        let of = move |it: &String| format!("{}: {it}", host.id);
        host.warnings.iter().map(of)
    });
    output.warn(&warnings.collect::<Vec<_>>());
    output.list(&hosts)
}

pub(crate) async fn show(
    which: Which,
    client: &Client,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let user = which.user(client).await?;
    let shown = client.host(&user, &which.id).await?;
    output.record(&shown, &text(&shown))?;
    output.warn(&shown.host.warnings);
    Ok(())
}

pub(crate) async fn remove(
    which: Which,
    client: &Client,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let user = which.user(client).await?;
    client.remove_host(&user, &which.id).await?;
    output.done(&format!("host `{}` of `{user}` is removed", which.id))
}

pub(crate) async fn move_to(
    which: Which,
    machine_type: &str,
    client: &Client,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let user = which.user(client).await?;
    let login = client.move_host(&user, &which.id, machine_type).await?;
    output.done(&format!(
        "host `{}` is `{login}` from its next report on",
        which.id
    ))
}

impl Which {
    /// The given user, or the only one with a host of this id.
    async fn user(&self, client: &Client) -> anyhow::Result<String> {
        if let Some(user) = &self.user {
            return Ok(user.clone());
        }
        let mut hosts = client.hosts(None).await?;
        hosts.retain(|host| host.id == self.id);
        match &hosts[..] {
            [host] => Ok(host.user.clone()),
            [] => Err(Failure::NotFound(format!("there is no host `{}`", self.id)).into()),
            _ => {
                let users: Vec<&str> = hosts.iter().map(|it| it.user.as_str()).collect();
                bail!(
                    "{} have a host `{}` each: say which by --user",
                    users.join(" and "),
                    self.id
                )
            }
        }
    }
}

fn text(shown: &ShownHost) -> String {
    let host: &Host = &shown.host;
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    let mut text = format!(
        "host        {}\nuser        {}\ntype        {}\nlogin       {}\ntoken       {}\n\
         first seen  {}\nlast seen   {}\naddress     {}\nagent       {}\n",
        host.id,
        host.user,
        host.machine_type,
        host.login,
        host.token,
        or_dash(&host.first_seen),
        or_dash(&host.last_seen),
        host.address,
        host.agent_version,
    );
    for lack in &host.drift {
        let _ = writeln!(text, "drift       {lack}");
    }
    text.push('\n');
    let width = host.features.iter().map(String::len).max().unwrap_or(0);
    for feature in &host.features {
        let evidence = shown.evidence.iter().find(|it| &it.feature == feature);
        let evidence = evidence.map(|it| format!("{}: {}", it.source, it.raw));
        let line = format!("{feature:width$}  {}", evidence.unwrap_or_default());
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}
