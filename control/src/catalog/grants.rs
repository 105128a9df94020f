//! Grants: which restricted repositories are open to whom.

use metahub_policy::Grant;

use super::{Actor, Catalog};
use crate::{
    Error, Result,
    records::{Key, User},
};

impl Catalog {
    /// Creates a grant. One that is there already stays.
    pub(crate) async fn put_grant(&self, actor: &Actor, grant: Grant) -> Result<()> {
        check_grant(&grant)?;
        self.edit(actor, "grant.put", |edit| {
            if let Some(user) = &grant.user {
                edit.need::<User>(&Key::user(user))?;
            }
            edit.put(grant.clone());
            Ok(())
        })
        .await
    }

    /// Deletes a grant.
    pub(crate) async fn delete_grant(&self, actor: &Actor, grant: &Grant) -> Result<()> {
        let key = Key::grant(grant.user.as_deref(), &grant.repository);
        self.edit(actor, "grant.delete", |edit| {
            edit.delete::<Grant>(key.clone())
        })
        .await
    }
}

pub(super) fn check_grant(grant: &Grant) -> Result<()> {
    let checked = grant.check();
    checked.map_err(|error| Error::invalid("repository", error.reason))
}
