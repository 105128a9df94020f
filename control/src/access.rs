//! Who may call what, and change what.
//!
//! [`rules`] has one line for each call of the contract. A call without a line
//! is refused, so that one that is added cannot be open by mistake. [`Scope`]
//! says which records a caller may change, and the catalog asks it at each
//! change, whatever the call.

mod rules;
mod scope;
mod view;

use std::{fmt, time::SystemTime};

use serde::{Deserialize, Serialize};

#[cfg(test)]
pub(crate) use self::rules::RULES;
pub(crate) use self::{
    rules::rule_of,
    scope::{Ownership, Scope},
    view::View,
};
use crate::{Error, Result};

/// What a caller of the admin API is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// May do everything.
    Admin,
    /// May change what belongs to one user.
    Owner,
    /// May see everything, and change nothing.
    Viewer,
}

/// Who a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// For anyone, without a token.
    Public,
    /// For workers.
    Worker,
    /// For these roles.
    Roles(&'static [Role]),
}

/// Who calls, once the credential is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) standing: Standing,
    /// When the credential ends, if it does.
    pub(crate) expires: Option<SystemTime>,
}

/// What a caller is to the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Worker,
    Admin,
    Owner(Ownership),
    Viewer,
}

impl Rule {
    /// Refuses a caller that `call` is not for.
    pub(crate) fn check(self, call: &str, caller: &Caller) -> Result<()> {
        let admits = match (self, caller.standing.role()) {
            (Self::Public, _) | (Self::Worker, None) => true,
            (Self::Roles(roles), Some(role)) => roles.contains(&role),
            (Self::Worker, Some(_)) | (Self::Roles(_), None) => false,
        };
        if admits {
            return Ok(());
        }
        let call = call.rsplit('/').next().unwrap_or(call);
        let reason = format!(
            "{call} is {self}, and `{}` is {}",
            caller.name, caller.standing
        );
        Err(Error::Forbidden { reason })
    }
}

impl Standing {
    /// The role in the admin API. Workers have none.
    pub(crate) fn role(&self) -> Option<Role> {
        match self {
            Self::Worker => None,
            Self::Admin => Some(Role::Admin),
            Self::Owner(_) => Some(Role::Owner),
            Self::Viewer => Some(Role::Viewer),
        }
    }

    /// What such a caller may see and change. What a worker may change follows
    /// from its calls.
    pub(crate) fn scope(&self) -> Scope {
        match self {
            Self::Worker | Self::Admin => Scope::All,
            Self::Owner(ownership) => Scope::Own(ownership.clone()),
            Self::Viewer => Scope::Sight,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => f.write_str("for anyone"),
            Self::Worker => f.write_str("for workers"),
            Self::Roles(roles) => {
                let words: Vec<String> = roles.iter().map(|role| format!("{role}s")).collect();
                write!(f, "for {}", words.join(" and "))
            }
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Admin => "admin",
            Self::Owner => "owner",
            Self::Viewer => "viewer",
        })
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker => f.write_str("a worker"),
            Self::Admin => f.write_str("an admin"),
            Self::Owner(it) => write!(f, "an owner, of the user `{}`", it.user),
            Self::Viewer => f.write_str("a viewer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_is_refused_reads_who_the_call_is_for() {
        let rule = Rule::Roles(&[Role::Admin, Role::Owner]);
        let caller = Caller {
            name: "grafana".into(),
            standing: Standing::Viewer,
            expires: None,
        };

        let refused = rule.check("/metahub.admin.v1.AdminService/PutPin", &caller);

        let expected = "PutPin is for admins and owners, and `grafana` is a viewer";
        assert_eq!(refused.unwrap_err().to_string(), expected);
    }
}
