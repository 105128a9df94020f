//! The settings: flags first, then the environment, then the settings file.

use std::{
    env::home_dir,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Context, anyhow};
use clap::builder::{OsStringValueParser, TypedValueParser};
use metahub_worker::trust::Fingerprint;
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::{client::TrustSettings, output::Format, secret, sign_in::Sessions};

const DEFAULT_CONTROL: &str = "http://127.0.0.1:7400";
/// Where `metahubctl up` leaves its admin token.
const LOCAL_TOKEN: &str = "metahub-data/admin-token";

/// The settings that every command shares.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Config {
    /// The control plane [default: http://127.0.0.1:7400].
    #[arg(long, global = true, env = "METAHUB_CONTROL", value_name = "URL", value_parser = parse_control)]
    control: Option<Url>,

    /// The file that holds the admin token; `-` is stdin [default: the sign-in
    /// of `auth login`, or else ./metahub-data/admin-token].
    #[arg(long, global = true, env = "METAHUB_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// The registry: to show in `docker login` lines and to fetch images from
    /// [default: that of a connected worker].
    #[arg(long, global = true, env = "METAHUB_REGISTRY", value_name = "URL")]
    registry: Option<String>,

    /// How to print records [default: table].
    #[arg(short, long, global = true, env = "METAHUB_OUTPUT", value_enum)]
    output: Option<Format>,

    /// Send the admin token in plain text to other hosts than this one.
    #[arg(long, global = true, env = "METAHUB_INSECURE")]
    insecure: bool,

    /// What the certificate of an https:// control plane is rooted in, as its
    /// log shows it. By default what was remembered or, on a terminal, is
    /// confirmed.
    #[arg(
        long,
        global = true,
        env = "METAHUB_FINGERPRINT",
        value_name = "sha256:HEX"
    )]
    fingerprint: Option<Fingerprint>,

    /// Authorities to trust for an https:// control plane instead, as PEM.
    #[arg(long, global = true, env = "METAHUB_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// After a change, wait until every connected worker serves it.
    #[arg(long, global = true)]
    wait: bool,

    /// The settings file [default: ~/.config/metahub/config.toml].
    #[arg(long, global = true, env = "METAHUB_SETTINGS", value_name = "FILE")]
    settings: Option<PathBuf>,

    /// Where settings files are, as the XDG base directory specification has it.
    #[arg(long, global = true, env = "XDG_CONFIG_HOME", hide = true, value_parser = maybe_empty())]
    xdg_config_home: Option<PathBuf>,

    /// Where docker keeps its settings.
    #[arg(long, global = true, env = "DOCKER_CONFIG", hide = true, value_parser = maybe_empty())]
    docker_config: Option<PathBuf>,
}

/// What the settings file may hold. Paths in it are relative to it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SettingsFile {
    control: Option<String>,
    token_file: Option<PathBuf>,
    registry: Option<String>,
    output: Option<Format>,
    #[serde(default)]
    insecure: bool,
    fingerprint: Option<String>,
    ca_file: Option<PathBuf>,
}

/// The settings, with all sources taken together.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The control plane.
    pub(crate) control: Url,
    /// The registry's URL, or its host and port, when it is set.
    pub(crate) registry: Option<String>,
    /// Docker's directory of settings.
    pub(crate) docker_config: Option<PathBuf>,
    /// How to print records.
    pub(crate) format: Format,
    /// Whether plain text may leave this host.
    pub(crate) insecure: bool,
    /// Whether to wait for the workers after a change.
    pub(crate) wait: bool,
    /// Whom to take for the control plane.
    pub(crate) trust: TrustSettings,
    /// Where what is the person's is kept, if they have a home.
    directory: Option<PathBuf>,
    token_file: Option<PathBuf>,
    /// The token once it was read: stdin can be read only once.
    token: OnceLock<SecretString>,
}

impl Config {
    /// Takes flags, environment and settings file together.
    pub(crate) fn resolve(self) -> anyhow::Result<Settings> {
        let file = self.settings_file()?;
        let pinned = file.fingerprint.as_deref().map(str::parse).transpose();
        let trust = TrustSettings {
            fingerprint: self
                .fingerprint
                .or(pinned.context("the settings hold a wrong fingerprint")?),
            ca_file: self.ca_file.clone().or(file.ca_file),
            known_controls: self.directory().map(|it| it.join("known-controls")),
        };
        let directory = self.directory();
        let docker = || home_dir().map(|home| home.join(".docker"));
        let pointed = file.control.as_deref().map(parse_control).transpose();
        let pointed = pointed.map_err(|reason| anyhow!("`control` in the settings: {reason}"))?;
        let default = || Url::parse(DEFAULT_CONTROL).context("the default URL is wrong");
        Ok(Settings {
            control: self.control.or(pointed).map_or_else(default, Ok)?,
            registry: self.registry.or(file.registry),
            docker_config: self.docker_config.filter(|it| is_set(it)).or_else(docker),
            format: self.output.or(file.output).unwrap_or_default(),
            insecure: self.insecure || file.insecure,
            wait: self.wait,
            trust,
            directory,
            token_file: self.token_file.or(file.token_file),
            token: OnceLock::new(),
        })
    }

    fn settings_file(&self) -> anyhow::Result<SettingsFile> {
        if let Some(path) = &self.settings {
            return SettingsFile::read(path);
        }
        match self.directory().map(|it| it.join("config.toml")) {
            Some(path) if path.exists() => SettingsFile::read(&path),
            _ => Ok(SettingsFile::default()),
        }
    }

    /// Where metahubctl keeps what is the person's.
    fn directory(&self) -> Option<PathBuf> {
        let base = self.xdg_config_home.clone().filter(|it| is_set(it));
        let base = base.or_else(|| home_dir().map(|home| home.join(".config")));
        base.map(|base| base.join("metahub"))
    }
}

/// Takes a directory, and nothing for none: an empty variable counts as unset.
fn maybe_empty() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

fn is_set(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

/// Where a control plane is. Nothing else than http and https: a token goes
/// there.
fn parse_control(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| "write it as https://HOST:PORT or, for plain text, http://HOST:PORT".into())
}

impl SettingsFile {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let wrong = || format!("cannot read the settings in {}", path.display());
        let text = fs::read_to_string(path).with_context(wrong)?;
        let mut file: Self = toml::from_str(&text).with_context(wrong)?;
        let paths = [&mut file.token_file, &mut file.ca_file];
        if let Some(dir) = path.parent() {
            for path in paths.into_iter().flatten() {
                *path = dir.join(&*path);
            }
        }
        Ok(file)
    }
}

impl Settings {
    /// The token of the token file, read at the first call. `None`: no such
    /// file is set.
    pub(crate) fn given_token(&self) -> anyhow::Result<Option<&SecretString>> {
        match (self.token.get(), &self.token_file) {
            (Some(token), _) => Ok(Some(token)),
            (None, Some(path)) => {
                let token = secret::read(path)?;
                Ok(Some(self.token.get_or_init(|| token)))
            }
            (None, None) => Ok(None),
        }
    }

    /// The admin token of a control plane whose data directory is here.
    pub(crate) fn local_token(&self) -> anyhow::Result<Option<SecretString>> {
        match fs::metadata(LOCAL_TOKEN) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            _ => secret::read(Path::new(LOCAL_TOKEN)).map(Some),
        }
    }

    /// The sign-ins of whoever runs metahubctl.
    pub(crate) fn sessions(&self) -> anyhow::Result<Sessions> {
        let directory = self.directory.as_deref();
        let directory = directory.context("there is no home directory to keep sign-ins in")?;
        Ok(Sessions::within(directory))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn resolve(config: Config, settings: &str) -> anyhow::Result<Settings> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, settings).unwrap();
        Config {
            settings: Some(path),
            ..config
        }
        .resolve()
    }

    #[test]
    fn a_flag_wins_over_the_settings_file() {
        let flags = Config {
            control: Some("http://flag:1".parse().unwrap()),
            ..Config::default()
        };

        let settings = resolve(flags, "control = 'http://file:1'\noutput = 'json'").unwrap();

        assert_eq!(settings.control.as_str(), "http://flag:1/");
        assert_eq!(settings.format, Format::Json);
    }

    #[test]
    fn a_control_plane_is_at_an_http_or_https_address() {
        assert!(parse_control("https://control:7400").is_ok());
        for text in [
            "",
            "control",
            "control:7400",
            "127.0.0.1:7400",
            "ftp://control",
            "https://",
            "unix:/run/x",
        ] {
            assert!(parse_control(text).is_err(), "{text}");
        }
        let error = resolve(Config::default(), "control = 'ftp://file:1'").unwrap_err();
        assert!(error.to_string().contains("https://HOST:PORT"), "{error}");
    }

    #[test]
    fn an_unknown_setting_is_refused_by_name() {
        let error = resolve(Config::default(), "contrl = 'http://file:1'").unwrap_err();

        assert!(format!("{error:#}").contains("contrl"), "{error:#}");
    }

    #[test]
    fn a_token_file_is_relative_to_the_settings_that_name_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, "token-file = 'token'").unwrap();
        fs::write(dir.path().join("token"), "secret").unwrap();

        let file = SettingsFile::read(&path).unwrap();

        let token = secret::read(&file.token_file.unwrap()).unwrap();
        assert_eq!(token.expose_secret(), "secret");
    }
}
