//! Clocks that jump, at the control plane and at one worker of three. All of
//! them over TLS, since certificates go by the clock.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use http::Method;
use metahub_cli::demo::{
    image::{Form, ImageSet, REPOSITORY},
    registry::Registry,
};
use metahub_proto::policy::v1::Upstream;
use metahub_tests::{
    admin::{Admin, Login},
    client::{RegistryClient, sent},
    control::{ControlProcess, Place},
    parts::Clock,
    port::free_addr,
    process::Process,
    wait::{eventually, within},
    worker::readiness,
};
use tempfile::TempDir;

const PROGRAM: &str = "metahub-worker";
const WORKERS: usize = 3;
/// How long workers may be behind after a jump.
const SOON: Duration = Duration::from_secs(5);
const HOUR: Duration = Duration::from_secs(60 * 60);
/// For as long workers' certificates are good, too.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MANIFEST: &str = "/v2/qnib/bench/manifests/latest";

/// A control plane and workers that have joined, each with a clock of its own.
struct Stage {
    clock: Clock,
    control: ControlProcess,
    admin: Admin,
    hosts: Vec<Host>,
    /// A login that is there from the start.
    login: Login,
    /// How many others there were.
    others: usize,
    _upstream: Registry,
}

/// A worker and its clock.
struct Host {
    process: Process,
    clock: Clock,
    registry: SocketAddr,
    admin: SocketAddr,
    args: Vec<String>,
    dir: TempDir,
}

impl Host {
    async fn start(n: usize, control: &Place, token: &str) -> Self {
        let clock = Clock::right();
        let dir = TempDir::new().expect("a temporary directory");
        let (registry, admin) = (free_addr(), free_addr());
        fs::write(dir.path().join("token"), token).expect("it can be written");
        let args = args(n, control, [registry, admin], dir.path());
        let process = clock.start(PROGRAM, args.clone(), dir.path());
        let host = Self {
            process,
            clock,
            registry,
            admin,
            args,
            dir,
        };
        host.ready().await;
        host
    }

    async fn ready(&self) {
        eventually("the worker is ready", async || {
            readiness(self.admin).await.is_some()
        })
        .await;
    }

    /// Stops it, sets its clock, and starts it again.
    async fn restart(&mut self, jump: impl Fn(&Clock, Duration)) {
        self.process.terminate();
        let process = &mut self.process;
        eventually("the worker ends", async || !process.is_running()).await;
        jump(&self.clock, DAY);
        self.process = self
            .clock
            .start(PROGRAM, self.args.clone(), self.dir.path());
        self.ready().await;
    }

    fn certificate(&self) -> String {
        let file = self.dir.path().join("state/identity.json");
        let text = fs::read_to_string(file).expect("it has joined");
        let json: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        json["certificate_pem"].to_string()
    }
}

fn args(n: usize, control: &Place, addrs: [SocketAddr; 2], dir: &Path) -> Vec<String> {
    let ([registry, admin], dir) = (addrs, dir.display());
    vec![
        format!("--worker-id=w{n}"),
        format!("--control={}", control.url()),
        format!("--registry-addr={registry}"),
        format!("--admin-addr={admin}"),
        format!("--join-token-file={dir}/token"),
        format!("--state-dir={dir}/state"),
        format!("--snapshot-file={dir}/snapshot"),
        format!("--snapshot-key-file={dir}/key"),
        "--challenge=bearer".into(),
        "--max-policy-age=1h".into(),
    ]
}

impl Stage {
    async fn start() -> Self {
        let clock = Clock::right();
        let control = ControlProcess::start_by(&clock, Place::fresh().with(&["--tls"])).await;
        let mut admin = control.place().admin();
        let upstream = put_restricted_upstream(&mut admin).await;
        admin.create_user("qnib").await;
        admin.create_grant(Some("qnib"), "upstream.test/**").await;
        let login = admin.create_type("qnib", "type1", &["cpu:skylake"]).await;
        let mut hosts = Vec::new();
        for n in 0..WORKERS {
            let token = admin.create_join_token(&format!("for-w{n}"), 1).await;
            hosts.push(Host::start(n, control.place(), &token).await);
        }
        admin.all_current(WORKERS).await;
        Self {
            clock,
            control,
            admin,
            hosts,
            login,
            others: 0,
            _upstream: upstream,
        }
    }

    /// Fails unless changes are at all workers soon, which go on to serve what
    /// is restricted.
    async fn goes_on(&mut self) {
        assert_eq!(self.pulled(&self.login).await, [200; WORKERS]);
        let name = format!("other{}", self.others);
        self.others += 1;
        let other = self.admin.create_type("qnib", &name, &["cpu:zen4"]).await;
        self.admin.all_current_within(SOON, WORKERS).await;
        assert_eq!(self.pulled(&other).await, [200; WORKERS]);
        self.admin.delete_login(&other.name).await;
        within(SOON, "a revoked login is refused", async || {
            self.pulled(&other).await == [401; WORKERS]
        })
        .await;
    }

    /// What each worker answers to one who pulls with the login's secret.
    async fn pulled(&self, login: &Login) -> [u16; WORKERS] {
        self.asked(async |client| {
            let request = client.request(Method::GET, MANIFEST);
            sent(request.basic_auth(&login.name, Some(&login.secret))).await
        })
        .await
    }

    /// The same, with a token.
    async fn with_token(&self, token: &str) -> [u16; WORKERS] {
        self.asked(async |client| {
            let request = client.request(Method::GET, MANIFEST);
            sent(request.bearer_auth(token)).await
        })
        .await
    }

    async fn asked(
        &self,
        ask: impl AsyncFn(RegistryClient) -> reqwest::Response,
    ) -> [u16; WORKERS] {
        let mut found = [0; WORKERS];
        for (found, host) in found.iter_mut().zip(&self.hosts) {
            *found = ask(RegistryClient::anonymous(host.registry))
                .await
                .status()
                .as_u16();
        }
        found
    }

    /// A token that the `n`th worker gives.
    async fn token(&self, n: usize) -> String {
        let client = RegistryClient::new(self.hosts[n].registry, &self.login);
        let path = format!("/token?service=metahub&scope=repository:{REPOSITORY}:pull");
        let body: serde_json::Value = client.get(&path).await.json().await.expect("JSON");
        body["token"].as_str().expect("a token").to_owned()
    }

    /// Since when each worker's stream is open.
    async fn open_since(&mut self) -> Vec<u64> {
        let workers = self.admin.workers().await;
        workers.iter().map(|it| it.since_unix_secs).collect()
    }

    /// Starts the control plane again, which all have to find.
    async fn restart_control(mut self) -> Self {
        self.control = ControlProcess::start_by(&self.clock, self.control.kill()).await;
        self.admin = self.control.place().admin();
        self
    }
}

async fn put_restricted_upstream(admin: &mut Admin) -> Registry {
    let upstream = Registry::start().await.expect("the upstream binds");
    let set = ImageSet::new(Form::Docker, &[&[]]).expect("memory takes all");
    upstream.put_images(REPOSITORY, "latest", &set);
    let setting = Upstream {
        name: "upstream.test".into(),
        url: upstream.url(),
        is_default: true,
        restricted: true,
        ..Default::default()
    };
    admin.put_upstream(setting).await;
    upstream
}

#[tokio::test]
async fn a_control_planes_clock_that_jumps_and_is_set_right_disturbs_no_worker() {
    let mut stage = Stage::start().await;
    let (before, since) = (stage.token(0).await, stage.open_since().await);

    for jump in [Clock::set_ahead, Clock::set_behind] {
        jump(&stage.clock, DAY);
        stage.goes_on().await;
        let token = stage.token(1).await;
        assert_eq!(stage.with_token(&token).await, [200; WORKERS]);

        stage.clock.set_right();
        stage.goes_on().await;
        assert_eq!(stage.with_token(&token).await, [200; WORKERS]);
    }

    assert_eq!(stage.with_token(&before).await, [200; WORKERS]);
    assert_eq!(stage.open_since().await, since);
}

#[tokio::test]
async fn a_control_plane_that_starts_with_a_wrong_clock_has_its_workers_back() {
    let mut stage = Stage::start().await;
    let before = stage.token(0).await;

    for jump in [Clock::set_ahead, Clock::set_behind] {
        // Certificates are good for longer.
        jump(&stage.clock, DAY - HOUR);
        stage = stage.restart_control().await;
        stage.admin.all_current(WORKERS).await;
        stage.goes_on().await;
        let token = stage.token(1).await;

        stage.clock.set_right();
        stage.goes_on().await;
        stage = stage.restart_control().await;
        stage.admin.all_current(WORKERS).await;
        stage.goes_on().await;
        for token in [&before, &token] {
            assert_eq!(stage.with_token(token).await, [200; WORKERS]);
        }
    }
}

#[tokio::test]
async fn a_worker_whose_clock_jumps_serves_on_and_gives_tokens_that_others_refuse() {
    let mut stage = Stage::start().await;
    let since = stage.open_since().await;

    for by in [HOUR, DAY] {
        for jump in [Clock::set_ahead, Clock::set_behind] {
            jump(&stage.hosts[0].clock, by);
            stage.goes_on().await;
            let (wrong, right) = (stage.token(0).await, stage.token(1).await);
            assert_eq!(stage.with_token(&wrong).await, [200, 401, 401]);
            assert_eq!(stage.with_token(&right).await, [401, 200, 200]);

            stage.hosts[0].clock.set_right();
            stage.goes_on().await;
            let again = stage.token(0).await;
            assert_eq!(stage.with_token(&again).await, [200; WORKERS]);
            assert_eq!(stage.with_token(&right).await, [200; WORKERS]);
            assert_eq!(stage.with_token(&wrong).await, [401; WORKERS]);
        }
    }

    assert_eq!(stage.open_since().await, since);
}

#[tokio::test]
async fn a_certificate_that_a_jump_has_ended_is_renewed_and_the_stream_goes_on() {
    let mut stage = Stage::start().await;
    let (since, first) = (stage.open_since().await, stage.hosts[0].certificate());

    stage.hosts[0].clock.set_ahead(DAY);

    eventually("it is renewed", async || {
        stage.hosts[0].certificate() != first
    })
    .await;
    stage.goes_on().await;
    assert_eq!(stage.open_since().await, since);
    stage = stage.restart_control().await;
    stage.admin.all_current(WORKERS).await;
    stage.hosts[0].clock.set_behind(DAY);
    stage = stage.restart_control().await;
    stage.admin.all_current(WORKERS).await;
    stage.goes_on().await;
}

#[tokio::test]
async fn certificates_that_all_clocks_take_for_over_are_renewed_over_the_open_streams() {
    let mut stage = Stage::start().await;
    let since = stage.open_since().await;
    let first: Vec<_> = stage.hosts.iter().map(Host::certificate).collect();

    let hosts = stage.hosts.iter().map(|host| &host.clock);
    hosts
        .chain([&stage.clock])
        .for_each(|it| it.set_ahead(2 * DAY));

    for (host, first) in stage.hosts.iter().zip(first) {
        eventually("it is renewed", async || host.certificate() != first).await;
    }
    stage.goes_on().await;
    assert_eq!(stage.open_since().await, since);
    stage = stage.restart_control().await;
    stage.admin.all_current(WORKERS).await;
    stage.goes_on().await;
}

#[tokio::test]
async fn a_policy_from_a_file_is_as_old_as_the_clock_says_until_the_control_plane_is_heard() {
    let mut stage = Stage::start().await;
    stage.control.pause();

    stage.hosts[0].restart(Clock::set_behind).await;
    let from_the_future = stage.pulled(&stage.login).await;
    stage.hosts[0].restart(Clock::set_ahead).await;
    let too_old = stage.pulled(&stage.login).await;
    stage.control.resume();

    assert_eq!(from_the_future, [200; WORKERS]);
    assert_eq!(too_old, [403, 200, 200]);
    eventually("the control plane is heard again", async || {
        stage.pulled(&stage.login).await == [200; WORKERS]
    })
    .await;
    stage.goes_on().await;
}
