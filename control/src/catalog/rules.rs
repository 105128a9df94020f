//! Rules and pins: what admins say about images of others.

use metahub_policy::Rule;

use super::{Actor, Catalog};
use crate::{
    Error, Result, names,
    records::{Key, MachineType, Pin},
};

impl Catalog {
    /// Creates or replaces a rule.
    pub(crate) async fn put_rule(&self, actor: &Actor, rule: Rule) -> Result<()> {
        check_rule(&rule)?;
        self.edit(actor, "rule.put", |edit| {
            edit.put(rule.clone());
            Ok(())
        })
        .await
    }

    /// Deletes a rule.
    pub(crate) async fn delete_rule(&self, actor: &Actor, name: &str) -> Result<()> {
        self.edit(actor, "rule.delete", |edit| {
            edit.delete::<Rule>(Key::rule(name))
        })
        .await
    }

    /// Creates or replaces a pin.
    pub(crate) async fn put_pin(&self, actor: &Actor, pin: Pin) -> Result<()> {
        check_pin(&pin)?;
        self.edit(actor, "pin.put", |edit| {
            edit.need::<MachineType>(&Key::machine_type(&pin.user, &pin.machine_type))?;
            edit.put(pin.clone());
            Ok(())
        })
        .await
    }

    /// Deletes a pin.
    pub(crate) async fn delete_pin(&self, actor: &Actor, key: Key) -> Result<()> {
        self.edit(actor, "pin.delete", |edit| edit.delete::<Pin>(key.clone()))
            .await
    }
}

pub(super) fn check_rule(rule: &Rule) -> Result<()> {
    names::check_type("name", &rule.name)?;
    let checked = rule.check();
    checked.map_err(|error| Error::invalid("rule", error.reason))
}

pub(super) fn check_pin(pin: &Pin) -> Result<()> {
    names::check_text("repository", &pin.repository)?;
    names::check_digest("digest", &pin.digest)
}
