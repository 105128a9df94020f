//! What a client notices of the worker between it and a registry: `tests/compare`
//! finds nothing that `docs/differences.md` does not explain.

use std::path::Path;

use metahub_tests::{
    control::Control, invocation::run, parts::DockerRegistry, site::policy, worker::Worker,
};
use tempfile::TempDir;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[tokio::test]
async fn each_difference_from_docker_registrys_own_answers_is_explained() {
    let upstream = DockerRegistry::start().await;

    assert_explained(&upstream.url()).await;
}

/// Fails when an answer of an empty registry differs from a worker's in a way
/// that the page does not have, whether the worker keeps blobs or not.
pub(super) async fn assert_explained(upstream: &str) {
    let control = Control::start().await;
    let mut admin = control.place().admin();
    let (login, _) = policy(&mut admin, upstream).await;
    let directory = TempDir::new().expect("a temporary directory");
    let cache = format!("--blob-cache={}", directory.path().display());

    for flags in [&[][..], &[cache.as_str()]] {
        let worker = Worker::start_with(control.place(), flags).await;
        let args = [
            format!("--upstream={upstream}"),
            format!("--worker=http://{}", worker.addr()),
            format!("--login={}:{}", login.name, login.secret),
            "--name=upstream.test".into(),
            format!("--known={ROOT}/docs/differences.md"),
        ];

        run(&Path::new(ROOT).join("tests/compare"), args)
            .await
            .text();
    }
}
