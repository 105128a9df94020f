//! What admin tokens promise. No network.

use super::*;

fn admin() -> Actor {
    Actor::on_its_own("admin")
}

fn wish(name: &str, role: Role) -> TokenWish {
    TokenWish {
        name: name.into(),
        role,
        user: (role == Role::Owner).then(|| "qnib".into()),
        grantable: Vec::new(),
        lifetime: None,
    }
}

/// With the user `qnib`.
async fn catalog() -> Catalog {
    let catalog = Catalog::in_memory().await;
    let created = catalog.create_user(&admin(), "qnib".into(), None).await;
    created.unwrap();
    catalog
}

async fn create(catalog: &Catalog, wish: TokenWish) -> Result<Secret> {
    let created = catalog.create_admin_token(&admin(), wish).await;
    created.map(|new| new.secret)
}

#[tokio::test]
async fn a_token_is_found_by_its_secret_only() {
    let catalog = catalog().await;
    let secret = create(&catalog, wish("ci", Role::Admin)).await.unwrap();
    create(&catalog, wish("other", Role::Viewer)).await.unwrap();

    let found = catalog.admin_token(secret.expose());

    assert_eq!(found.unwrap().name, "ci");
    assert_eq!(catalog.admin_token("mh_adm_wrong"), None);
}

#[tokio::test]
async fn a_secret_is_long_and_scanners_know_it() {
    let catalog = catalog().await;

    let secret = create(&catalog, wish("ci", Role::Admin)).await.unwrap();

    assert!(secret.expose().starts_with("mh_adm_"));
    assert_eq!(secret.expose().len(), "mh_adm_".len() + 43);
}

#[tokio::test]
async fn a_revoked_token_is_found_no_more() {
    let catalog = catalog().await;
    let secret = create(&catalog, wish("ci", Role::Admin)).await.unwrap();

    catalog.revoke_admin_token(&admin(), "ci").await.unwrap();

    assert_eq!(catalog.admin_token(secret.expose()), None);
}

#[tokio::test]
async fn an_owners_token_goes_with_its_user() {
    let catalog = catalog().await;
    let secret = create(&catalog, wish("qnib", Role::Owner)).await.unwrap();

    catalog.delete_user(&admin(), "qnib").await.unwrap();

    assert_eq!(catalog.admin_token(secret.expose()), None);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let catalog = catalog().await;
    let wishes = [
        wish("bootstrap", Role::Admin),
        wish("No Name", Role::Admin),
        TokenWish {
            user: None,
            ..wish("ci", Role::Owner)
        },
        TokenWish {
            user: Some("nobody".into()),
            ..wish("ci", Role::Owner)
        },
        TokenWish {
            user: Some("qnib".into()),
            ..wish("ci", Role::Viewer)
        },
        TokenWish {
            grantable: vec!["ghcr.io/**".into()],
            ..wish("ci", Role::Admin)
        },
        TokenWish {
            grantable: vec!["no-upstream".into()],
            ..wish("ci", Role::Owner)
        },
        TokenWish {
            lifetime: Some(Duration::MAX),
            ..wish("ci", Role::Admin)
        },
    ];

    for wish in wishes {
        let asked = format!("{wish:?}");
        assert!(create(&catalog, wish).await.is_err(), "{asked}");
    }
}

#[tokio::test]
async fn a_use_shows_at_once_and_is_written_once_a_day() {
    let catalog = catalog().await;
    let secret = create(&catalog, wish("ci", Role::Admin)).await.unwrap();
    let token = || catalog.admin_token(secret.expose()).unwrap();
    assert_eq!(catalog.last_use(&token()), None);

    catalog.note_token_use("ci");
    assert!(catalog.last_use(&token()).is_some());
    assert_eq!(token().last_used_unix_secs, None);

    catalog.keep_token_uses().await.unwrap();
    assert!(token().last_used_unix_secs.is_some());
    let written = catalog.revision();
    catalog.keep_token_uses().await.unwrap();
    assert_eq!(catalog.revision(), written);
}

#[tokio::test]
async fn a_token_made_anew_under_an_old_name_is_not_used_yet() {
    let catalog = catalog().await;
    create(&catalog, wish("ci", Role::Admin)).await.unwrap();
    catalog.note_token_use("ci");
    let later = AdminToken {
        created_unix_secs: unix_secs() + 1,
        ..catalog.policy().all::<AdminToken>().next().unwrap().clone()
    };

    assert_eq!(catalog.last_use(&later), None);
}

#[test]
fn a_token_is_over_from_its_end_on() {
    let token = AdminToken {
        name: "ci".into(),
        role: Role::Admin,
        user: None,
        grantable: Vec::new(),
        secret_sha256: String::new().into(),
        created_by: String::new(),
        created_unix_secs: 0,
        expires_unix_secs: Some(100),
        last_used_unix_secs: None,
    };
    let at = |secs| UNIX_EPOCH + Duration::from_secs(secs);

    assert!(!token.is_over(at(99)) && token.is_over(at(100)));
}
