//! Podman, buildah and skopeo, each with storage and logins of its own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    invocation::{Outcome, run, run_with_input},
    parts::{DockerHub, Host, HostRoot},
    program::{Program, with_helper},
};

/// One of the programs, and a place for its state.
#[derive(Debug)]
pub struct Containers {
    path: PathBuf,
    place: Vec<String>,
    dir: TempDir,
}

impl Containers {
    /// Podman.
    pub fn podman() -> Self {
        Self::with_storage(&Program {
            name: "podman",
            install: "install the Debian package podman",
        })
    }

    /// Buildah.
    pub fn buildah() -> Self {
        Self::with_storage(&Program {
            name: "buildah",
            install: "install the Debian package buildah",
        })
    }

    /// Skopeo, which has no storage.
    pub fn skopeo() -> Self {
        let program = Program {
            name: "skopeo",
            install: "install the Debian package skopeo",
        };
        Self::at(
            &program,
            TempDir::new().expect("a temporary directory"),
            Vec::new(),
        )
    }

    /// The same program for a host whose Docker Hub is `hub`. It pulls Docker
    /// Hub's names from `location`, for example `127.0.0.1:5000/docker.io`,
    /// over plain HTTP.
    pub fn with_location(self, location: &str, hub: &DockerHub) -> Self {
        let registries = self.dir.path().join("registries.conf");
        let text = format!(
            "[[registry]]\nprefix = \"docker.io\"\nlocation = \"{location}\"\ninsecure = true\n"
        );
        fs::write(&registries, text).expect("the configuration can be written");
        // A mount, because skopeo has no variable for this file.
        let script = "mount --bind \"$0\" /etc/containers/registries.conf && exec \"$@\"";
        let mut args = vec!["-c".into(), script.into(), registries.display().to_string()];
        args.push(self.path.display().to_string());
        args.extend(self.place);
        let (path, place) = hub.enter("sh".into(), args);
        Self {
            path,
            place,
            dir: self.dir,
        }
    }

    fn with_storage(program: &Program) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let path = |name: &str| dir.path().join(name).display().to_string();
        let place = vec![
            format!("--root={}", path("root")),
            format!("--runroot={}", path("run")),
            "--storage-driver=vfs".into(),
        ];
        Self::at(program, dir, place)
    }

    /// The programs refuse an authfile that is not there.
    fn at(program: &Program, dir: TempDir, place: Vec<String>) -> Self {
        fs::write(dir.path().join("auth.json"), "{}").expect("the authfile can be written");
        Self {
            path: program.path(),
            place,
            dir,
        }
    }

    /// The same program in the network of `host`.
    pub fn on(self, host: &Host) -> Self {
        let (path, place) = host.network().enter(self.path, self.place);
        Self {
            path,
            place,
            dir: self.dir,
        }
    }

    /// The same program with this content of containers.conf.
    pub fn with_settings(mut self, containers_conf: &str) -> Self {
        let file = self.path_of("containers.conf");
        fs::write(&file, containers_conf).expect("it can be written");
        let start = [
            format!("CONTAINERS_CONF={file}"),
            self.path.display().to_string(),
        ];
        self.place.splice(0..0, start);
        self.path = "env".into();
        self
    }

    /// Runs the program with `args`.
    pub async fn run(&self, args: &[&str]) -> Outcome {
        let place = self.place.iter().map(String::as_str);
        run(&self.path, place.chain(args.iter().copied())).await
    }

    /// Runs the program with the files of `host`.
    pub async fn run_on(&self, host: &HostRoot, args: &[&str]) -> Outcome {
        let args = args.iter().map(|it| (*it).to_owned());
        let args: Vec<String> = self.place.iter().cloned().chain(args).collect();
        host.run(&self.path, &args).await
    }

    /// Logs in at `registry`. The login stays until the next one.
    pub async fn login(&self, registry: &str, login: &str, secret: &str) -> Outcome {
        let authfile = self.authfile();
        let place = self.place.iter().map(String::as_str);
        let args = [
            "login",
            "--tls-verify=false",
            &authfile,
            "--username",
            login,
            "--password-stdin",
            registry,
        ];
        run_with_input(&self.path, place.chain(args), secret).await
    }

    /// Configures MetaHub's credential helper for `registry`, with the host's
    /// credential in the file `credential`.
    pub fn use_helper(&mut self, registry: &str, credential: &Path) {
        let config = serde_json::json!({"credHelpers": {registry: "metahub"}});
        let path = self.dir.path().join("auth.json");
        fs::write(path, config.to_string()).expect("the authfile can be written");
        self.path = with_helper(&self.path, credential, self.dir.path());
    }

    /// Pulls an image over plain HTTP.
    pub async fn pull(&self, image: &str) -> Outcome {
        self.run(&["pull", "--tls-verify=false", &self.authfile(), image])
            .await
    }

    /// Pulls an image over TLS, with the certificates in a directory.
    pub async fn pull_with(&self, certificates: &Path, image: &str) -> Outcome {
        let certificates = format!("--cert-dir={}", certificates.display());
        self.run(&["pull", &certificates, &self.authfile(), image])
            .await
    }

    /// Copies an image over TLS to the directory `name`, with skopeo and the
    /// certificates in a directory.
    pub async fn copy_with(&self, certificates: &Path, image: &str, name: &str) -> Outcome {
        let certificates = format!("--src-cert-dir={}", certificates.display());
        let from = format!("docker://{image}");
        let to = format!("dir:{}", self.path_of(name));
        let authfile = self.authfile();
        self.run(&["copy", &certificates, &authfile, &from, &to])
            .await
    }

    /// Runs an image that is here, with podman.
    pub async fn run_image(&self, image: &str) -> Outcome {
        self.run(&[
            "--runtime=runc",
            "run",
            "--rm",
            "--pull=never",
            "--network=none",
            "--ulimit=nofile=1024:1024",
            "--ulimit=nproc=1024:1024",
            image,
        ])
        .await
    }

    /// The digest that an image was pulled by, with podman.
    pub async fn digest(&self, image: &str) -> String {
        let args = ["image", "inspect", "--format={{.Digest}}", image];
        self.run(&args).await.text().trim().to_owned()
    }

    /// Copies an image over plain HTTP to the directory `name`, with skopeo.
    pub async fn copy(&self, image: &str, name: &str) -> Outcome {
        let from = format!("docker://{image}");
        let to = format!("dir:{}", self.path_of(name));
        let authfile = self.authfile();
        self.run(&["copy", "--src-tls-verify=false", &authfile, &from, &to])
            .await
    }

    /// The bytes of a manifest, with skopeo.
    pub async fn inspect_raw(&self, image: &str) -> Outcome {
        let name = format!("docker://{image}");
        let authfile = self.authfile();
        self.run(&["inspect", "--raw", "--tls-verify=false", &authfile, &name])
            .await
    }

    /// The tags of a repository, with skopeo.
    pub async fn list_tags(&self, repository: &str) -> Outcome {
        let name = format!("docker://{repository}");
        let authfile = self.authfile();
        self.run(&["list-tags", "--tls-verify=false", &authfile, &name])
            .await
    }

    /// A path in this host's own directory.
    pub fn path_of(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn authfile(&self) -> String {
        format!("--authfile={}", self.path_of("auth.json"))
    }
}
