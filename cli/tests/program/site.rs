//! A MetaHub that runs in one process, and an upstream in the test.

use std::{fs, process::Output};

use metahub_cli::demo::{
    client::Client,
    image::{Form, ImageSet, REPOSITORY},
    registry::Registry,
};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::process::{Running, metahubctl, printed};

/// A MetaHub with the user `qnib` and `qnib/bench:latest` at its upstream.
pub(crate) struct Site {
    pub(crate) upstream: Registry,
    pub(crate) bench: ImageSet,
    pub(crate) registry: String,
    pub(crate) home: TempDir,
    control: String,
    _running: Running,
}

/// A host's login.
pub(crate) struct Login {
    pub(crate) name: String,
    pub(crate) secret: String,
}

impl Site {
    pub(crate) async fn start() -> Self {
        let bench = ImageSet::bench(Form::Oci).expect("the images are written");
        let upstream = Registry::start().await.expect("a port is free");
        upstream.put_images(REPOSITORY, "latest", &bench);
        let home = tempdir().expect("there is room");
        let name = format!("--upstream={}={}", upstream.address(), upstream.url());
        let any = "127.0.0.1:0";
        let places = ["grpc", "registry", "admin"].map(|part| format!("--{part}-addr={any}"));
        let arguments: Vec<_> = ["up", &name]
            .into_iter()
            .chain(places.iter().map(String::as_str))
            .collect();
        let mut running = Running::start(&home, &arguments);
        let registry = running.value("registry");
        let control = running.value("admin API");
        let site = Self {
            upstream,
            bench,
            registry,
            home,
            control,
            _running: running,
        };
        printed(&site.run(&["user", "create", "qnib"]));
        site
    }

    /// Runs metahubctl against it, to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = metahubctl(&self.home, arguments);
        command.env("METAHUB_CONTROL", &self.control);
        command.output().expect("it starts")
    }

    /// What it prints for programs.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["-o", "json"]].concat();
        let printed = printed(&self.run(&arguments));
        serde_json::from_str(&printed).expect("it prints JSON")
    }

    /// Creates a type of `qnib`, and waits until the worker knows it.
    pub(crate) fn create_type(&self, name: &str, flags: &[&str]) -> Login {
        let create = ["type", "create", name, "--user=qnib", "--wait"];
        let created = self.json(&[&create, flags].concat());
        let text = |key: &str| created["login"][key].as_str().expect("a login").to_owned();
        Login {
            name: text("name"),
            secret: text("secret"),
        }
    }

    /// The flags that fetch images with `login`.
    pub(crate) fn login_flags(&self, login: &Login) -> [String; 2] {
        let path = self.home.path().join(&login.name);
        fs::write(&path, &login.secret).expect("there is room");
        [
            format!("--login={}", login.name),
            format!("--password-file={}", path.display()),
        ]
    }

    /// The digest that a host gets for a tag, or what it is told.
    pub(crate) async fn pull(&self, login: &Login, tag: &str) -> Result<String, String> {
        let url = format!("http://{}", self.registry);
        let client = Client::new(url, &login.name, &login.secret).expect("TLS is there");
        let digest = client.resolve(REPOSITORY, tag).await;
        digest.map_err(|error| error.to_string())
    }
}
