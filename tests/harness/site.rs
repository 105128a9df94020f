//! A whole MetaHub inside the test: an upstream in memory, a control plane,
//! workers, a user with machine types.

use metahub_cli::demo::{
    image::{Form, ImageSet, REPOSITORY},
    registry::Registry,
};

use crate::{
    admin::{Admin, Login},
    client::RegistryClient,
    control::Control,
    worker::Worker,
};

/// Workers over an upstream that has `qnib/bench:latest`.
#[derive(Debug)]
pub struct Site {
    /// The upstream.
    pub upstream: Registry,
    /// What `qnib/bench:latest` is there.
    pub bench: ImageSet,
    /// The control plane.
    pub control: Control,
    /// The workers.
    pub workers: Vec<Worker>,
    /// What edits the policy.
    pub admin: Admin,
    /// The login of a Broadwell host.
    pub type1: Login,
    /// The login of a Skylake host.
    pub type2: Login,
}

/// The policy that most tests start from, on a control plane that runs.
pub async fn policy(admin: &mut Admin, upstream: &str) -> (Login, Login) {
    admin.put_default_upstream("upstream.test", upstream).await;
    admin.create_user("qnib").await;
    let type1 = admin.create_type("qnib", "type1", &["cpu:broadwell"]).await;
    let type2 = admin.create_type("qnib", "type2", &["cpu:skylake"]).await;
    (type1, type2)
}

impl Site {
    /// Starts one with this many workers, and docker's form of the image.
    pub async fn start(workers: usize) -> Self {
        Self::start_with(workers, Form::Docker, &[]).await
    }

    /// Starts one whose workers get more flags.
    pub async fn start_with(workers: usize, form: Form, flags: &[&str]) -> Self {
        let upstream = Registry::start().await.expect("loopback has a free port");
        let bench = ImageSet::bench(form).expect("memory takes all");
        upstream.put_images(REPOSITORY, "latest", &bench);
        let control = Control::start().await;
        let mut admin = control.place().admin();
        let (type1, type2) = policy(&mut admin, &upstream.url()).await;
        let mut fleet = Vec::new();
        for _ in 0..workers {
            fleet.push(Worker::start_with(control.place(), flags).await);
        }
        admin.all_current(workers).await;
        Self {
            upstream,
            bench,
            control,
            workers: fleet,
            admin,
            type1,
            type2,
        }
    }

    /// A client of the `n`th worker, from 0.
    pub fn client(&self, n: usize, login: &Login) -> RegistryClient {
        RegistryClient::new(self.workers[n].addr(), login)
    }

    /// A client of the first worker, as the Broadwell host.
    pub fn host(&self) -> RegistryClient {
        self.client(0, &self.type1)
    }

    /// Puts an image of one variant into the upstream, under the tag `latest`.
    pub fn put_variant(&self, repository: &str, needs: &[&str]) -> ImageSet {
        let set = ImageSet::new(Form::Docker, &[needs]).expect("memory takes all");
        self.upstream.put_images(repository, "latest", &set);
        set
    }
}
