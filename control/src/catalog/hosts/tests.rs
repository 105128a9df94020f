//! Tests of joins, moves and removals.

mod reports;

use metahub_policy::MachineType as Spec;

use super::*;

fn actor() -> Actor {
    Actor::on_its_own("test")
}

/// A catalog with the user qnib and these types.
async fn catalog(types: &[(&str, &[&str])]) -> Catalog {
    let catalog = Catalog::in_memory().await;
    let actor = actor();
    let created = catalog.create_user(&actor, "qnib".into(), None);
    created.await.unwrap();
    for (name, features) in types {
        let spec = Spec {
            features: features.iter().map(|it| it.to_string()).collect(),
            ..Spec::default()
        };
        let kind = MachineType {
            user: "qnib".into(),
            name: name.to_string(),
            spec,
        };
        catalog.create_type(&actor, kind, None).await.unwrap();
    }
    catalog
}

fn for_hosts(uses: u32) -> HostTokenWish {
    HostTokenWish {
        user: "qnib".into(),
        name: "rack1".into(),
        types: Vec::new(),
        auto: false,
        uses: Some(uses),
        lifetime: None,
    }
}

async fn token(catalog: &Catalog, wish: HostTokenWish) -> Secret {
    let created = catalog.create_host_token(&actor(), wish).await;
    created.unwrap().1
}

fn wish(token: &Secret, id: &str, features: &[&str]) -> HostWish {
    HostWish {
        token: token.clone(),
        id: id.into(),
        machine: String::new(),
        secret_sha256: Secret::from("0a".repeat(32)),
        facts: HostFacts {
            features: features.iter().map(|it| it.to_string()).collect(),
            ..HostFacts::default()
        },
        machine_type: None,
        replaces: false,
    }
}

async fn join(catalog: &Catalog, wish: HostWish) -> Result<String> {
    let joined = catalog.join_host(&actor(), &wish).await;
    joined.map(|it| it.login.name())
}

fn login_names(catalog: &Catalog) -> Vec<String> {
    catalog.policy().all::<Login>().map(Login::name).collect()
}

fn uses_left(catalog: &Catalog) -> Option<u32> {
    let policy = catalog.policy();
    let token: Option<&HostToken> = policy.find(&Key::host_token("qnib", "rack1"));
    token.and_then(|it| it.uses_left)
}

fn node17() -> HostName {
    HostName {
        user: "qnib".into(),
        id: "node17".into(),
    }
}

#[tokio::test]
async fn a_host_gets_the_best_type_that_suits_it_and_a_login_of_its_own() {
    let catalog = catalog(&[("any", &[]), ("zen", &["cpu:zen3"])]).await;
    let token = token(&catalog, for_hosts(2)).await;

    let zen = join(&catalog, wish(&token, "node17", &["cpu:zen4"])).await;
    let old = join(&catalog, wish(&token, "node18", &["cpu:skylake"])).await;

    assert_eq!(zen.unwrap(), "qnib-zen~node17");
    assert_eq!(old.unwrap(), "qnib-any~node18");
    assert_eq!(uses_left(&catalog), Some(0));
}

#[tokio::test]
async fn a_host_whose_answer_got_lost_spends_one_use_and_has_one_login() {
    let catalog = catalog(&[("any", &[])]).await;
    let token = token(&catalog, for_hosts(1)).await;

    for _ in 0..3 {
        join(&catalog, wish(&token, "node17", &[])).await.unwrap();
    }
    let other = join(&catalog, wish(&token, "node18", &[])).await;

    assert!(other.unwrap_err().to_string().contains("used up"));
    assert_eq!(login_names(&catalog), ["qnib-any~node17"]);
}

#[tokio::test]
async fn a_host_that_joins_again_has_its_new_secret_only_and_its_newest_type() {
    let catalog = catalog(&[("any", &[]), ("zen", &["cpu:zen3"])]).await;
    let token = token(&catalog, for_hosts(1)).await;
    join(&catalog, wish(&token, "node17", &[])).await.unwrap();

    let secret_sha256 = Secret::from("0b".repeat(32));
    let again = HostWish {
        secret_sha256: secret_sha256.clone(),
        ..wish(&token, "node17", &["cpu:zen4"])
    };
    join(&catalog, again).await.unwrap();

    assert_eq!(login_names(&catalog), ["qnib-zen~node17"]);
    let policy = catalog.policy();
    assert_eq!(
        node17().login(&policy).unwrap().secret_sha256,
        secret_sha256
    );
}

#[tokio::test]
async fn another_machine_takes_a_hosts_place_only_if_it_says_so() {
    let catalog = catalog(&[("any", &[])]).await;
    let token = token(&catalog, for_hosts(1)).await;
    let of = |machine: &str, replaces| HostWish {
        machine: machine.repeat(32),
        replaces,
        ..wish(&token, "node17", &[])
    };
    join(&catalog, of("0a", false)).await.unwrap();

    let refused = join(&catalog, of("0b", false)).await.unwrap_err();
    let replaced = join(&catalog, of("0b", true)).await;

    assert!(refused.to_string().contains("--replace"), "{refused}");
    assert!(replaced.is_ok());
    assert!(join(&catalog, of("0a", false)).await.is_err());
}

#[tokio::test]
async fn a_host_that_no_type_suits_reads_what_it_lacks_of_each() {
    let catalog = catalog(&[("gpu", &["nvdrv:550"]), ("zen", &["cpu:zen3"])]).await;
    let token = token(&catalog, for_hosts(1)).await;

    let refused = join(&catalog, wish(&token, "node17", &["nvdrv:535", "cpu:zen2"])).await;

    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("gpu: driver 535, the type says 550"),
        "{refused}"
    );
    assert!(
        refused.contains("zen: cpu zen2, the type says zen3"),
        "{refused}"
    );
    assert_eq!(uses_left(&catalog), Some(1));
}

#[tokio::test]
async fn a_token_bounds_the_types_that_its_hosts_get() {
    let catalog = catalog(&[("any", &[]), ("zen", &["cpu:zen3"])]).await;
    let types = vec!["any".to_owned()];
    let token = token(
        &catalog,
        HostTokenWish {
            types,
            ..for_hosts(2)
        },
    )
    .await;

    let best = join(&catalog, wish(&token, "node17", &["cpu:zen4"])).await;
    let asked = HostWish {
        machine_type: Some("zen".into()),
        ..wish(&token, "node18", &["cpu:zen4"])
    };
    let asked = join(&catalog, asked).await;

    assert_eq!(best.unwrap(), "qnib-any~node17");
    assert!(asked.unwrap_err().to_string().contains("`zen`"));
}

#[tokio::test]
async fn an_auto_token_makes_one_type_for_all_hosts_that_are_alike() {
    let catalog = catalog(&[("arm", &["cpu:graviton3"])]).await;
    let token = token(
        &catalog,
        HostTokenWish {
            auto: true,
            ..for_hosts(9)
        },
    )
    .await;

    for (id, kernel) in [("node1", "kernel:6.1"), ("node2", "kernel:6.8")] {
        let wish = wish(&token, id, &["cpu:zen4", kernel]);
        join(&catalog, wish).await.unwrap();
    }

    let policy = catalog.policy();
    let types: Vec<_> = policy.all::<MachineType>().collect();
    assert_eq!(types.len(), 2);
    let made = types.iter().find(|it| it.name.starts_with("auto-"));
    assert_eq!(made.unwrap().spec.features, ["cpu:zen4"]);
}

#[tokio::test]
async fn a_removed_host_has_no_login_and_the_others_keep_theirs() {
    let catalog = catalog(&[("any", &[])]).await;
    let token = token(&catalog, for_hosts(2)).await;
    for id in ["node17", "node18"] {
        join(&catalog, wish(&token, id, &[])).await.unwrap();
    }

    catalog.remove_host(&actor(), &node17()).await.unwrap();

    assert_eq!(login_names(&catalog), ["qnib-any~node18"]);
    assert!(catalog.remove_host(&actor(), &node17()).await.is_err());
}

#[tokio::test]
async fn a_moved_host_keeps_its_former_login_until_it_uses_the_new_one() {
    let catalog = catalog(&[("any", &[]), ("zen", &["cpu:zen3"])]).await;
    let token = token(&catalog, for_hosts(1)).await;
    join(&catalog, wish(&token, "node17", &[])).await.unwrap();

    let moved = catalog.move_host(&actor(), &node17(), "zen").await.unwrap();

    assert_eq!(moved.name(), "qnib-zen~node17");
    assert_eq!(
        login_names(&catalog),
        ["qnib-any~node17", "qnib-zen~node17"]
    );
    assert_eq!(node17().login(&catalog.policy()), Some(&moved));
}

#[tokio::test]
async fn an_owner_has_nothing_to_do_with_the_hosts_of_other_users() {
    let catalog = catalog(&[("any", &[])]).await;
    let token = token(&catalog, for_hosts(1)).await;
    join(&catalog, wish(&token, "node17", &[])).await.unwrap();
    let owner = |user: &str| Actor {
        scope: crate::access::Scope::Own(crate::access::Ownership {
            user: user.into(),
            grantable: Vec::new(),
        }),
        ..actor()
    };

    let (other, own) = (owner("moby"), owner("qnib"));
    let create = catalog.create_host_token(&other, for_hosts(1)).await;
    let revoke = catalog.revoke_host_token(&other, "qnib", "rack1").await;
    let remove = catalog.remove_host(&other, &node17()).await;

    for refused in [create.map(|_| ()), revoke, remove] {
        assert!(
            matches!(refused, Err(Error::Forbidden { .. })),
            "{refused:?}"
        );
    }
    catalog.remove_host(&own, &node17()).await.unwrap();
}

#[tokio::test]
async fn a_policy_from_files_keeps_hosts_of_declared_types_and_rollback_keeps_all_hosts() {
    let catalog = catalog(&[("any", &[]), ("old", &["cpu:nehalem"])]).await;
    let before = catalog.revision().number;
    let token = token(
        &catalog,
        HostTokenWish {
            auto: true,
            ..for_hosts(9)
        },
    )
    .await;
    for (id, asked) in [("node17", "any"), ("node18", "old")] {
        let machine_type = Some(asked.to_owned());
        let wish = HostWish {
            machine_type,
            ..wish(&token, id, &["cpu:skylake"])
        };
        join(&catalog, wish).await.unwrap();
    }

    catalog.rollback(&actor(), before, None).await.unwrap();
    assert_eq!(login_names(&catalog).len(), 2);
    let mut declared = catalog.export(false);
    declared.users[0].types.retain(|it| it.name == "any");
    catalog.apply(declared).await.unwrap();

    assert_eq!(login_names(&catalog), ["qnib-any~node17"]);
}

#[tokio::test]
async fn a_new_user_has_none_of_the_hosts_and_tokens_of_a_former_one_with_its_name() {
    let catalog = catalog(&[("any", &[])]).await;
    let token = token(&catalog, for_hosts(2)).await;
    join(&catalog, wish(&token, "node17", &[])).await.unwrap();

    catalog.delete_user(&actor(), "qnib").await.unwrap();
    catalog
        .create_user(&actor(), "qnib".into(), None)
        .await
        .unwrap();

    let refused = join(&catalog, wish(&token, "node17", &[])).await;
    assert!(
        matches!(refused, Err(Error::Unauthenticated { .. })),
        "{refused:?}"
    );
    assert_eq!(login_names(&catalog), Vec::<String>::new());
}

#[tokio::test]
async fn hosts_that_join_at_the_same_time_make_no_login_too_many() {
    let catalog = catalog(&[("any", &[])]).await;
    let token = token(&catalog, for_hosts(20)).await;

    let joins = (0..40).map(|n| {
        let (catalog, token) = (catalog.clone(), token.clone());
        tokio::spawn(async move { join(&catalog, wish(&token, &format!("node{n}"), &[])).await })
    });
    let joins: Vec<_> = joins.collect();
    let mut admitted = 0;
    for join in joins {
        admitted += usize::from(join.await.unwrap().is_ok());
    }

    assert_eq!((admitted, login_names(&catalog).len()), (20, 20));
}
