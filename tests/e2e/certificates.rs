//! Private registries: certificates of authorities that only the site knows.

use metahub_cli::demo::image::{Form, REPOSITORY};
use metahub_proto::policy::v1::Upstream;
use metahub_tests::{
    authority::Authority,
    client::{error, header},
    site::Site,
    tls_front::TlsFront,
};
use reqwest::Response;

/// The same images as at the default upstream.
const PRIVATE: &str = "private.test/qnib/bench";

/// A site whose registry is also behind TLS, as `private.test` with an account.
struct Private {
    site: Site,
    front: TlsFront,
}

impl Private {
    async fn start() -> Self {
        let mut site = Site::start_with(1, Form::Docker, &["--tag-ttl=0s"]).await;
        let front = TlsFront::before(site.upstream.address()).await;
        site.admin.create_grant(None, "private.test/**").await;
        Self { site, front }
    }

    /// Says how the certificate is judged.
    async fn judge(&mut self, ca_pem: &str, insecure: bool) {
        let upstream = Upstream {
            name: "private.test".into(),
            url: self.front.url(),
            username: "robot".into(),
            password: "hunter2".into(),
            ca_pem: ca_pem.into(),
            insecure,
            ..Default::default()
        };
        self.site.admin.put_upstream(upstream).await;
        self.site.admin.all_current(1).await;
    }

    async fn pull(&self) -> Response {
        self.site.host().manifest(PRIVATE, "latest").await
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_named_as_the_reason() {
    let mut private = Private::start().await;
    let another = Authority::new().pem();
    private.site.upstream.require_account("robot", "hunter2");
    private.site.upstream.forget_requests();

    for ca_pem in ["", &another] {
        private.judge(ca_pem, false).await;
        let refused = private.pull().await;

        assert_eq!(refused.status(), 503);
        header(&refused, "retry-after");
        let (code, message) = error(refused).await;
        assert_eq!(code, "UNAVAILABLE");
        for part in ["private.test", "certificate is not trusted"] {
            assert!(message.contains(part), "{message}");
        }
    }
    assert_eq!(private.site.upstream.requests().len(), 0);
}

#[tokio::test]
async fn the_sites_own_authority_vouches_for_its_registry() {
    let mut private = Private::start().await;
    private.site.upstream.require_account("robot", "hunter2");
    private.judge("", false).await;
    assert_eq!(private.pull().await.status(), 503);

    let ca_pem = private.front.ca_pem();
    private.judge(&ca_pem, false).await;

    let digest = private.site.host().digest(PRIVATE, "latest").await;
    let image = private.site.bench.image(&digest).expect("one of its own");
    let layer = format!("/v2/{PRIVATE}/blobs/{}", image.layer.digest);
    let layer = private.site.host().get(&layer).await;
    assert_eq!(layer.bytes().await.unwrap(), image.layer.bytes);
}

#[tokio::test]
async fn an_insecure_registry_need_not_prove_itself_and_its_account_may_go_there() {
    let mut private = Private::start().await;
    private.site.upstream.require_account("robot", "hunter2");

    private.judge("", true).await;

    let digest = private.site.host().digest(PRIVATE, "latest").await;
    assert!(private.site.bench.image(&digest).is_some());
    // The same registry by plain http asks for the account that it lacks there.
    let plain = private.site.host().manifest(REPOSITORY, "latest").await;
    assert_eq!(plain.status(), 403);
}
