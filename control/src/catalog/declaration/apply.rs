//! Makes the policy what a declaration says, in one commit, or says what that
//! would change.

use tokio::task::spawn_blocking;

use super::{
    Declaration,
    check::{Checked, Secrecy, check},
    is_unchanged,
    plan::plan,
};
use crate::{
    Error, Result, Revision,
    access::Scope,
    catalog::{Actor, Catalog, NewLogin, edit::Edit},
    policy::Policy,
    store::Change,
};

/// How a declaration is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode {
    /// Whether what it does not name is deleted.
    pub(crate) prunes: bool,
    /// Since when the policy must not have changed.
    unchanged_since: Option<Revision>,
    pub(super) secrets: SecretMode,
}

/// How a declaration's secrets are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SecretMode {
    /// What is not given is not there: the static mode.
    Stated,
    /// What is not given stays as it is.
    Kept,
    /// The same, and what is given is not compared with what there is, so that
    /// no one can find a secret by asking.
    Unseen,
}

/// What a declaration, or a rollback, has changed or would change.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// One that holds the changes.
    pub(crate) revision: Revision,
    pub(crate) changes: Vec<Change>,
    /// The logins that got a new secret, which is not kept.
    pub(crate) new_logins: Vec<NewLogin>,
    /// What may be a mistake, or is left to do, for people to read.
    pub(crate) warnings: Vec<String>,
}

impl Mode {
    /// The policy is exactly what is declared, secrets included.
    const EXACT: Self = Self {
        prunes: true,
        unchanged_since: None,
        secrets: SecretMode::Stated,
    };

    /// What `apply` does.
    pub(crate) fn apply(prunes: bool) -> Self {
        Self {
            prunes,
            secrets: SecretMode::Kept,
            ..Self::EXACT
        }
    }

    /// What `diff` does: the same, but for secrets.
    pub(crate) fn diff(prunes: bool) -> Self {
        Self {
            prunes,
            secrets: SecretMode::Unseen,
            ..Self::EXACT
        }
    }

    /// The same, unless the policy has changed since `revision`.
    pub(crate) fn unchanged_since(self, revision: Option<Revision>) -> Self {
        Self {
            unchanged_since: revision,
            ..self
        }
    }

    pub(super) fn check(self, policy: &Policy) -> Result<()> {
        match self.unchanged_since {
            Some(then) if !is_unchanged(policy, then) => Err(Error::Blocked {
                reason: "the policy has changed since you saw what would be: look again".into(),
            }),
            _ => Ok(()),
        }
    }
}

impl SecretMode {
    /// Whether a secret that is not given stays as it is.
    pub(super) fn are_kept(self) -> bool {
        self != Self::Stated
    }

    /// Whether a secret that is given replaces the one that there is.
    pub(super) fn are_compared(self) -> bool {
        self != Self::Unseen
    }

    /// What becomes of a secret that is given.
    pub(super) fn given(self) -> Secrecy {
        match self.are_compared() {
            true => Secrecy::Given,
            false => Secrecy::GivenToNew,
        }
    }
}

impl Catalog {
    /// Makes the policy equal to the declaration in one commit.
    ///
    /// Returns the revision that holds it. An equal policy stays as it is, at
    /// its revision. On an error, which names the field, nothing changes.
    pub async fn apply(&self, declaration: Declaration) -> Result<Revision> {
        let actor = Actor::on_its_own("file");
        let outcome = self.declare(&actor, declaration, Mode::EXACT).await?;
        for warning in outcome.warnings {
            tracing::warn!("{warning}");
        }
        Ok(outcome.revision)
    }

    /// Makes the policy what the declaration says, in one commit. On an error,
    /// which names the field, nothing changes.
    pub(crate) async fn declare(
        &self,
        actor: &Actor,
        declaration: Declaration,
        mode: Mode,
    ) -> Result<Outcome> {
        let checked = self.checked(declaration, mode).await?;
        let planned = |edit: &mut Edit| {
            mode.check(edit.base())?;
            let new_logins = plan(edit, &checked, mode)?;
            Ok((edit.changes()?, new_logins))
        };
        let (changes, new_logins) = self.edit(actor, "policy.apply", planned).await?;
        Ok(Outcome {
            revision: self.revision(),
            changes,
            new_logins,
            warnings: checked.warnings,
        })
    }

    /// What [`Catalog::declare`] would change now.
    pub(crate) async fn preview(&self, declaration: Declaration, mode: Mode) -> Result<Outcome> {
        let checked = self.checked(declaration, mode).await?;
        let mut edit = Edit::new(self.policy(), Scope::All);
        plan(&mut edit, &checked, mode)?;
        Ok(Outcome {
            revision: edit.base().revision,
            changes: edit.changes()?,
            new_logins: Vec::new(),
            warnings: checked.warnings,
        })
    }

    async fn checked(&self, declaration: Declaration, mode: Mode) -> Result<Checked> {
        let policy = self.policy();
        let checking = spawn_blocking(move || check(declaration, &policy, mode));
        checking.await.map_err(|_| Error::Stopping)?
    }
}
