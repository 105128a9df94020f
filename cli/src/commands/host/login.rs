//! `metahubctl host login`: joins this host and saves its login.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use aws_lc_rs::{
    digest::{SHA256, digest},
    rand,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use metahub_host::credential::{DEFAULT_PATH, HostCredential};
use metahub_worker::trust::Fingerprint;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use url::Url;

use super::{identity, machine::Machine};
use crate::{
    client::{HostClient, JoinWish, TrustSettings, is_local},
    config::Settings,
    failure::Failure,
    output::Output,
};

/// The time limit for retries while a control plane restarts.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    machine: Machine,

    /// The type to request [default: the best match for the host].
    #[arg(long = "type", value_name = "TYPE")]
    machine_type: Option<String>,

    /// A feature that cannot be detected, for example `rack:7`, or one that
    /// replaces a detected one. Can be given several times.
    #[arg(long = "feature", value_name = "FEATURE")]
    features: Vec<String>,

    /// The host's id, unique among the user's hosts [default: the host name].
    #[arg(long)]
    host_id: Option<String>,

    /// Replace another machine with this id: for a host that was reinstalled.
    #[arg(long)]
    replace: bool,

    /// Authorities to trust for the registry besides the system's, as PEM.
    #[arg(long, value_name = "FILE")]
    registry_ca_file: Option<PathBuf>,

    /// The file for the login.
    #[arg(long, env = "METAHUB_HOST_CREDENTIAL", value_name = "FILE", default_value = DEFAULT_PATH)]
    credential: PathBuf,

    /// Do nothing if this host already has a login.
    #[arg(long)]
    keep: bool,

    /// Print the request, and send nothing.
    #[arg(long)]
    dry_run: bool,
}

/// The output for a host that has joined, without the secret.
#[derive(Debug, Serialize)]
struct Joined {
    host_id: String,
    #[serde(rename = "type")]
    machine_type: String,
    login: String,
    registry: Url,
    credential: PathBuf,
    features: Vec<String>,
    why: String,
}

pub(crate) async fn run(
    arguments: Arguments,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    if arguments.keep
        && let Ok(own) = HostCredential::read(&arguments.credential)
    {
        let kept = serde_json::json!({"host_id": own.host_id, "login": own.login});
        return output.record(&kept, &format!("this host is {} already", own.login));
    }
    join(arguments, settings, output).await
}

async fn join(
    arguments: Arguments,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let facts = arguments.machine.facts(&arguments.features, output)?;
    let host_id = arguments.id()?;
    if arguments.dry_run {
        let text = format!("{host_id} would join with {}", facts.features.join(" "));
        return output.record(&facts, &text);
    }
    let token = settings.given_token()?;
    let token = token.context("the host token is missing: give its file by --token-file")?;
    let (token, pinned) = parts(token)?;
    let trust = TrustSettings {
        fingerprint: settings.trust.fingerprint.or(pinned),
        ..settings.trust.clone()
    };
    let registry_ca_pem = read_pem(arguments.registry_ca_file.as_ref())?;
    let control_ca_pem = match trust.fingerprint {
        Some(_) => None,
        None => read_pem(trust.ca_file.as_ref())?,
    };
    // This check comes first, because joining spends a use of the token.
    HostCredential::check_writable(&arguments.credential)?;
    let secret = new_secret()?;
    let wish = JoinWish {
        token,
        host_id: host_id.clone(),
        machine: identity::machine(&arguments.machine.root),
        secret_sha256: sha256(&secret),
        facts,
        machine_type: arguments.machine_type.unwrap_or_default(),
        replace: arguments.replace,
    };
    let (joined, proved) = patiently(settings, &trust, &wish, output).await?;
    let registry = registry(settings, &joined.registry)?;
    let credential = HostCredential {
        schema: 1,
        registry: registry.clone(),
        control: settings.control.clone(),
        host_id: host_id.clone(),
        machine_type: joined.machine_type.clone(),
        login: joined.login.clone(),
        secret,
        registry_ca_pem,
        control_ca_pem,
        control_fingerprint: proved.map(|it| it.to_string()),
        features: arguments.features,
    };
    credential.write(&arguments.credential)?;
    let said = Joined {
        host_id,
        machine_type: joined.machine_type,
        login: joined.login,
        registry,
        credential: arguments.credential,
        features: wish.facts.features,
        why: joined.why,
    };
    output.record(&said, &said.text())
}

impl Arguments {
    /// The given id, or an id from the host name.
    fn id(&self) -> anyhow::Result<String> {
        let given = self.host_id.clone();
        let id = given.or_else(|| identity::host_id(&self.machine.root));
        id.context("the host has no name that tells it from others: give one by --host-id")
    }
}

fn sha256(secret: &SecretString) -> Vec<u8> {
    let hash = digest(&SHA256, secret.expose_secret().as_bytes());
    hash.as_ref().to_vec()
}

/// Joins, with retries while the control plane is unreachable: a repeated
/// request returns the same login. Also returns the control plane's verified
/// fingerprint.
async fn patiently(
    settings: &Settings,
    trust: &TrustSettings,
    wish: &JoinWish,
    output: &mut Output<'_>,
) -> anyhow::Result<(crate::client::Joined, Option<Fingerprint>)> {
    let begun = Instant::now();
    let mut is_told = false;
    loop {
        let joining = async {
            let client = HostClient::connect(&settings.control, settings.insecure, trust).await?;
            let joined = client.join(wish).await?;
            anyhow::Ok((joined, client.proved()))
        };
        match joining.await {
            Err(error) if is_passing(&error) && begun.elapsed() < PATIENCE => {
                if !std::mem::replace(&mut is_told, true) {
                    output.note(&format!("{error:#}: trying again for a minute"));
                }
                tokio::time::sleep(PAUSE).await;
            }
            done => return done,
        }
    }
}

fn is_passing(error: &anyhow::Error) -> bool {
    let failure = error.downcast_ref::<Failure>();
    failure.is_some_and(Failure::may_pass)
}

/// The secret of a token and, after a dot, the fingerprint of the control
/// plane's authority.
fn parts(token: &SecretString) -> anyhow::Result<(SecretString, Option<Fingerprint>)> {
    let text = token.expose_secret().trim();
    let (secret, fingerprint) = match text.split_once('.') {
        Some((secret, fingerprint)) => (secret, Some(fingerprint.parse())),
        None => (text, None),
    };
    let is_host_token = secret.starts_with("mh_host_");
    let fingerprint = fingerprint.transpose().ok().filter(|_| is_host_token);
    let fingerprint = fingerprint.ok_or_else(|| {
        anyhow!("the token file holds no host token: make one with `metahubctl host token create`")
    })?;
    Ok((SecretString::from(secret), fingerprint))
}

fn read_pem(path: Option<&PathBuf>) -> anyhow::Result<Option<String>> {
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    path.map(read).transpose()
}

/// 256 random bits, as for every login.
fn new_secret() -> anyhow::Result<SecretString> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| anyhow!("the operating system gives no random bytes"))?;
    Ok(SecretString::from(URL_SAFE_NO_PAD.encode(bytes)))
}

/// The given registry, or the one from the control plane.
fn registry(settings: &Settings, told: &str) -> anyhow::Result<Url> {
    let text = match (&settings.registry, told) {
        (Some(given), _) => given.as_str(),
        (None, "") => {
            return Err(anyhow!(
                "the control plane does not tell the registry's address: give it by --registry \
                 URL, or to the control plane by --registry-url, and run this again"
            ));
        }
        (None, told) => told,
    };
    let with = |scheme: &str| Url::parse(&format!("{scheme}://{text}"));
    let url = match text.contains("://") {
        true => Url::parse(text),
        false => match with("http") {
            Ok(url) if is_local(&url) => Ok(url),
            _ => with("https"),
        },
    };
    let url = url.with_context(|| format!("the registry `{text}` is no URL"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err(anyhow!("the registry `{text}` is no URL of http or https")),
    }
}

impl Joined {
    fn text(&self) -> String {
        format!(
            "This host has joined.\n\n  host      {}\n  type      {}   ({})\n  login     {}\n  registry  {}\n\n\
             Its login is in {}, for its owner only.\n",
            self.host_id,
            self.machine_type,
            self.why,
            self.login,
            self.registry,
            self.credential.display(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_a_fingerprint_behind_a_dot_or_none_and_another_token_is_refused() {
        let split = |text: &str| parts(&SecretString::from(text));
        let hex = "0a".repeat(32);

        let (secret, fingerprint) = split(&format!("mh_host_abc.{hex}")).unwrap();

        assert_eq!(secret.expose_secret(), "mh_host_abc");
        assert_eq!(fingerprint.unwrap().to_string(), format!("sha256:{hex}"));
        assert!(split("mh_host_abc").unwrap().1.is_none());
        for wrong in ["mh_join_abc", "mh_host_abc.xyz", &format!("abc.{hex}")] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }
}
