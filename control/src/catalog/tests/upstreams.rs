//! What changes of upstreams promise.

use super::*;
use crate::{
    Secret,
    records::{Account, ClientCertificate, Proxy},
};

#[tokio::test]
async fn making_an_upstream_the_default_takes_it_from_the_one_before() {
    let catalog = Catalog::in_memory().await;
    let ghcr = Upstream {
        is_default: true,
        ..upstream("ghcr.io")
    };

    catalog.put_upstream(&admin(), ghcr).await.unwrap();

    let policy = catalog.policy();
    let defaults = policy.all::<Upstream>().filter(|it| it.is_default);
    let names: Vec<&str> = defaults.map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["ghcr.io"]);
}

#[tokio::test]
async fn a_password_goes_over_plain_http_only_where_that_is_said_or_on_this_host() {
    let catalog = Catalog::in_memory().await;
    let put = async |url: &str, insecure: bool| {
        let account = Account {
            username: "robot".into(),
            password: Secret::from("hunter2".to_owned()),
        };
        let upstream = Upstream {
            url: url.into(),
            account: Some(account),
            insecure,
            ..upstream("registry.test")
        };
        catalog.put_upstream(&admin(), upstream).await
    };

    let refused = put("http://registry.test", false).await;
    assert!(matches!(refused, Err(Error::InvalidField { .. })));
    assert!(put("http://registry.test", true).await.is_ok());
    assert!(put("http://127.0.0.1:5000", false).await.is_ok());
    assert!(put("https://registry.test", false).await.is_ok());
}

#[tokio::test]
async fn the_default_upstream_cannot_be_deleted() {
    let catalog = Catalog::in_memory().await;

    let refused = catalog.delete_upstream(&admin(), "docker.io").await;

    assert!(matches!(refused, Err(Error::Blocked { .. })));
}

#[tokio::test]
async fn a_name_stands_for_one_upstream_only() {
    let catalog = catalog().await;
    let known_as = |name: &str, hosts: &[&str]| Upstream {
        hosts: hosts.iter().map(|&host| host.into()).collect(),
        ..upstream(name)
    };
    let mirrored = known_as("ghcr.io", &["ghcr.mirror.test", "ghcr.io"]);
    catalog.put_upstream(&admin(), mirrored).await.unwrap();

    for (name, hosts, field) in [
        ("quay.io", &["ghcr.mirror.test"][..], "hosts: "),
        ("quay.io", &["docker.io"], "hosts: "),
        ("quay.io", &["no host"], "hosts: "),
        ("ghcr.mirror.test", &[], "name: "),
    ] {
        let refused = catalog.put_upstream(&admin(), known_as(name, hosts)).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.starts_with(field), "{refused}");
    }
    let again = known_as("ghcr.io", &["ghcr.mirror.test"]);
    catalog.put_upstream(&admin(), again).await.unwrap();
}

#[tokio::test]
async fn an_upstreams_password_never_moves_to_another_address() {
    let catalog = Catalog::in_memory().await;
    let account = |password: &str| {
        Some(Account {
            username: "robot".into(),
            password: Secret::from(password.to_owned()),
        })
    };
    let with = |url: &str, password: &str| Upstream {
        url: url.into(),
        account: account(password),
        ..upstream("ghcr.io")
    };
    catalog
        .put_upstream(&admin(), with("https://ghcr.io", "hunter2"))
        .await
        .unwrap();

    let same = catalog
        .put_upstream(&admin(), with("https://ghcr.io", ""))
        .await;
    let moved = catalog
        .put_upstream(&admin(), with("https://evil.example", ""))
        .await;

    assert!(same.is_ok());
    assert!(matches!(moved, Err(Error::InvalidField { .. })));
    let policy = catalog.policy();
    let kept: &Upstream = policy.find(&Key::upstream("ghcr.io")).unwrap();
    assert_eq!(kept.account, account("hunter2"));
}

#[tokio::test]
async fn a_password_is_given_again_before_another_token_server_sees_it() {
    let catalog = Catalog::in_memory().await;
    let put = async |password: &str, token_hosts: &[&str]| {
        let upstream = Upstream {
            account: Some(Account {
                username: "robot".into(),
                password: Secret::from(password.to_owned()),
            }),
            token_hosts: token_hosts.iter().map(|&it| it.into()).collect(),
            ..upstream("ghcr.io")
        };
        catalog.put_upstream(&admin(), upstream).await
    };

    put("hunter2", &["a.test"]).await.unwrap();

    assert!(put("", &["a.test", "b.test"]).await.is_err());
    assert!(put("", &[]).await.is_ok());
}

#[tokio::test]
async fn a_clients_key_and_a_proxys_password_stay_as_long_as_what_they_are_for() {
    let catalog = Catalog::in_memory().await;
    let pair = || rcgen::generate_simple_self_signed(["worker".to_owned()]).unwrap();
    let (one, other) = (pair(), pair());
    let put = async |cert_pem: String, key_pem: String, proxy: &str, password: Option<&str>| {
        let password = password.map(|it| Secret::from(it.to_owned()));
        let upstream = Upstream {
            client_certificate: Some(ClientCertificate {
                cert_pem,
                key_pem: Secret::from(key_pem),
            }),
            proxy: Some(Proxy::new(proxy.into(), password)),
            ..upstream("ghcr.io")
        };
        catalog.put_upstream(&admin(), upstream).await
    };
    let (cert, key) = (one.cert.pem(), one.signing_key.serialize_pem());
    let proxy = "http://robot@proxy.test:3128";
    put(cert.clone(), key.clone(), proxy, Some("hunter2"))
        .await
        .unwrap();

    put(cert.clone(), String::new(), proxy, None).await.unwrap();
    let refused = [
        put(other.cert.pem(), String::new(), proxy, None).await,
        put(other.cert.pem(), key.clone(), proxy, None).await,
        put(cert.clone(), key.clone(), "http://robot@evil.test", None).await,
        put(cert, key.clone(), "http://proxy.test", Some("hunter2")).await,
    ];

    assert!(refused.iter().all(Result::is_err), "{refused:?}");
    let policy = catalog.policy();
    let kept: &Upstream = policy.find(&Key::upstream("ghcr.io")).unwrap();
    assert_eq!(
        kept.client_certificate.as_ref().unwrap().key_pem.expose(),
        key
    );
    let password = kept.proxy.as_ref().unwrap().password.as_ref();
    assert_eq!(password.unwrap().expose(), "hunter2");
}
