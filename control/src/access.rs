//! Who may call what.
//!
//! [`rules`] has one line for each call of the contract. A call without a line
//! is refused, so that one that is added cannot be open by mistake.

mod rules;

use std::fmt;

pub(crate) use self::rules::rule_of;
use crate::{Error, Result};

/// What a caller of the admin API is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

/// What a caller is to the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Worker,
    Role(Role),
}

impl Rule {
    /// Refuses a caller that `call` is not for.
    pub(crate) fn check(self, call: &str, caller: &Caller) -> Result<()> {
        let admits = match (self, caller.standing) {
            (Self::Public, _) | (Self::Worker, Standing::Worker) => true,
            (Self::Roles(roles), Standing::Role(role)) => roles.contains(&role),
            (Self::Worker, Standing::Role(_)) | (Self::Roles(_), Standing::Worker) => false,
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

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => f.write_str("for anyone"),
            Self::Worker => f.write_str("for workers"),
            Self::Roles(roles) => {
                let words: Vec<String> = roles.iter().map(|role| format!("{role}s")).collect();
                write!(f, "for {}", words.join(", "))
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
            Self::Role(Role::Viewer) => f.write_str("a viewer"),
            Self::Role(role) => write!(f, "an {role}"),
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
            standing: Standing::Role(Role::Viewer),
        };

        let refused = rule.check("/metahub.admin.v1.AdminService/PutPin", &caller);

        let expected = "PutPin is for admins, owners, and `grafana` is a viewer";
        assert_eq!(refused.unwrap_err().to_string(), expected);
    }
}
