//! A whole MetaHub: a control plane, workers, a user with machine types.

use crate::{
    admin::{Admin, Login},
    client::RegistryClient,
    control::Control,
    worker::Worker,
};

/// A control plane and workers inside the test, over one upstream.
#[derive(Debug)]
pub struct Site {
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
    /// Starts one with `workers` workers, whose default upstream is the
    /// registry at the URL `upstream`.
    pub async fn over(upstream: &str, workers: usize) -> Self {
        Self::with_flags(upstream, workers, &[]).await
    }

    /// Starts one whose workers get more flags.
    pub async fn with_flags(upstream: &str, workers: usize, flags: &[&str]) -> Self {
        let control = Control::start().await;
        let mut admin = control.place().admin();
        let (type1, type2) = policy(&mut admin, upstream).await;
        let mut fleet = Vec::new();
        for _ in 0..workers {
            fleet.push(Worker::start_with(control.place(), flags).await);
        }
        admin.all_current(workers).await;
        Self {
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
}
