//! `metahubctl upstream`: registries that MetaHub pulls from.

use std::{fs, path::PathBuf};

use anyhow::{Context, ensure};
use url::Url;

use crate::{
    client::Client,
    config::Settings,
    output::Output,
    record::{Blobs, Upstream},
    secret,
};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Creates or replaces an upstream.
    Create(Box<Create>),
    /// Lists upstreams.
    List,
    /// Deletes an upstream.
    Delete {
        /// Its name.
        name: String,
    },
}

/// An upstream as it is to be. What is not given is not set.
#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// The name that clients use, for example `ghcr.io`.
    name: String,
    /// Where it is, for example `https://ghcr.io`.
    #[arg(long)]
    url: Url,
    /// Send names without a host to it.
    #[arg(long)]
    default: bool,
    /// The account to pull with.
    #[arg(long, requires = "password_file")]
    username: Option<String>,
    /// The file that holds the account's password or token; `-` is stdin.
    #[arg(
        long,
        value_name = "FILE",
        requires = "username",
        visible_alias = "credential-file"
    )]
    password_file: Option<PathBuf>,
    /// Pull without an account, and forget the one that the upstream had.
    #[arg(long, conflicts_with = "username")]
    anonymous: bool,
    /// Another name for it, a host with an optional port: a worker that is
    /// reached by it takes names without a host for this upstream's. May be
    /// given several times.
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// Open it only to users with a grant. One with an account is restricted in
    /// any case.
    #[arg(long)]
    restricted: bool,
    /// Do not verify its certificate, and let its account go over plain http.
    /// (`--insecure` is about the way from here to the control plane.)
    #[arg(long)]
    insecure_registry: bool,
    /// The file with the certificates of its own authorities, as PEM. They are
    /// trusted for it besides the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// How blobs get to clients.
    #[arg(long, value_enum, default_value_t)]
    blobs: Blobs,
    /// Speak HTTP/1.1 alone to it, also where it offers HTTP/2.
    #[arg(long)]
    http1: bool,
}

pub(crate) async fn run(
    command: Command,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let client = Client::connect(settings).await?;
    match command {
        Command::Create(wanted) => create(*wanted, &client, output).await,
        Command::List => output.list(&client.upstreams().await?),
        Command::Delete { name } => {
            client.delete_upstream(&name).await?;
            output.done(&format!("Deleted upstream {name}."))
        }
    }
}

async fn create(wanted: Create, client: &Client, output: &mut Output<'_>) -> anyhow::Result<()> {
    let password = wanted.password_file.as_deref();
    let password = password.map(secret::read).transpose()?;
    let is_anonymous = wanted.anonymous;
    let upstream = wanted.upstream()?;
    if upstream.username.is_empty() && !is_anonymous {
        let known = client.upstreams().await?;
        let known = known.iter().find(|it| it.name == upstream.name);
        ensure!(
            known.is_none_or(|it| it.username.is_empty()),
            "upstream {} has an account: give it again with --username and --password-file, or say --anonymous to pull without one",
            upstream.name
        );
    }
    client
        .put_upstream(upstream.clone(), password.as_ref())
        .await?;
    if upstream.needs_grant() {
        output.note(&format!(
            "Only users with a grant may pull from it: see `metahubctl grant create --help`; `--all-users --repository '{}/**'` opens it to all.",
            upstream.name
        ))?;
    }
    output.record(&upstream, &format!("Created upstream {}.", upstream.name))
}

impl Create {
    fn upstream(self) -> anyhow::Result<Upstream> {
        let ca_pem = self.ca.map(|path| {
            let pem = fs::read_to_string(&path);
            pem.with_context(|| format!("cannot read {}", path.display()))
        });
        Ok(Upstream {
            name: self.name,
            url: self.url.as_str().trim_end_matches('/').into(),
            default: self.default,
            username: self.username.unwrap_or_default(),
            restricted: self.restricted,
            insecure: self.insecure_registry,
            ca_pem: ca_pem.transpose()?.unwrap_or_default(),
            blobs: self.blobs,
            hosts: self.hosts,
            http1: self.http1,
        })
    }
}
