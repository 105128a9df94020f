//! How to try the demo with a docker daemon.

use std::{path::Path, time::Duration};

use tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::{Demo, REPOSITORY, TAG};

const SOCKET: &str = "/var/run/docker.sock";
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether something listens where the docker daemon is said to be.
pub(crate) async fn answers(docker_host: Option<&str>) -> bool {
    let host = docker_host.unwrap_or_default();
    let connecting = async {
        match host.split_once("://") {
            Some(("tcp", address)) => TcpStream::connect(address).await.is_ok(),
            Some(("unix", path)) => UnixStream::connect(path).await.is_ok(),
            Some(_) => false,
            None => UnixStream::connect(Path::new(SOCKET)).await.is_ok(),
        }
    };
    timeout(PATIENCE, connecting).await.unwrap_or(false)
}

/// The lines to copy for the first two hosts.
pub(crate) fn lines(demo: &Demo, stays: bool) -> String {
    let mut text = String::from(if stays {
        "\nWith docker, in another terminal (Ctrl-C here stops the demo):\n"
    } else {
        "\nWith docker, when the demo is started with --keep (ports and secrets differ each time):\n"
    });
    for (host, registry) in demo.hosts.iter().zip(&demo.workers) {
        let login = &host.login;
        text += &format!(
            "\n  echo {} | docker login --username {} --password-stdin {registry}\n  \
             docker run --rm {registry}/{REPOSITORY}:{TAG}\n",
            login.secret, login.name,
        );
    }
    if stays {
        text += &format!(
            "\nTo look inside:\n\n  metahubctl --control {} --token-file {} status\n",
            demo.planes.control(),
            demo.planes.admin_token_file().display(),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_daemon_that_is_not_there_does_not_answer() {
        assert!(!answers(Some("unix:///nowhere/docker.sock")).await);
        assert!(!answers(Some("ssh://somewhere")).await);
    }
}
