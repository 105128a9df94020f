//! What changes of the policy promise. No network.

use metahub_policy::{Cpu, Grant, Rule};

use super::*;
use crate::records::{Blobs, Key, Kind, Login, MachineType, Pin, Upstream, User};

mod upstreams;

fn admin() -> Actor {
    Actor::on_its_own("admin")
}

fn machine_type(user: &str, name: &str) -> MachineType {
    MachineType {
        user: user.into(),
        name: name.into(),
        spec: serde_json::from_str(r#"{"features": ["cpu:broadwell"]}"#).unwrap(),
    }
}

fn upstream(name: &str) -> Upstream {
    Upstream {
        name: name.into(),
        url: format!("https://{name}/"),
        is_default: false,
        account: None,
        restricted: false,
        insecure: false,
        ca_pem: None,
        blobs: Blobs::Proxy,
        hosts: Vec::new(),
        http1: false,
        fallback_urls: Vec::new(),
        proxy: None,
        repository_prefix: None,
        token_hosts: Vec::new(),
        client_certificate: None,
    }
}

fn digest(byte: &str) -> String {
    format!("sha256:{}", byte.repeat(32))
}

/// With the user `qnib`, its type `type1` and login, and a pin for them.
async fn catalog() -> Catalog {
    let catalog = Catalog::in_memory().await;
    catalog
        .create_user(&admin(), "qnib".into(), None)
        .await
        .unwrap();
    let wish = Some(LoginWish::default());
    catalog
        .create_type(&admin(), machine_type("qnib", "type1"), wish)
        .await
        .unwrap();
    let pin = Pin {
        user: "qnib".into(),
        machine_type: "type1".into(),
        repository: "qnib/bench".into(),
        digest: digest("cc"),
    };
    catalog.put_pin(&admin(), pin).await.unwrap();
    let grants = [
        grant(Some("qnib"), "ghcr.io/acme/*"),
        grant(None, "ghcr.io/open/*"),
    ];
    for grant in grants {
        catalog.put_grant(&admin(), grant).await.unwrap();
    }
    catalog
}

fn grant(user: Option<&str>, repository: &str) -> Grant {
    Grant {
        user: user.map(Into::into),
        repository: repository.into(),
    }
}

fn counts(catalog: &Catalog) -> [usize; 4] {
    let policy = catalog.policy();
    [Kind::User, Kind::MachineType, Kind::Login, Kind::Pin].map(|kind| policy.count(kind))
}

#[tokio::test]
async fn deleting_a_user_takes_its_grants_and_leaves_those_of_all() {
    let catalog = catalog().await;

    catalog.delete_user(&admin(), "qnib").await.unwrap();

    let policy = catalog.policy();
    let left: Vec<&Grant> = policy.all().collect();
    assert_eq!(left, [&grant(None, "ghcr.io/open/*")]);
}

#[tokio::test]
async fn a_grant_needs_its_user_and_names_its_upstream() {
    let catalog = catalog().await;

    let nobody = grant(Some("moby"), "ghcr.io/acme/*");
    let refused = catalog.put_grant(&admin(), nobody).await;
    assert!(matches!(refused, Err(Error::NotFound { kind: "user", .. })));
    let anywhere = grant(Some("qnib"), "acme/*");
    let refused = catalog.put_grant(&admin(), anywhere).await;
    assert!(matches!(refused, Err(Error::InvalidField { .. })));
}

#[tokio::test]
async fn a_grant_is_deleted_as_it_was_created() {
    let catalog = catalog().await;

    let elsewhere = grant(Some("qnib"), "ghcr.io/open/*");
    let refused = catalog.delete_grant(&admin(), &elsewhere).await;
    assert!(matches!(
        refused,
        Err(Error::NotFound { kind: "grant", .. })
    ));
    let open = grant(None, "ghcr.io/open/*");
    catalog.delete_grant(&admin(), &open).await.unwrap();

    assert_eq!(catalog.policy().count(Kind::Grant), 1);
}

#[tokio::test]
async fn a_new_store_has_docker_hub_as_its_default_upstream() {
    let catalog = Catalog::in_memory().await;

    let policy = catalog.policy();
    let upstreams: Vec<&Upstream> = policy.all().collect();
    assert_eq!(upstreams.len(), 1);
    assert_eq!(upstreams[0].name, "docker.io");
    assert!(upstreams[0].is_default);
}

#[tokio::test]
async fn a_login_is_named_after_its_user_and_type_and_its_secret_is_not_kept() {
    let catalog = Catalog::in_memory().await;
    catalog
        .create_user(&admin(), "qnib".into(), None)
        .await
        .unwrap();

    let wish = Some(LoginWish::default());
    let created = catalog
        .create_type(&admin(), machine_type("qnib", "type1"), wish)
        .await;
    let new = created.unwrap().login.unwrap();

    assert_eq!(new.name, "qnib-type1");
    let policy = catalog.policy();
    let kept: &Login = policy.find(&Key::login("qnib-type1")).unwrap();
    assert_eq!(kept.secret_sha256, crate::secrets::sha256_hex(&new.secret));
    assert_eq!(kept.secret_sha256_bytes().len(), 32);
}

#[tokio::test]
async fn a_type_needs_its_user() {
    let catalog = Catalog::in_memory().await;

    let refused = catalog
        .create_type(&admin(), machine_type("qnib", "type1"), None)
        .await;

    assert!(matches!(refused, Err(Error::NotFound { kind: "user", .. })));
}

#[tokio::test]
async fn a_second_type_of_the_same_name_is_refused() {
    let catalog = catalog().await;

    let refused = catalog
        .create_type(&admin(), machine_type("qnib", "type1"), None)
        .await;

    assert!(matches!(refused, Err(Error::AlreadyExists { .. })));
}

#[tokio::test]
async fn deleting_a_user_takes_all_that_is_its() {
    let catalog = catalog().await;
    catalog
        .create_user(&admin(), "qnib.lab".into(), None)
        .await
        .unwrap();
    let wish = Some(LoginWish::default());
    catalog
        .create_type(&admin(), machine_type("qnib.lab", "type1"), wish)
        .await
        .unwrap();

    catalog.delete_user(&admin(), "qnib").await.unwrap();

    assert_eq!(counts(&catalog), [1, 1, 1, 0]);
}

#[tokio::test]
async fn deleting_a_type_takes_its_login_and_pins() {
    let catalog = catalog().await;

    catalog
        .delete_type(&admin(), "qnib", "type1")
        .await
        .unwrap();

    assert_eq!(counts(&catalog), [1, 0, 0, 0]);
}

#[tokio::test]
async fn a_type_has_further_logins_whose_names_no_other_type_can_have() {
    let catalog = catalog().await;
    let actor = admin();
    let create = async |label: &str| {
        let wish = LoginWish {
            label: Some(label.into()),
            ..LoginWish::default()
        };
        let created = catalog.create_login(&actor, "qnib", "type1", wish).await;
        created.map(|login| login.name)
    };

    assert_eq!(create("rack7").await.unwrap(), "qnib-type1--rack7");
    assert!(create("rack7").await.is_err());
    for label in ["", "-x", "a--b", "A", "a+b"] {
        assert!(create(label).await.is_err(), "{label}");
    }
    let doubled = machine_type("qnib", "type1--rack7");
    assert!(catalog.create_type(&actor, doubled, None).await.is_err());

    catalog.delete_type(&actor, "qnib", "type1").await.unwrap();
    assert_eq!(counts(&catalog), [1, 0, 0, 0]);
}

#[tokio::test]
async fn an_equal_update_makes_no_revision() {
    let catalog = catalog().await;
    let before = catalog.revision();

    catalog
        .update_type(&admin(), machine_type("qnib", "type1"))
        .await
        .unwrap();

    assert_eq!(catalog.revision(), before);
}

#[tokio::test]
async fn a_rotated_login_has_another_secret() {
    let catalog = catalog().await;
    let key = Key::login("qnib-type1");
    let before = catalog.policy().find::<Login>(&key).cloned().unwrap();

    catalog.rotate_login(&admin(), "qnib-type1").await.unwrap();

    let after = catalog.policy().find::<Login>(&key).cloned().unwrap();
    assert_ne!(after.secret_sha256, before.secret_sha256);
}

#[tokio::test]
async fn a_pin_needs_its_machine_type() {
    let catalog = Catalog::in_memory().await;
    let pin = Pin {
        user: "qnib".into(),
        machine_type: "type1".into(),
        repository: "qnib/bench".into(),
        digest: digest("cc"),
    };

    let refused = catalog.put_pin(&admin(), pin).await;

    assert!(matches!(
        refused,
        Err(Error::NotFound {
            kind: "machine type",
            ..
        })
    ));
}

#[tokio::test]
async fn a_rule_is_replaced_by_one_of_the_same_name() {
    let catalog = Catalog::in_memory().await;
    let rule = |requires: &str| Rule {
        name: "almalinux-v3".into(),
        repository: "almalinux/*".into(),
        tag: String::new(),
        matches: Default::default(),
        requires: vec![requires.into()],
    };
    catalog
        .put_rule(&admin(), rule("cpu:x86_64_v2"))
        .await
        .unwrap();

    catalog
        .put_rule(&admin(), rule("cpu:x86_64_v3"))
        .await
        .unwrap();

    let policy = catalog.policy();
    let rules: Vec<&Rule> = policy.all().collect();
    assert_eq!(rules, [&rule("cpu:x86_64_v3")]);
}

#[tokio::test]
async fn writers_at_once_all_get_their_turn() {
    let catalog = Catalog::in_memory().await;
    let before = catalog.revision().number;

    let writers: Vec<_> = (0..50)
        .map(|i| {
            let catalog = catalog.clone();
            let name = format!("user{i}");
            tokio::spawn(async move { catalog.create_user(&admin(), name, None).await })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }

    assert_eq!(catalog.revision().number, before + 50);
    assert_eq!(catalog.policy().count(Kind::User), 50);
}

#[tokio::test]
async fn a_change_is_planned_again_when_another_control_plane_was_faster() {
    let catalog = Catalog::in_memory().await;
    let other = |name: &str| User {
        name: name.into(),
        password_hash: None,
    };
    let mut plans = 0;

    let actor = admin();
    let planned = catalog.edit(&actor, "test.race", |edit| {
        plans += 1;
        if plans == 1 {
            let mut faster = Edit::new(catalog.policy(), Scope::All);
            faster.put(other("faster"));
            let batch = Batch {
                actor: Actor::on_its_own("other"),
                action: "test.race",
                changes: faster.changes().unwrap(),
            };
            let expected = catalog.revision().number;
            catalog.store.commit_on_another_thread(expected, batch);
        }
        edit.put(other("slower"));
        Ok(edit.find::<User>(&Key::user("faster")).is_some())
    });
    let saw_the_faster = planned.await.unwrap();

    assert!(saw_the_faster);
    assert_eq!(plans, 2);
    assert_eq!(catalog.policy().count(Kind::User), 2);
}

#[tokio::test]
async fn a_cpu_name_is_known_to_types_and_stays_while_another_builds_on_it() {
    let catalog = catalog().await;
    let cpu = |name: &str, parent: &str| Cpu {
        name: name.into(),
        parents: vec![parent.into()],
        features: vec![],
        aliases: vec![],
    };
    let orphan = catalog.put_cpu(&admin(), cpu("lake2", "lake1")).await;
    assert!(matches!(orphan, Err(Error::InvalidField { .. })));
    for (name, parent) in [("lake1", "skylake"), ("lake2", "lake1")] {
        catalog.put_cpu(&admin(), cpu(name, parent)).await.unwrap();
    }

    let mut known = machine_type("qnib", "type1");
    known.spec.features = vec!["cpu:lake2".into()];
    let mut unknown = machine_type("qnib", "type1");
    unknown.spec.features = vec!["cpu:lake3".into()];
    let known = catalog.update_type(&admin(), known).await.unwrap();
    let unknown = catalog.update_type(&admin(), unknown).await.unwrap();
    let needed = catalog.delete_cpu(&admin(), "lake1").await;
    let free = catalog.delete_cpu(&admin(), "lake2").await;

    assert_eq!(known.warnings, [""; 0]);
    assert_eq!(unknown.warnings.len(), 1);
    assert!(matches!(needed, Err(Error::Blocked { .. })));
    assert!(free.is_ok());
}

#[tokio::test]
async fn a_change_whose_caller_left_is_whole_or_not_at_all() {
    let catalog = Catalog::in_memory().await;

    for i in 0..20 {
        let caller = catalog.clone();
        let task = tokio::spawn(async move {
            let name = format!("user{i}");
            caller.create_user(&admin(), name, None).await
        });
        tokio::task::yield_now().await;
        task.abort();
    }
    catalog
        .create_user(&admin(), "last".into(), None)
        .await
        .unwrap();

    let number = catalog.revision().number;
    assert_eq!(catalog.policy().all::<User>().count() as u64, number - 1);
}
