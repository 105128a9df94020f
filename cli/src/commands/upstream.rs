//! `metahubctl upstream`: registries that MetaHub pulls from.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, bail, ensure};
use reqwest::header::CONTENT_TYPE;
use url::Url;

use crate::{
    client::Client,
    config::Settings,
    output::Output,
    record::{Blobs, Upstream, UpstreamSecrets},
    secret,
};

/// The longest wait for a registry that is only looked for.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

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
    /// Where it is, for example `https://ghcr.io`. Further ones are further
    /// addresses of the same registry, tried in this order when it fails.
    #[arg(long = "url", value_name = "URL", required = true)]
    urls: Vec<String>,
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
    /// The HTTP proxy to reach it through, such as
    /// `http://user@proxy.example:3128`; `none`: no proxy. Default: what
    /// HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the workers say.
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// The file that holds the password of the proxy's user; `-` is stdin.
    #[arg(long, value_name = "FILE", requires = "proxy")]
    proxy_password_file: Option<PathBuf>,
    /// Put this in front of each repository's name at the registry, such as
    /// the name of a project there that is a cache of this upstream.
    #[arg(long, value_name = "PREFIX")]
    repository_prefix: Option<String>,
    /// Let the token server at this host see the account, and give out tokens.
    /// Without a port it is the one of https. May be given several times.
    #[arg(long = "token-host", value_name = "HOST[:PORT]")]
    token_hosts: Vec<String>,
    /// The file with the certificate, as PEM, to present to the registry.
    #[arg(long, value_name = "FILE")]
    client_cert: Option<PathBuf>,
    /// The file with the key of that certificate, as PEM.
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
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
    let secrets = wanted.secrets()?;
    let is_anonymous = wanted.anonymous;
    for url in &wanted.urls {
        check_url(url, output).await?;
    }
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
    client.put_upstream(upstream.clone(), secrets).await?;
    if upstream.needs_grant() {
        output.note(&format!(
            "Only users with a grant may pull from it: see `metahubctl grant create --help`; `--all-users --repository '{}/**'` opens it to all.",
            upstream.name
        ));
    }
    output.record(&upstream, &format!("Created upstream {}.", upstream.name))
}

impl Create {
    fn secrets(&self) -> anyhow::Result<UpstreamSecrets> {
        let read = |file: &Option<PathBuf>| file.as_deref().map(secret::read).transpose();
        Ok(UpstreamSecrets {
            password: read(&self.password_file)?,
            proxy_password: read(&self.proxy_password_file)?,
            client_key_pem: read(&self.client_key)?,
        })
    }

    fn upstream(self) -> anyhow::Result<Upstream> {
        let mut urls = self.urls.iter().map(|url| root(url).to_owned());
        Ok(Upstream {
            name: self.name,
            url: urls.next().unwrap_or_default(),
            default: self.default,
            username: self.username.unwrap_or_default(),
            restricted: self.restricted,
            insecure: self.insecure_registry,
            ca_pem: pem(self.ca)?,
            blobs: self.blobs,
            hosts: self.hosts,
            http1: self.http1,
            fallback_urls: urls.collect(),
            proxy: self.proxy.unwrap_or_default(),
            repository_prefix: self.repository_prefix.unwrap_or_default(),
            token_hosts: self.token_hosts,
            client_cert_pem: pem(self.client_cert)?,
        })
    }
}

/// Says what is done about a URL that holds more than a registry's address.
/// Refuses one with a path below which there is no registry; what else is wrong
/// with it, the control plane says.
async fn check_url(text: &str, output: &mut Output<'_>) -> anyhow::Result<()> {
    if root(text) != text.trim_end_matches('/') {
        output.note(&format!("The /v2 of {text} is taken off: MetaHub adds it."));
        return Ok(());
    }
    let Ok(url) = Url::parse(text) else {
        return Ok(());
    };
    let path = url.path().trim_matches('/');
    if path.is_empty() || !matches!(url.scheme(), "http" | "https") {
        return Ok(());
    }
    let origin = url.origin().ascii_serialization();
    let prefix = path.strip_prefix("v2/").unwrap_or(path);
    let advice = format!(
        "for repositories that are called `{prefix}/…` there, give --url {origin} --repository-prefix {prefix}"
    );
    match is_registry(&format!("{origin}/{path}/v2/")).await {
        Some(true) => {}
        Some(false) => bail!("there is no registry at {origin}/{path}/v2/: {advice}"),
        None => output.note(&format!(
            "Whether there is a registry at {origin}/{path}/v2/ cannot be told from here: {advice}."
        )),
    }
    Ok(())
}

/// Whether a registry's API is at `url`. None: it cannot be told. Nothing secret
/// is sent, so that no certificate matters.
async fn is_registry(url: &str) -> Option<bool> {
    let client = reqwest::Client::builder()
        .timeout(PROBE_TIMEOUT)
        .tls_danger_accept_invalid_certs(true)
        .build();
    let answer = client.ok()?.get(url).send().await.ok()?;
    let media_type = answer.headers().get(CONTENT_TYPE);
    let is_page = media_type.is_some_and(|it| it.as_bytes().starts_with(b"text/html"));
    match answer.status().as_u16() {
        500.. => None,
        200 | 401 | 403 => Some(!is_page),
        _ => Some(false),
    }
}

/// The URL without what every registry has in it.
fn root(url: &str) -> &str {
    let url = url.trim_end_matches('/');
    url.strip_suffix("/v2").unwrap_or(url)
}

fn pem(file: Option<PathBuf>) -> anyhow::Result<String> {
    let Some(path) = file else {
        return Ok(String::new());
    };
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}
