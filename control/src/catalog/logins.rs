//! Logins: create, rotate, delete. A machine type has one of its own, and others
//! with labels.

use super::{Actor, Catalog};
use crate::{
    Result, Secret, names,
    records::{Key, Login, MachineType},
    secrets,
};

/// What a login is to be allowed.
#[derive(Clone, Debug, Default)]
pub(crate) struct LoginWish {
    /// Whether the host may add features after `+` in the login's name.
    pub(crate) allow_selectors: bool,
    /// What tells a further login of the type apart.
    pub(crate) label: Option<String>,
}

/// A login with its secret, which is not kept and not shown again.
#[derive(Clone, Debug)]
pub(crate) struct NewLogin {
    pub(crate) name: String,
    pub(crate) secret: Secret,
}

impl Catalog {
    /// Creates a login of a machine type.
    pub(crate) async fn create_login(
        &self,
        actor: &Actor,
        user: &str,
        machine_type: &str,
        wish: LoginWish,
    ) -> Result<NewLogin> {
        if let Some(label) = &wish.label {
            names::check_type("name", label)?;
        }
        let (login, new) = make(user, machine_type, wish);
        self.edit(actor, "login.create", |edit| {
            edit.need::<MachineType>(&Key::machine_type(user, machine_type))?;
            edit.create(login.clone())?;
            Ok(new.clone())
        })
        .await
    }

    /// Gives a login a new secret. The old one stops working.
    pub(crate) async fn rotate_login(&self, actor: &Actor, name: &str) -> Result<NewLogin> {
        let secret = secrets::generate();
        self.edit(actor, "login.rotate", |edit| {
            let old: &Login = edit.need(&Key::login(name))?;
            let rotated = Login {
                secret_sha256: secrets::sha256_hex(&secret),
                ..old.clone()
            };
            edit.put(rotated);
            Ok(NewLogin {
                name: name.to_owned(),
                secret: secret.clone(),
            })
        })
        .await
    }

    /// Deletes a login. Hosts that use it are refused from then on.
    pub(crate) async fn delete_login(&self, actor: &Actor, name: &str) -> Result<()> {
        self.edit(actor, "login.delete", |edit| {
            edit.delete::<Login>(Key::login(name))
        })
        .await
    }
}

/// A login with a new secret, not yet kept.
pub(super) fn make(user: &str, machine_type: &str, wish: LoginWish) -> (Login, NewLogin) {
    let secret = secrets::generate();
    let login = Login {
        user: user.to_owned(),
        machine_type: machine_type.to_owned(),
        secret_sha256: secrets::sha256_hex(&secret),
        allow_selectors: wish.allow_selectors,
        label: wish.label,
        host: None,
    };
    let new = NewLogin {
        name: login.name(),
        secret,
    };
    (login, new)
}
