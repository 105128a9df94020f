//! Tests of reports: drift, moves, and writes that reports do not make.

use std::net::IpAddr;

use super::*;

const OLD_DRIVER: &[&str] = &["cpu:zen3", "nvcap:9.0", "nvdrv:535.104.05"];
const NEW_DRIVER: &[&str] = &["cpu:zen3", "nvcap:9.0", "nvdrv:550.54.15"];

fn facts(features: &[&str]) -> HostFacts {
    HostFacts {
        features: features.iter().map(|it| it.to_string()).collect(),
        ..HostFacts::default()
    }
}

/// A host that has joined with the secret `hunter2`.
async fn joined(catalog: &Catalog, id: &str, features: &[&str], auto: bool) -> String {
    let token = token(
        catalog,
        HostTokenWish {
            auto,
            ..for_hosts(9)
        },
    )
    .await;
    let wish = HostWish {
        secret_sha256: secrets::sha256_hex(&secret()),
        ..wish(&token, id, features)
    };
    join(catalog, wish).await.unwrap()
}

fn secret() -> Secret {
    Secret::from("hunter2".to_owned())
}

async fn report(
    catalog: &Catalog,
    login: &str,
    features: &[&str],
) -> Result<(String, Vec<String>)> {
    let from = Some(IpAddr::from([10, 0, 0, 1]));
    let (secret, facts) = (secret(), facts(features));
    let reported = catalog.report_host(from, login, &secret, facts).await?;
    Ok((reported.login.name(), reported.drift))
}

async fn gpu_catalog() -> Catalog {
    catalog(&[("gpu", &["cpu:zen3", "nvcap:9.0", "nvdrv:550"])]).await
}

#[tokio::test]
async fn a_host_that_lacks_what_its_type_says_is_listed_with_it_until_it_has_it_again() {
    let catalog = gpu_catalog().await;
    let login = joined(&catalog, "node17", NEW_DRIVER, false).await;
    let listed = async || catalog.hosts(&actor(), None).await.unwrap().remove(0);

    let (_, drift) = report(&catalog, &login, OLD_DRIVER).await.unwrap();
    let drifted = listed().await;
    report(&catalog, &login, NEW_DRIVER).await.unwrap();
    let repaired = listed().await;

    assert_eq!(drift, ["driver 535.104.05, the type says 550"]);
    assert_eq!(drifted.drift, drift);
    assert!(drifted.observed.drifted_unix_secs.is_some());
    assert_eq!(repaired.drift, Vec::<String>::new());
    assert_eq!(repaired.observed.drifted_unix_secs, None);
}

#[tokio::test]
async fn a_thousand_reports_move_no_revision() {
    let catalog = gpu_catalog().await;
    let login = joined(&catalog, "node17", NEW_DRIVER, false).await;
    let before = catalog.revision();

    for n in 0..1_000 {
        let kernel = format!("kernel:6.{n}");
        report(&catalog, &login, &[&kernel, "cpu:zen3"])
            .await
            .unwrap();
    }

    assert_eq!(catalog.revision(), before);
}

#[tokio::test]
async fn a_host_of_an_auto_token_moves_to_a_type_that_suits_it() {
    let catalog = gpu_catalog().await;
    let login = joined(&catalog, "node17", NEW_DRIVER, true).await;

    let (moved, drift) = report(&catalog, &login, OLD_DRIVER).await.unwrap();
    let both = login_names(&catalog);
    report(&catalog, &moved, OLD_DRIVER).await.unwrap();

    assert!(moved.starts_with("qnib-auto-"), "{moved}");
    assert_eq!(drift, Vec::<String>::new());
    assert_eq!(both, [moved.clone(), login]);
    assert_eq!(login_names(&catalog), [moved]);
}

#[tokio::test]
async fn a_moved_host_learns_its_login_by_a_report_with_the_former_one() {
    let catalog = catalog(&[("any", &[]), ("zen", &["cpu:zen3"])]).await;
    let login = joined(&catalog, "node17", &[], false).await;
    catalog.move_host(&actor(), &node17(), "zen").await.unwrap();

    let (moved, _) = report(&catalog, &login, &["cpu:zen4"]).await.unwrap();
    let warned = catalog.host(&actor(), &node17()).await.unwrap().warnings;
    report(&catalog, &moved, &["cpu:zen4"]).await.unwrap();

    assert_eq!(moved, "qnib-zen~node17");
    assert!(warned[0].contains("login of `any`"), "{warned:?}");
    assert_eq!(login_names(&catalog), [moved]);
}

#[tokio::test]
async fn a_report_with_another_secret_or_of_a_removed_host_is_refused() {
    let catalog = gpu_catalog().await;
    let login = joined(&catalog, "node17", NEW_DRIVER, false).await;
    let wrong = Secret::from("hunter3".to_owned());

    let guessed = catalog.report_host(None, &login, &wrong, facts(&[])).await;
    catalog.remove_host(&actor(), &node17()).await.unwrap();
    let removed = report(&catalog, &login, NEW_DRIVER).await;

    assert!(matches!(guessed, Err(Error::Unauthenticated { .. })));
    assert!(matches!(removed, Err(Error::Unauthenticated { .. })));
}

#[tokio::test]
async fn the_own_login_of_a_type_reports_nothing() {
    let catalog = gpu_catalog().await;
    let wish = crate::catalog::LoginWish::default();
    let created = catalog.create_login(&actor(), "qnib", "gpu", wish).await;
    let login = created.unwrap();

    let refused = catalog.report_host(None, &login.name, &login.secret, facts(&[]));

    assert!(matches!(refused.await, Err(Error::Unauthenticated { .. })));
}

#[tokio::test]
async fn hosts_are_counted_and_those_that_drifted() {
    let catalog = gpu_catalog().await;
    let token = token(&catalog, for_hosts(9)).await;
    for id in ["node1", "node2"] {
        let wish = HostWish {
            secret_sha256: secrets::sha256_hex(&secret()),
            ..wish(&token, id, NEW_DRIVER)
        };
        join(&catalog, wish).await.unwrap();
    }
    report(&catalog, "qnib-gpu~node1", OLD_DRIVER)
        .await
        .unwrap();

    let counts = catalog.host_counts().await.unwrap();

    assert_eq!((counts.joined, counts.drifted), (2, 1));
}

#[tokio::test]
async fn what_is_observed_of_a_host_goes_with_it() {
    let catalog = gpu_catalog().await;
    joined(&catalog, "node17", NEW_DRIVER, false).await;
    joined_again(&catalog).await;

    catalog.delete_user(&actor(), "qnib").await.unwrap();
    catalog.sweep_observed().await.unwrap();

    assert_eq!(catalog.store.statuses("").await.unwrap(), Vec::new());
}

async fn joined_again(catalog: &Catalog) {
    let seen = catalog.store.statuses("host/").await.unwrap();
    assert_eq!(seen.len(), 1);
    catalog.sweep_observed().await.unwrap();
    assert_eq!(catalog.store.statuses("host/").await.unwrap(), seen);
}
