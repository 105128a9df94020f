//! Users: create, delete.

use tokio::task::spawn_blocking;

use super::{Actor, Catalog};
use crate::{
    Error, Result, Secret, names,
    records::{Key, User},
    secrets,
};

const LONGEST_PASSWORD: usize = 1_024;

impl Catalog {
    /// Creates a user. Without a password it cannot log in with one.
    pub(crate) async fn create_user(
        &self,
        actor: &Actor,
        name: String,
        password: Option<Secret>,
    ) -> Result<User> {
        names::check_user("name", &name)?;
        let password_hash = match password {
            Some(password) => Some(hash(password).await?),
            None => None,
        };
        let user = User {
            name,
            password_hash,
        };
        self.edit(actor, "user.create", |edit| {
            edit.create(user.clone())?;
            Ok(user.clone())
        })
        .await
    }

    /// Deletes a user with all its machine types, logins, pins, grants and the
    /// admin tokens of its owners.
    pub(crate) async fn delete_user(&self, actor: &Actor, name: &str) -> Result<()> {
        self.edit(actor, "user.delete", |edit| {
            edit.delete::<User>(Key::user(name))?;
            edit.remove_starting_with(&Key::machine_type(name, ""));
            edit.remove_starting_with(&Key::login(&format!("{name}-")));
            edit.remove_starting_with(&Key::pin_start(name));
            edit.remove_starting_with(&Key::grant(Some(name), ""));
            Ok(())
        })
        .await
    }
}

async fn hash(password: Secret) -> Result<Secret> {
    check_password(&password)?;
    spawn_blocking(move || secrets::hash_password(&password))
        .await
        .map_err(|_| Error::Stopping)?
}

pub(super) fn check_password(password: &Secret) -> Result<()> {
    if password.expose().len() > LONGEST_PASSWORD {
        return Err(Error::invalid("password", "is longer than 1024 bytes"));
    }
    Ok(())
}
