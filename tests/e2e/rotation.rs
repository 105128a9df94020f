//! An upstream's password is changed while hosts pull, and no pull fails.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use metahub_cli::demo::{
    digest::sha256,
    image::{Form, ImageSet},
    registry::Registry,
};
use metahub_tests::{
    client::RegistryClient, invocation::run, program::ours, site::Site, valve::Valve,
    wait::eventually,
};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const APP: &str = "private.test/app";
const HOSTS: usize = 4;
/// How many pulls of each host are enough to say that things go on: at least one
/// of them begins after those before it have ended.
const SOME: usize = 10;
/// More than the worker and the wires between hold by themselves, in bytes.
const LAYER: usize = 32 << 20;

/// A site beside whose upstream there is a private one, behind a valve.
struct Private {
    site: Site,
    registry: Arc<Registry>,
    valve: Valve,
    dir: TempDir,
}

impl Private {
    async fn start() -> Self {
        let mut site = Site::start_with(1, Form::Docker, &["--tag-ttl=0s"]).await;
        let registry = Registry::start().await.expect("loopback has a free port");
        let set = ImageSet::new(Form::Docker, &[&[]]).expect("memory takes all");
        registry.put_images("app", "latest", &set);
        let valve = Valve::before(registry.address(), LAYER as u64 / 4).await;
        site.admin.create_grant(None, "private.test/**").await;
        Self {
            site,
            registry: Arc::new(registry),
            valve,
            dir: TempDir::new().expect("a temporary directory"),
        }
    }

    /// Gives the upstream this password, by the command that admins use.
    async fn rotate(&mut self, password: &str) {
        let file: PathBuf = self.dir.path().join("password");
        std::fs::write(&file, password).expect("it can be written");
        let place = self.site.control.place();
        let flag = |name: &str, value: &Path| format!("--{name}={}", value.display());
        let args = [
            format!("--control={}", place.url()),
            flag("token-file", &place.admin_token_file()),
            "upstream".into(),
            "create".into(),
            "private.test".into(),
            format!("--url=http://{}", self.valve.addr()),
            "--username=robot".into(),
            flag("credential-file", &file),
        ];
        run(&ours("metahubctl"), args).await.text();
        self.site.admin.all_current(1).await;
    }
}

/// Hosts that pull tags that nobody has pulled before.
struct Pulls {
    /// The pulls of each host.
    done: [Arc<AtomicUsize>; HOSTS],
    failed: Arc<Mutex<Vec<String>>>,
    stop: CancellationToken,
    hosts: JoinSet<()>,
}

impl Pulls {
    fn start(private: &Private) -> Self {
        let mut pulls = Self {
            done: Default::default(),
            failed: Arc::default(),
            stop: CancellationToken::new(),
            hosts: JoinSet::new(),
        };
        let digest = private.registry.manifest("app", "latest");
        let digest = sha256(&digest.expect("it has one"));
        let tags = Arc::new(AtomicUsize::new(0));
        for done in pulls.done.clone() {
            let (host, registry) = (private.site.host(), private.registry.clone());
            let (failed, stop) = (pulls.failed.clone(), pulls.stop.clone());
            let (tags, digest) = (tags.clone(), digest.clone());
            pulls.hosts.spawn(async move {
                while !stop.is_cancelled() {
                    let tag = format!("t{}", tags.fetch_add(1, Relaxed));
                    registry.tag("app", &tag, Some(&digest));
                    if let Err(failure) = pulled(&host, &tag).await {
                        failed.lock().expect("no host panics").push(failure);
                    }
                    done.fetch_add(1, Relaxed);
                }
            });
        }
        pulls
    }

    async fn go_on(&self) {
        let done = || self.done.each_ref().map(|it| it.load(Relaxed));
        let before = done();
        eventually("all hosts pull", async || {
            let (now, before) = (done().into_iter(), before.into_iter());
            now.zip(before).all(|(now, before)| now >= before + SOME)
        })
        .await;
    }

    async fn stop(self) -> Vec<String> {
        self.stop.cancel();
        self.hosts.join_all().await;
        std::mem::take(&mut *self.failed.lock().expect("no host panics"))
    }
}

async fn pulled(host: &RegistryClient, tag: &str) -> Result<(), String> {
    let answer = host.manifest(APP, tag).await;
    match answer.status().as_u16() {
        200 => Ok(()),
        status => Err(format!("{tag}: {status} {:?}", answer.text().await)),
    }
}

/// Rotates a password that `require` has the registry ask for, while a blob is
/// on its way. What becomes of that is for `then`.
async fn rotates(require: impl Fn(&Registry, &str), then: impl Fn(&Valve)) {
    let mut private = Private::start().await;
    let layer = b"layer".repeat(LAYER / 5);
    let blob = private.registry.put_blob("app", layer.clone());
    require(&private.registry, "old");
    private.rotate("old").await;
    let pulls = Pulls::start(&private);
    pulls.go_on().await;
    let host = private.site.host();
    let path = format!("/v2/{APP}/blobs/{blob}");
    let whole = tokio::spawn(async move { host.get(&path).await.bytes().await });
    private.valve.stuck().await;

    private.registry.take_also("new");
    pulls.go_on().await;
    private.rotate("new").await;
    pulls.go_on().await;
    require(&private.registry, "new");
    pulls.go_on().await;
    then(&private.valve);

    assert!(whole.await.expect("no panic").expect("it is whole") == layer);
    assert_eq!(pulls.stop().await, Vec::<String>::new());
    let refused = private.registry.requests();
    let tagged = refused.iter().filter(|it| it.path.contains("/manifests/t"));
    assert!(tagged.count() >= 4 * HOSTS * SOME);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_is_rotated_fails_no_pull() {
    let require = |it: &Registry, password: &str| it.require_account("robot", password);
    rotates(require, Valve::open).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_for_tokens_that_is_rotated_fails_no_pull() {
    let require = |it: &Registry, password: &str| it.require_token("robot", password);
    rotates(require, Valve::open).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_breaks_off_after_its_password_has_died_goes_on_with_the_new_one() {
    let require = |it: &Registry, password: &str| it.require_account("robot", password);
    rotates(require, Valve::cut).await;
}
