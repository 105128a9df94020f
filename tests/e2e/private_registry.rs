//! A real registry with an authority and accounts of its own, as an upstream.

use std::fs;

use metahub_cli::demo::image::{Form, ImageSet, REPOSITORY};
use metahub_tests::{
    admin::Login,
    authority::Authority,
    client::error,
    invocation::{Outcome, run},
    parts::{ACCOUNT, DockerRegistry, Dockerd},
    program::ours,
    site::Site,
};
use tempfile::TempDir;

/// A site with docker logged in, and a private registry that has the image.
struct Private {
    site: Site,
    registry: DockerRegistry,
    authority: Authority,
    docker: Dockerd,
    dir: TempDir,
}

impl Private {
    async fn start() -> (Self, ImageSet) {
        let authority = Authority::new();
        let registry = DockerRegistry::start_private(&authority).await;
        let set = ImageSet::bench(Form::Oci).expect("memory takes all");
        registry.push_images(REPOSITORY, "latest", &set).await;
        let mut site = Site::start(1).await;
        site.admin.create_grant(None, "private.test/**").await;
        let docker = Dockerd::start().await;
        let Login { name, secret } = &site.type1;
        let host = site.workers[0].addr().to_string();
        docker.login(&host, name, secret).await.text();
        let dir = TempDir::new().expect("a temporary directory");
        fs::write(dir.path().join("password"), ACCOUNT.1).expect("it can be written");
        fs::write(dir.path().join("ca.pem"), authority.pem()).expect("it can be written");
        let private = Self {
            site,
            registry,
            authority,
            docker,
            dir,
        };
        (private, set)
    }

    /// Creates the upstream, by the command that admins use.
    async fn create(&mut self, flags: &[&str]) {
        let place = self.site.control.place();
        let file = |name| self.dir.path().join(name).display().to_string();
        let mut args = vec![
            format!("--control={}", place.url()),
            format!("--token-file={}", place.admin_token_file().display()),
        ];
        let create = [
            "upstream",
            "create",
            "private.test",
            "--username",
            ACCOUNT.0,
        ];
        args.extend(create.map(String::from));
        args.push(format!("--url={}", self.registry.url()));
        args.push(format!("--credential-file={}", file("password")));
        let flags = flags
            .iter()
            .map(|flag| flag.replace("ca.pem", &file("ca.pem")));
        args.extend(flags);
        run(&ours("metahubctl"), args).await.text();
        self.site.admin.all_current(1).await;
    }

    fn image(&self) -> String {
        let worker = self.site.workers[0].addr();
        format!("{worker}/private.test/{REPOSITORY}:latest")
    }

    async fn pull(&self) -> Outcome {
        self.docker.pull(&self.image()).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_runs_an_image_of_a_private_registry_once_its_authority_is_trusted() {
    let (mut private, set) = Private::start().await;
    private.create(&[]).await;
    let said = private.pull().await.complaint();
    assert!(said.contains("503 Service Unavailable"), "{said}");
    let name = format!("private.test/{REPOSITORY}");
    let refused = private.site.host().manifest(&name, "latest").await;
    let reason = error(refused).await.1;
    assert!(reason.contains("certificate is not trusted"), "{reason}");

    private.create(&["--ca=ca.pem"]).await;

    private.pull().await.text();
    let ran = private.docker.run(&private.image()).await.text();
    assert_eq!(ran, set.images[2].message);
    let stranger = format!("https://{}/v2/", private.registry.addr());
    let root = reqwest::Certificate::from_pem(private.authority.pem().as_bytes());
    let client = reqwest::Client::builder().add_root_certificate(root.unwrap());
    let answer = client.build().unwrap().get(stranger).send().await.unwrap();
    assert_eq!(answer.status(), 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_runs_an_image_of_an_insecure_registry_if_that_is_said() {
    let (mut private, set) = Private::start().await;

    private.create(&["--insecure-registry"]).await;

    private.pull().await.text();
    let ran = private.docker.run(&private.image()).await.text();
    assert_eq!(ran, set.images[2].message);
}
