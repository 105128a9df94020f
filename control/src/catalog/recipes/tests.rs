//! Recipes, without a network.

use super::*;

fn admin() -> Actor {
    Actor::on_its_own("admin")
}

fn digest(byte: &str) -> String {
    format!("sha256:{}", byte.repeat(32))
}

fn recipe(kept: &str) -> Recipe {
    Recipe {
        digest: digest("aa"),
        upstream: "docker.io".into(),
        repository: "qnib/bench".into(),
        source_digest: digest("bb"),
        kept: vec![digest(kept)],
        kept_places: Vec::new(),
        user: "qnib".into(),
        last_used_unix_secs: 0,
    }
}

/// What [`recipe`] is kept under.
fn key() -> Key {
    Key::recipe(&digest("aa"), "docker.io", "qnib/bench")
}

#[tokio::test]
async fn recording_a_known_recipe_again_makes_no_revision() {
    let catalog = Catalog::in_memory().await;
    catalog.record_recipe(&admin(), recipe("cc")).await.unwrap();
    let before = catalog.revision();

    catalog.record_recipe(&admin(), recipe("cc")).await.unwrap();

    assert_eq!(catalog.revision(), before);
}

#[tokio::test]
async fn the_same_index_in_two_repositories_has_two_recipes() {
    let catalog = Catalog::in_memory().await;
    let elsewhere = Recipe {
        repository: "mirror/bench".into(),
        ..recipe("cc")
    };

    for recipe in [recipe("cc"), elsewhere] {
        catalog.record_recipe(&admin(), recipe).await.unwrap();
    }

    for (repository, is_known) in [
        ("qnib/bench", true),
        ("mirror/bench", true),
        ("other/bench", false),
    ] {
        let key = Key::recipe(&digest("aa"), "docker.io", repository);
        let found = catalog.find_recipe(&admin(), key).await;
        assert_eq!(found.is_ok(), is_known, "{repository}");
    }
}

#[tokio::test]
async fn recipes_that_come_at_once_are_all_recorded_in_few_revisions() {
    let catalog = Catalog::in_memory().await;
    let before = catalog.revision().number;

    let recording = (0..100).map(|n| {
        let (catalog, recipe) = (catalog.clone(), recipe("cc"));
        let repository = format!("qnib/bench{n}");
        let recipe = Recipe {
            repository,
            ..recipe
        };
        tokio::spawn(async move { catalog.record_recipe(&admin(), recipe).await })
    });
    for recorded in recording.collect::<Vec<_>>() {
        recorded.await.unwrap().unwrap();
    }

    assert_eq!(catalog.policy().count(Kind::Recipe), 100);
    let revisions = catalog.revision().number - before;
    assert!(revisions <= 20, "{revisions} revisions");
}

#[tokio::test]
async fn a_user_has_a_bounded_number_of_recipes_for_a_repository() {
    let catalog = Catalog::in_memory().await;
    let recipe_of = |n: usize, user: &str| Recipe {
        digest: format!("sha256:{n:064x}"),
        user: user.into(),
        last_used_unix_secs: n as u64,
        ..recipe("cc")
    };
    let actor = admin();
    let put = catalog.edit(&actor, "test.put", |edit| {
        (0..MOST_PER_REPOSITORY).for_each(|n| edit.put(recipe_of(n, "qnib")));
        edit.put(recipe_of(MOST_PER_REPOSITORY, "other"));
        Ok(())
    });
    put.await.unwrap();

    let new = recipe_of(MOST_PER_REPOSITORY + 1, "qnib");
    catalog.record_recipe(&admin(), new).await.unwrap();

    let policy = catalog.policy();
    assert_eq!(policy.count(Kind::Recipe), MOST_PER_REPOSITORY + 1);
    let key = |n: usize| Key::recipe(&recipe_of(n, "").digest, "docker.io", "qnib/bench");
    let is_there = |n| policy.find::<Recipe>(&key(n)).is_some();
    assert!(!is_there(0) && is_there(1));
    assert!(is_there(MOST_PER_REPOSITORY) && is_there(MOST_PER_REPOSITORY + 1));
}

#[tokio::test]
async fn a_recipe_that_is_used_survives_the_sweep_and_an_old_one_does_not() {
    let catalog = Catalog::in_memory().await;
    catalog.record_recipe(&admin(), recipe("cc")).await.unwrap();

    let day = std::time::Duration::from_secs(24 * 60 * 60);
    assert_eq!(catalog.sweep_recipes(day).await.unwrap(), 0);
    let old = Recipe {
        last_used_unix_secs: 1,
        ..recipe("cc")
    };
    catalog
        .edit(&admin(), "test.age", |edit| {
            edit.put(old.clone());
            Ok(())
        })
        .await
        .unwrap();

    assert_eq!(catalog.sweep_recipes(day).await.unwrap(), 1);
    assert!(catalog.find_recipe(&admin(), key()).await.is_err());
}

#[tokio::test]
async fn finding_a_recipe_counts_as_a_use_once_a_day() {
    let catalog = Catalog::in_memory().await;
    catalog
        .edit(&admin(), "test.age", |edit| {
            edit.put(recipe("cc"));
            Ok(())
        })
        .await
        .unwrap();

    catalog.find_recipe(&admin(), key()).await.unwrap();
    let after_first = catalog.revision();
    let found = catalog.find_recipe(&admin(), key()).await.unwrap();

    assert!(found.last_used_unix_secs > 0);
    assert_eq!(catalog.revision(), after_first);
}
