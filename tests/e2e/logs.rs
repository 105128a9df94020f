//! Programs whose output is not read, or cannot be written, and programs that
//! get a SIGHUP.

use std::{
    fs::File,
    io::{PipeReader, Write as _, pipe},
    process::{Child, Command, Stdio},
    thread,
};

use metahub_proto::admin::v1::ListUsersRequest;
use metahub_tests::{
    admin::{Admin, Login},
    client::RegistryClient,
    control::{Control, Place},
    port::free_addr,
    program::ours,
    wait::eventually,
    worker::{args, readiness},
};

/// What becomes of a program's output.
#[derive(Clone, Copy, Debug)]
enum Output {
    /// The reader of the pipe has gone.
    Closed,
    /// The file system is full.
    Full,
    /// The pipe for stderr is full, and its reader does not read.
    Blocked,
}

const ALL: [Output; 3] = [Output::Closed, Output::Full, Output::Blocked];

/// A program with such an output. Killed when dropped.
struct Program {
    child: Child,
    _unread: Option<PipeReader>,
}

impl Program {
    fn start(name: &str, args: &[String], output: Output) -> Self {
        let (stdout, stderr, _unread) = output.open();
        let child = Command::new(ours(name))
            .args(args)
            .env("METAHUB_LOG", "debug")
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn();
        Self {
            child: child.expect("it starts"),
            _unread,
        }
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.expect("kill can be run").success());
    }

    /// Its exit code after a SIGTERM.
    async fn stop(mut self) -> Option<i32> {
        self.signal("TERM");
        let mut status = None;
        eventually("it ends", async || {
            status = self.child.try_wait().expect("it is a child");
            status.is_some()
        })
        .await;
        status.and_then(|it| it.code())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Output {
    fn open(self) -> (Stdio, Stdio, Option<PipeReader>) {
        if let Self::Full = self {
            let full = || File::options().write(true).open("/dev/full");
            let full = || full().expect("Linux has it").into();
            return (full(), full(), None);
        }
        let (reader, writer) = pipe().expect("a pipe");
        let copy = writer.try_clone().expect("a copy");
        if let Self::Closed = self {
            return (copy.into(), writer.into(), None);
        }
        let mut filler = copy;
        // Ends with the reader.
        thread::spawn(move || while filler.write_all(&[0; 4096]).is_ok() {});
        (Stdio::null(), writer.into(), Some(reader))
    }
}

fn control_args(place: &Place) -> Vec<String> {
    vec![
        format!("--grpc-addr={}", place.addr()),
        format!("--data-dir={}", place.dir().display()),
    ]
}

/// Waits until the control plane at `place` answers an admin.
async fn admin(place: &Place) -> Admin {
    let is_there = async || place.admin_token_file().exists();
    eventually("there is a token", is_there).await;
    let mut admin = place.admin();
    eventually("it answers", async || {
        admin.client().list_users(ListUsersRequest {}).await.is_ok()
    })
    .await;
    admin
}

/// Makes changes, and returns the secret that one of them gave.
async fn login(admin: &mut Admin) -> Login {
    admin.create_user("qnib").await;
    admin.create_type("qnib", "type1", &["cpu:skylake"]).await
}

#[tokio::test]
async fn a_control_plane_answers_and_stops_whatever_becomes_of_its_output() {
    for output in ALL {
        let place = Place::fresh();
        let program = Program::start("metahub-control", &control_args(&place), output);

        let login = login(&mut admin(&place).await).await;

        assert!(!login.secret.is_empty(), "{output:?}");
        assert_eq!(program.stop().await, Some(0), "{output:?}");
    }
}

#[tokio::test]
async fn a_worker_answers_and_stops_whatever_becomes_of_its_output() {
    let control = Control::start().await;
    let login = login(&mut control.place().admin()).await;
    for output in ALL {
        let (registry, health) = (free_addr(), free_addr());
        let args = args(control.place(), registry, health);
        let worker = Program::start("metahub-worker", &args, output);
        let is_ready = async || {
            readiness(health)
                .await
                .is_some_and(|it| it.contains("ready"))
        };
        eventually("the worker is ready", is_ready).await;

        let answer = RegistryClient::new(registry, &login).get("/v2/").await;

        assert_eq!(answer.status(), 200, "{output:?}");
        assert_eq!(worker.stop().await, Some(0), "{output:?}");
    }
}

#[tokio::test]
async fn both_planes_in_one_process_answer_whatever_becomes_of_their_output() {
    for output in ALL {
        let (place, registry) = (Place::fresh(), free_addr());
        let mut args = vec!["up".to_owned()];
        args.extend(control_args(&place));
        args.push(format!("--registry-addr={registry}"));
        args.push(format!("--admin-addr={}", free_addr()));
        let up = Program::start("metahubctl", &args, output);

        let mut admin = admin(&place).await;
        let login = login(&mut admin).await;
        admin.all_current(1).await;

        let answer = RegistryClient::new(registry, &login).get("/v2/").await;
        assert_eq!(answer.status(), 200, "{output:?}");
        assert_eq!(up.stop().await, Some(0), "{output:?}");
    }
}

#[tokio::test]
async fn a_control_plane_goes_on_after_a_hangup() {
    let place = Place::fresh();
    let program = Program::start("metahub-control", &control_args(&place), Output::Closed);
    let mut admin = admin(&place).await;

    program.signal("HUP");

    admin.create_user("qnib").await;
    assert_eq!(program.stop().await, Some(0));
}
