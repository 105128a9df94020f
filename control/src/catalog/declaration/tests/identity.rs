//! An export is a file that changes nothing.

use proptest::{
    collection::{btree_map, vec},
    prelude::*,
    sample::select,
};

use super::*;

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9]{0,6}"
}

fn feature() -> impl Strategy<Value = String> {
    select(vec![
        "cpu:zen4",
        "cpu:broadwell",
        "nvcap:8.0",
        "avx2",
        "site:rack1",
        "cuda:12.4",
    ])
    .prop_map(str::to_owned)
}

fn maybe(values: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    proptest::option::of(select(values).prop_map(str::to_owned))
}

fn a_type() -> impl Strategy<Value = DeclaredType> {
    let shape = (
        maybe(&["windows", "linux"]),
        maybe(&["amd64", "arm64"]),
        maybe(&["10.0.20348.1"]),
        vec(feature(), 0..4),
        select(vec![GpuMatch::All, GpuMatch::Any]),
        select(vec![MatchMode::Best, MatchMode::Exact]),
        select(vec![OnNoMatch::Error, OnNoMatch::Passthrough]),
        select(vec![Present::Auto, Present::Index]),
    );
    (any::<bool>(), any::<bool>(), shape).prop_map(|(has_login, allow_selectors, shape)| {
        let (os, architecture, os_version, features, gpu, mode, on_no_match, present) = shape;
        DeclaredType {
            without_login: !has_login,
            secret_sha256: has_login.then(|| Secret::from("0a".repeat(32))),
            allow_selectors: allow_selectors && has_login,
            logins: (0..u8::from(allow_selectors))
                .map(|n| DeclaredLogin {
                    name: format!("rack-{n}"),
                    secret_sha256: Some(Secret::from("0b".repeat(32))),
                    allow_selectors: has_login,
                    ..DeclaredLogin::default()
                })
                .collect(),
            os,
            architecture,
            os_version,
            features,
            gpu,
            mode,
            on_no_match,
            present,
            platforms: match present {
                Present::Auto => Platforms::Own,
                Present::Index => Platforms::All,
            },
            ..DeclaredType::default()
        }
    })
}

fn an_upstream() -> impl Strategy<Value = DeclaredUpstream> {
    (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        select(vec![Blobs::Proxy, Blobs::Redirect]),
    )
        .prop_map(
            |(has_account, restricted, insecure, http1, blobs)| DeclaredUpstream {
                username: has_account.then(|| "robot #1: \"yes\"".to_owned()),
                password: has_account.then(|| Secret::from("pass: 'word' #%\\".to_owned())),
                fallback_urls: restricted
                    .then(|| "https://second.test".to_owned())
                    .into_iter()
                    .collect(),
                proxy: http1.then(|| "http://robot@proxy.test:3128".to_owned()),
                proxy_password: http1.then(|| Secret::from("hunter2\n".to_owned())),
                repository_prefix: restricted.then(|| "hub/cache".to_owned()),
                token_hosts: insecure
                    .then(|| "token.test:5001".to_owned())
                    .into_iter()
                    .collect(),
                restricted,
                insecure,
                http1,
                blobs,
                ..DeclaredUpstream::default()
            },
        )
}

fn a_rule() -> impl Strategy<Value = DeclaredRule> {
    (
        select(vec!["", "almalinux/*", "ghcr.io/**"]),
        select(vec!["", "9.*", "null", "1.0"]),
        maybe(&["", "v3"]),
        vec(feature(), 1..3),
    )
        .prop_map(|(repository, tag, variant, requires)| DeclaredRule {
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            matches: DeclaredMatch {
                variant,
                ..DeclaredMatch::default()
            },
            requires,
            ..DeclaredRule::default()
        })
}

prop_compose! {
    fn a_policy()(
        users in btree_map(name(), btree_map(name(), a_type(), 0..4), 0..4),
        upstreams in btree_map(name(), an_upstream(), 0..3),
        default in 0..4_usize,
        rules in btree_map(name(), a_rule(), 0..3),
        cpus in btree_map(name(), select(vec!["zen4", "haswell"]), 0..2),
        has_grants in any::<bool>(),
    ) -> Declaration {
        let mut policy = Declaration::default();
        for (user, types) in users {
            if let Some(machine_type) = types.keys().next() {
                policy.pins.push(DeclaredPin {
                    user: user.clone(),
                    machine_type: machine_type.clone(),
                    repository: "qnib/**".into(),
                    digest: format!("sha256:{}", "0a".repeat(32)),
                });
            }
            if has_grants {
                policy.grants.push(DeclaredGrant {
                    user: Some(user.clone()),
                    all_users: false,
                    repository: "ghcr.io/acme/*".into(),
                });
            }
            let types = types.into_iter().map(|(name, it)| DeclaredType { name, ..it });
            policy.users.push(DeclaredUser {
                name: user,
                types: types.collect(),
                ..DeclaredUser::default()
            });
        }
        let upstreams = upstreams.into_iter().enumerate();
        policy.upstreams = Some(upstreams.map(|(i, (name, it))| DeclaredUpstream {
            name: format!("{name}.example"),
            url: format!("https://{name}.example"),
            default: i == default,
            ..it
        }).collect());
        let rules = rules.into_iter();
        policy.rules = rules.map(|(name, it)| DeclaredRule { name, ..it }).collect();
        policy.cpus = cpus.into_iter().map(|(name, parent)| DeclaredCpu {
            name: format!("site_{name}"),
            parents: vec![parent.to_owned()],
            ..DeclaredCpu::default()
        }).collect();
        policy
    }
}

/// The export as a file that is read again.
fn through_a_file(declaration: &Declaration) -> Declaration {
    let yaml = serde_saphyr::to_string(declaration).unwrap();
    let read: Declaration =
        serde_saphyr::from_str(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    assert_eq!(&read, declaration, "{yaml}");
    read
}

async fn export_changes_nothing(policy: Declaration) {
    let catalog = Catalog::in_memory().await;
    let mode = Mode::apply(true);
    catalog.declare(&admin(), policy, mode).await.unwrap();
    let before = declared(&catalog.policy());

    let export = through_a_file(&catalog.export(false));
    let backup = through_a_file(&catalog.export(true));
    let other = Catalog::in_memory().await;
    let again = catalog.declare(&admin(), export, mode).await.unwrap();
    other.declare(&admin(), backup, mode).await.unwrap();

    assert_eq!(again.changes, []);
    assert_eq!(declared(&catalog.policy()), before);
    assert_eq!(declared(&other.policy()), before);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn an_export_changes_nothing_here_and_all_of_it_elsewhere(policy in a_policy()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(export_changes_nothing(policy));
    }
}

#[tokio::test]
async fn a_password_survives_a_backup_but_is_not_in_an_export() {
    let catalog = with_file().await;

    let export = serde_json::to_string(&catalog.export(false)).unwrap();
    let backup = serde_json::to_string(&catalog.export(true)).unwrap();

    assert!(
        !export.contains("argon2") && !export.contains("sha256\""),
        "{export}"
    );
    assert!(backup.contains("$argon2id$"), "{backup}");
    let other = Catalog::in_memory().await;
    other
        .apply(serde_json::from_str(&backup).unwrap())
        .await
        .unwrap();
    assert_eq!(declared(&other.policy()), declared(&catalog.policy()));
}
