//! A pull by the engine itself, on request: the engine's own output is the
//! final proof.

use std::{process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

use super::{engines::Engine, finding::Finding};

const CHECK: &str = "pull";
/// The time limit for a pull.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) async fn check(engine: Engine, image: &str) -> Finding {
    let program = match engine {
        Engine::Containerd | Engine::K3s => "crictl",
        Engine::Docker | Engine::Buildkit => "docker",
        Engine::Podman => "podman",
    };
    let command = format!("{program} pull {image}");
    let running = Command::new(program)
        .args(["pull", image])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match timeout(PATIENCE, running).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => {
            let what = format!("{program} cannot be run: {error}");
            return Finding::fail(CHECK, what, format!("install {program}"));
        }
        Err(_) => {
            let what = format!("`{command}` takes longer than {} s", PATIENCE.as_secs());
            return Finding::fail(CHECK, what, format!("journalctl -u {}", engine.name()));
        }
    };
    if output.status.success() {
        return Finding::ok(CHECK, format!("`{command}` works"));
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.lines().rev().find(|it| !it.trim().is_empty());
    let what = format!(
        "`{command}` fails: {}",
        words.unwrap_or("it does not say why")
    );
    let next = format!("metahubctl image explain {image}");
    Finding::fail(CHECK, what, next)
}
