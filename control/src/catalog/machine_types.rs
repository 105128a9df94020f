//! Machine types: create, update, delete.

use metahub_policy::CpuTable;

use super::{Actor, Catalog, LoginWish, NewLogin, cpus, edit::Edit, logins};
use crate::{
    Error, Result, names,
    records::{Key, Login, MachineType, User, login_name},
};

/// A machine type that was created.
#[derive(Debug)]
pub(crate) struct CreatedType {
    pub(crate) machine_type: MachineType,
    pub(crate) login: Option<NewLogin>,
    /// What may be a mistake, for people to read.
    pub(crate) warnings: Vec<String>,
}

/// A machine type that was replaced.
#[derive(Debug)]
pub(crate) struct UpdatedType {
    pub(crate) machine_type: MachineType,
    /// What may be a mistake, for people to read.
    pub(crate) warnings: Vec<String>,
}

impl Catalog {
    /// Creates a machine type and, where wished for, its login.
    pub(crate) async fn create_type(
        &self,
        actor: &Actor,
        machine_type: MachineType,
        wish: Option<LoginWish>,
    ) -> Result<CreatedType> {
        let login = wish.map(|wish| logins::make(&machine_type.user, &machine_type.name, wish));
        self.edit(actor, "type.create", |edit| {
            let warnings = check(edit, &machine_type)?;
            edit.create(machine_type.clone())?;
            if let Some((login, _)) = &login {
                edit.create(login.clone())?;
            }
            Ok(CreatedType {
                machine_type: machine_type.clone(),
                login: login.as_ref().map(|(_, new)| new.clone()),
                warnings,
            })
        })
        .await
    }

    /// Replaces a machine type.
    pub(crate) async fn update_type(
        &self,
        actor: &Actor,
        machine_type: MachineType,
    ) -> Result<UpdatedType> {
        self.edit(actor, "type.update", |edit| {
            let key = Key::machine_type(&machine_type.user, &machine_type.name);
            edit.need::<MachineType>(&key)?;
            let warnings = check(edit, &machine_type)?;
            edit.put(machine_type.clone());
            Ok(UpdatedType {
                machine_type: machine_type.clone(),
                warnings,
            })
        })
        .await
    }

    /// Deletes a machine type with its logins and pins.
    pub(crate) async fn delete_type(&self, actor: &Actor, user: &str, name: &str) -> Result<()> {
        self.edit(actor, "type.delete", |edit| {
            edit.delete::<MachineType>(Key::machine_type(user, name))?;
            edit.remove(Key::login(&login_name(user, name)));
            edit.remove_starting_with(&Login::labelled(user, name));
            edit.remove_starting_with(&Key::pin(user, name, ""));
            Ok(())
        })
        .await
    }
}

fn check(edit: &Edit, machine_type: &MachineType) -> Result<Vec<String>> {
    edit.need::<User>(&Key::user(&machine_type.user))?;
    check_type(machine_type, &cpus::table(edit.base().all())?)
}

/// Checks the name and what the type says. Returns warnings.
pub(super) fn check_type(machine_type: &MachineType, cpus: &CpuTable) -> Result<Vec<String>> {
    names::check_type("name", &machine_type.name)?;
    let checked = machine_type.spec.check(cpus);
    checked.map_err(|error| Error::invalid("machine_type", error.to_string()))
}
