//! Images FROM scratch, of programs that need nothing else.

use std::{fs, path::Path};

use metahub_tests::{invocation::run, parts::Dockerd, program};
use tempfile::TempDir;

/// The name of the image with MetaHub's three programs.
pub(super) const METAHUB: &str = "metahub:test";
/// The name of the image with traefik.
pub(super) const TRAEFIK: &str = "traefik:test";

const PROGRAMS: [&str; 3] = ["metahub-control", "metahub-worker", "metahubctl"];
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";

/// Builds the image of `deploy/Dockerfile`, with the binaries under test in
/// place of its first stage, which needs a registry for the Rust compiler.
pub(super) async fn build_metahub(docker: &Dockerd, deploy: &Path) {
    let context = TempDir::new().expect("a temporary directory");
    let bin = context.path().join("bin");
    let certificates = context.path().join("etc/ssl/certs");
    for dir in [&bin, &certificates, &context.path().join("empty")] {
        fs::create_dir_all(dir).expect("the build context can be written");
    }
    for name in PROGRAMS {
        strip(&program::ours(name), &bin.join(name)).await;
    }
    fs::copy(
        Path::new("/").join(AUTHORITIES),
        context.path().join(AUTHORITIES),
    )
    .expect("this machine has the certificates of the public authorities");
    let text = fs::read_to_string(deploy.join("Dockerfile")).expect("deploy/Dockerfile is there");
    let (_, last_stage) = text
        .split_once("FROM scratch\n")
        .expect("deploy/Dockerfile ends with a stage FROM scratch");
    let first_stage = "FROM scratch AS build
COPY bin /out/bin
COPY etc /out/etc
COPY empty /out/data
COPY empty /out/token
";
    let text = format!("{first_stage}FROM scratch\n{last_stage}");
    build(docker, context.path(), &text, METAHUB).await;
}

/// Builds an image of traefik's binary, which is static as its project ships it.
pub(super) async fn build_traefik(docker: &Dockerd) {
    let context = TempDir::new().expect("a temporary directory");
    fs::copy(program::traefik(), context.path().join("traefik"))
        .expect("the build context can be written");
    let text = "FROM scratch\nCOPY traefik /traefik\nENTRYPOINT [\"/traefik\"]\n";
    build(docker, context.path(), text, TRAEFIK).await;
}

async fn build(docker: &Dockerd, context: &Path, dockerfile: &str, name: &str) {
    fs::write(context.join("Dockerfile"), dockerfile).expect("the build context can be written");
    let context = context.to_string_lossy();
    docker
        .docker(&["build", "--quiet", "--tag", name, &context])
        .await
        .text();
}

/// Leaves out what only a debugger reads: most of the bytes.
async fn strip(from: &Path, to: &Path) {
    let args = ["-o".as_ref(), to.as_os_str(), from.as_os_str()];
    run(Path::new("strip"), args).await.text();
}
