//! Control planes: inside the test, or as a process that can be killed.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Parser as _;
use metahub_control::{App, Config};
use tempfile::TempDir;

use crate::{
    admin::Admin, parts::Clock, port::free_addr, process::Process, running::Running,
    wait::eventually,
};

const PROGRAM: &str = "metahub-control";

/// Where a control plane keeps its state, and where it serves: what stays when
/// it is started again.
#[derive(Clone, Debug)]
pub struct Place {
    addr: SocketAddr,
    dir: Arc<TempDir>,
    /// What it gets beside its place.
    flags: Vec<String>,
}

/// A control plane that serves inside the test until it is dropped.
#[derive(Debug)]
pub struct Control {
    place: Place,
    fingerprint: Option<String>,
    running: Running,
}

/// A control plane that is a process of its own.
#[derive(Debug)]
pub struct ControlProcess {
    /// First: it shows its log, which is in that place, when it ends.
    process: Process,
    place: Place,
}

impl Place {
    /// A new place at a free port.
    pub fn fresh() -> Self {
        Self::at(free_addr())
    }

    /// A new place.
    pub fn at(addr: SocketAddr) -> Self {
        Self {
            addr,
            dir: Arc::new(TempDir::new().expect("a temporary directory")),
            flags: Vec::new(),
        }
    }

    /// The same place for one with these flags.
    pub fn with(self, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Self { flags, ..self }
    }

    /// The settings of a control plane here.
    pub(crate) fn config(&self) -> Config {
        let program = ["metahub-control".to_owned()];
        Config::parse_from(program.into_iter().chain(self.args()))
    }

    fn args(&self) -> Vec<String> {
        let mut args = vec![
            format!("--grpc-addr={}", self.addr),
            format!("--data-dir={}", self.dir.path().display()),
        ];
        args.extend_from_slice(&self.flags);
        args
    }

    /// The same place as it is seen through a proxy at `addr`.
    pub fn seen_at(&self, addr: SocketAddr) -> Self {
        Self {
            addr,
            ..self.clone()
        }
    }

    /// Where it serves gRPC, as a URL.
    pub fn url(&self) -> String {
        let scheme = if self.is_secure() { "https" } else { "http" };
        format!("{scheme}://{}", self.addr)
    }

    fn is_secure(&self) -> bool {
        self.flags.iter().any(|flag| flag.starts_with("--tls"))
    }

    /// Where it serves gRPC.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The directory of its state.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The file that holds its authority, when it serves TLS.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The file that holds the worker token.
    pub fn worker_token_file(&self) -> PathBuf {
        self.dir.path().join("worker-token")
    }

    /// The file that holds the admin token.
    pub fn admin_token_file(&self) -> PathBuf {
        self.dir.path().join("admin-token")
    }

    /// Another place, with the same tokens: for a replica.
    pub fn twin(&self) -> Self {
        let twin = Self::fresh();
        for file in [Self::admin_token_file, Self::worker_token_file] {
            fs::copy(file(self), file(&twin)).expect("the token is copied");
        }
        twin
    }

    /// Connects as the admin.
    pub fn admin(&self) -> Admin {
        let token = fs::read_to_string(self.admin_token_file()).expect("there is an admin token");
        Admin::connect(&self.url(), token.trim(), &self.ca_file())
    }
}

impl Control {
    /// Starts one with no state.
    pub async fn start() -> Self {
        Self::start_at(Place::fresh()).await
    }

    /// Starts one with no state and more flags.
    pub async fn start_with(flags: &[&str]) -> Self {
        Self::start_at(Place::fresh().with(flags)).await
    }

    /// Starts one where another has been.
    pub async fn start_at(place: Place) -> Self {
        let app = App::bind(place.config())
            .await
            .expect("the control plane binds");
        assert_same_file(app.admin_token_file(), &place.admin_token_file());
        assert_same_file(app.worker_token_file(), &place.worker_token_file());
        Self {
            place,
            fingerprint: app.fingerprint(),
            running: Running::spawn(|shutdown| app.run(shutdown)),
        }
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What its certificate is rooted in.
    pub fn fingerprint(&self) -> &str {
        self.fingerprint.as_deref().expect("it serves TLS")
    }

    /// Shuts it down, and says where it was.
    pub async fn stop(self) -> Place {
        self.running.stop().await;
        self.place
    }
}

fn assert_same_file(said: &Path, expected: &Path) {
    assert_eq!(said, expected, "a token is where the harness looks for it");
}

impl ControlProcess {
    /// Starts one with no state, and waits until it answers.
    pub async fn start() -> Self {
        Self::start_at(Place::fresh()).await
    }

    /// Starts one where another has been, and waits until it answers.
    pub async fn start_at(place: Place) -> Self {
        Self::start_with(place, &[]).await
    }

    /// Starts one with more flags.
    pub async fn start_with(place: Place, flags: &[&str]) -> Self {
        let mut args = place.args();
        args.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let process = Process::start_ours(PROGRAM, args, place.dir.path());
        Self::started(place, process).await
    }

    /// Starts one that goes by `clock`.
    pub async fn start_by(clock: &Clock, place: Place) -> Self {
        let process = clock.start(PROGRAM, place.args(), place.dir.path());
        Self::started(place, process).await
    }

    async fn started(place: Place, process: Process) -> Self {
        let mut control = Self { process, place };
        control.answers().await;
        control
    }

    async fn answers(&mut self) {
        let Self { place, process } = self;
        eventually("the control plane answers", async || {
            assert!(process.is_running(), "it ended\n{}", process.tail());
            tokio::net::TcpStream::connect(place.addr).await.is_ok()
                && place.admin_token_file().exists()
                && place.worker_token_file().exists()
                && (place.ca_file().exists() || !place.is_secure())
        })
        .await;
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// All that it has written.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Stops it where it is, until it goes on.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.resume();
    }

    /// Kills it, and says where it was.
    pub fn kill(mut self) -> Place {
        self.process.kill();
        self.place.clone()
    }
}
