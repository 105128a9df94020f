//! The engines of a later Debian suite, each by each challenge and with each
//! form of an answer: the table in `docs/engines.md`.
//!
//! `tests/run --engines SUITE` installs the engines, and sets
//! `METAHUB_TEST_ENGINES` to the directory of their programs.

mod clients;

use std::{env, fmt::Write as _, fs, path::PathBuf, rc::Rc};

use metahub_cli::demo::image::REPOSITORY;
use metahub_tests::{
    admin::Login,
    parts::{Cluster, CraneRegistry},
};
use tokio::task::LocalSet;

use self::clients::{Client, Pull};
use super::differences::assert_explained;

const CHALLENGES: [&str; 2] = ["basic", "bearer"];

/// How a host is given the one image that fits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The image's own manifest.
    Image,
    /// A trimmed index.
    Index,
}

/// A cluster with a Broadwell and a Skylake host of each form.
struct Hub {
    cluster: Cluster,
    listers: [Login; 2],
}

/// Where the programs of the suite are.
fn engines() -> PathBuf {
    let dir = env::var_os("METAHUB_TEST_ENGINES").map(PathBuf::from);
    dir.filter(|it| it.join("versions").is_file())
        .expect("run `tests/run --engines SUITE`, which installs what this test is about")
}

#[tokio::test]
async fn each_client_gets_its_hosts_variant_by_each_challenge_in_each_form() {
    let engines = engines();
    let mut rows: Vec<String> = Client::ALL.map(|it| it.row(&engines)).into();
    let mut failures = String::new();
    for challenge in CHALLENGES {
        let hub = Rc::new(Hub::start(challenge).await);
        for form in [Form::Image, Form::Index] {
            for (client, row) in Client::ALL.into_iter().zip(&mut rows) {
                let cell = if client.is_in(&engines) {
                    cell(&hub, client, form).await
                } else {
                    Ok("missing")
                };
                let shown = cell.as_ref().map_or("fails", |it| *it);
                let _ = write!(row, " {shown} |");
                if let Err(why) = cell {
                    let _ = writeln!(failures, "{client:?}, {challenge}, {form:?}: {why}");
                }
            }
        }
    }

    let head = "| client | version | Basic, image | Basic, index | Bearer, image | Bearer, index |\n|---|---|---|---|---|---|\n";
    let table = head.to_owned() + &rows.join("\n") + "\n";
    fs::write(engines.join("table.md"), &table).expect("the table can be written");
    assert!(failures.is_empty(), "{failures}\n{table}");
}

#[tokio::test]
async fn each_difference_from_cranes_registrys_own_answers_is_explained() {
    let upstream = CraneRegistry::start().await;

    assert_explained(&upstream.url()).await;
}

/// What the table says, or why the client fails.
async fn cell(hub: &Rc<Hub>, client: Client, form: Form) -> Result<&'static str, String> {
    let hub = hub.clone();
    // A task of its own: its panic is the reason.
    let pulls = async move { hub.pull_as_both_hosts(client, form).await };
    let task = async { tokio::task::spawn_local(pulls).await };
    let panic = match LocalSet::new().run_until(task).await {
        Ok(()) => return Ok("yes"),
        Err(error) => error.into_panic(),
    };
    match client.is_not_made_for(form) {
        Some(note) => Ok(note),
        None => Err(panic
            .downcast_ref::<String>()
            .map_or_else(|| "it panics".to_owned(), String::clone)),
    }
}

impl Hub {
    async fn start(challenge: &str) -> Self {
        let challenge = format!("--challenge={challenge}");
        let flags = [
            challenge.as_str(),
            "--trusted-proxy=127.0.0.0/8",
            // Signatures come later than images.
            "--tag-ttl=1ms",
        ];
        let mut cluster = Cluster::start_with(2, &flags).await;
        let admin = &mut cluster.admin;
        let listers = [
            admin
                .create_lister("qnib", "type3", &["cpu:broadwell"])
                .await,
            admin.create_lister("qnib", "type4", &["cpu:skylake"]).await,
        ];
        cluster.admin.all_current(2).await;
        Self { cluster, listers }
    }

    async fn pull_as_both_hosts(&self, client: Client, form: Form) {
        let cluster = &self.cluster;
        let [broadwell, skylake] = match form {
            Form::Image => [&cluster.type1, &cluster.type2],
            Form::Index => [&self.listers[0], &self.listers[1]],
        };
        let sets = [
            ("docker", broadwell, &cluster.docker.images[2]),
            ("oci", skylake, &cluster.oci.images[1]),
        ];
        for (tag, login, wanted) in sets {
            let upstream = format!("{}/{REPOSITORY}", cluster.upstream.addr());
            let pull = Pull {
                host: cluster.host(),
                image: cluster.image(tag),
                login,
                wanted,
                upstream,
            };
            client.gets(&pull).await;
        }
    }
}
