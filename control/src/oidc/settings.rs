//! Which issuer people sign in at, and which claims give which role.

use std::{path::PathBuf, str::FromStr};

use anyhow::{Context, ensure};
use metahub_policy::Grant;
use url::{Host, Url};

use super::claims::{Claims, EMAIL};
use crate::{
    Error, Pattern, Result,
    access::{Ownership, Role, Standing},
    names,
};

/// What stands for the owner's user in a pattern.
const USER: &str = "{user}";

/// The settings of OpenID Connect.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct OidcSettings {
    /// The OpenID Connect issuer that people sign in at, for example
    /// `https://id.example.com/realms/main`.
    #[arg(long, env = "METAHUB_OIDC_ISSUER", value_name = "URL")]
    pub oidc_issuer: Option<String>,

    /// The client id of `metahubctl` at the issuer: a public client that may
    /// use the device flow.
    #[arg(long, env = "METAHUB_OIDC_CLIENT_ID", value_name = "ID")]
    pub oidc_client_id: Option<String>,

    /// Which claim gives which role: `admin=groups:metahub-admins`. One `*`
    /// stands for any text; an owner's is the name of its user:
    /// `owner=groups:metahub-*`. The first that fits counts.
    #[arg(
        long = "oidc-role",
        env = "METAHUB_OIDC_ROLES",
        value_name = "ROLE=CLAIM:VALUE",
        value_delimiter = ';'
    )]
    pub oidc_roles: Vec<RoleRule>,

    /// What owners who signed in may grant to their user; `{user}` stands for
    /// its name: `ghcr.io/{user}/**`.
    #[arg(
        long = "oidc-owner-grants",
        env = "METAHUB_OIDC_OWNER_GRANTS",
        value_name = "PATTERN",
        value_delimiter = ';'
    )]
    pub oidc_owner_grants: Vec<String>,

    /// What `metahubctl` asks the issuer for, with blanks between.
    #[arg(
        long,
        env = "METAHUB_OIDC_SCOPES",
        default_value = "openid profile email offline_access"
    )]
    pub oidc_scopes: String,

    /// Certificates of authorities that are trusted for the issuer besides the
    /// system's, as PEM.
    #[arg(long, env = "METAHUB_OIDC_CA_FILE", value_name = "FILE")]
    pub oidc_ca_file: Option<PathBuf>,
}

/// A claim that gives a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRule {
    role: Role,
    /// A claim's name, or the way to it with dots: `realm_access.roles`.
    claim: String,
    value: Pattern,
}

/// A role rule that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: write it as `admin=groups:metahub-admins`")]
pub struct InvalidRoleRule {
    reason: &'static str,
}

impl OidcSettings {
    /// The issuer, if there is one and all fits together.
    pub(super) fn checked_issuer(&self) -> anyhow::Result<Option<Url>> {
        let Some(issuer) = &self.oidc_issuer else {
            return Ok(None);
        };
        let url = Url::parse(issuer).with_context(|| format!("{issuer} is no issuer's URL"))?;
        ensure!(
            is_private(&url),
            "{issuer} is not https: its keys could be replaced on their way"
        );
        ensure!(
            !self.client_id().is_empty(),
            "--oidc-issuer needs --oidc-client-id"
        );
        ensure!(
            !self.oidc_roles.is_empty(),
            "--oidc-issuer needs an --oidc-role: without one, no one who signs in may do anything"
        );
        for pattern in &self.oidc_owner_grants {
            let repository = pattern.replace(USER, "user");
            let grant = Grant {
                user: None,
                repository,
            };
            let checked = grant.check();
            checked.with_context(|| format!("--oidc-owner-grants {pattern}"))?;
        }
        Ok(Some(url))
    }

    pub(crate) fn issuer(&self) -> &str {
        self.oidc_issuer.as_deref().unwrap_or_default()
    }

    pub(crate) fn client_id(&self) -> &str {
        self.oidc_client_id.as_deref().unwrap_or_default()
    }

    pub(crate) fn scopes(&self) -> impl Iterator<Item = &str> {
        self.oidc_scopes.split_whitespace()
    }

    /// Whether the claims say anything of a role.
    pub(super) fn has_role(&self, claims: &Claims) -> bool {
        self.oidc_roles.iter().any(|rule| {
            let values = claims.values(&rule.claim);
            values.iter().any(|it| rule.value.star(it).is_some())
        })
    }

    /// What the claims make of the person.
    pub(super) fn standing(&self, claims: &Claims) -> Result<Standing> {
        for rule in &self.oidc_roles {
            let values = claims.values(&rule.claim);
            let stars = values.iter().filter_map(|it| rule.value.star(it));
            let stars: Vec<&str> = stars.collect();
            match (rule.role, stars.as_slice()) {
                (_, []) => {}
                (Role::Admin, _) => return Ok(Standing::Admin),
                (Role::Viewer, _) => return Ok(Standing::Viewer),
                (Role::Owner, [user]) => return self.owner(user),
                (Role::Owner, _) => {
                    return Err(Error::Forbidden {
                        reason: format!(
                            "`{}` would be an owner of several users ({}), and can be of one only: ask an admin",
                            claims.name(),
                            stars.join(", ")
                        ),
                    });
                }
            }
        }
        let by_email = self.oidc_roles.iter().any(|rule| rule.claim == EMAIL);
        let hint = match by_email && !claims.has_verified_email() {
            true => " (`email` counts only where the issuer says `email_verified`)",
            false => "",
        };
        Err(Error::Forbidden {
            reason: format!(
                "`{}` has signed in, but no claim gives a role{hint}: ask an admin (`--oidc-role` of the control plane). Looked for {}; there are {}",
                claims.name(),
                self.wanted_claims(),
                claims.names(),
            ),
        })
    }

    /// The claims that roles are looked for in.
    fn wanted_claims(&self) -> String {
        let mut wanted: Vec<&str> = self.oidc_roles.iter().map(|it| it.claim.as_str()).collect();
        wanted.dedup();
        wanted.join(", ")
    }

    fn owner(&self, user: &str) -> Result<Standing> {
        names::check_user("user", user)?;
        let patterns = self.oidc_owner_grants.iter();
        Ok(Standing::Owner(Ownership {
            user: user.to_owned(),
            grantable: patterns.map(|it| it.replace(USER, user)).collect(),
        }))
    }
}

/// Whether no one can change on the way what comes from there.
pub(super) fn is_private(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback)
}

impl FromStr for RoleRule {
    type Err = InvalidRoleRule;

    fn from_str(text: &str) -> Result<Self, InvalidRoleRule> {
        let invalid = |reason| InvalidRoleRule { reason };
        let (role, rest) = text.split_once('=').ok_or(invalid("it has no `=`"))?;
        let role = match role {
            "admin" => Role::Admin,
            "owner" => Role::Owner,
            "viewer" => Role::Viewer,
            _ => return Err(invalid("the role is none of admin, owner and viewer")),
        };
        let (claim, value) = split_claim(rest).ok_or(invalid("it has no claim and value"))?;
        let value: Pattern = value.parse().map_err(&invalid)?;
        if role == Role::Owner && !value.has_star() {
            return Err(invalid("an owner's value needs a `*` for the user's name"));
        }
        Ok(Self {
            role,
            claim: claim.into(),
            value,
        })
    }
}

/// Splits at the first `:` that is not that of a URL: claims may be named by
/// one.
fn split_claim(text: &str) -> Option<(&str, &str)> {
    let mut colons = text.match_indices(':');
    let (at, _) = colons.find(|(at, _)| !text[at + 1..].starts_with("//"))?;
    let (claim, value) = (&text[..at], &text[at + 1..]);
    (!claim.is_empty() && !value.is_empty()).then_some((claim, value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(rules: &[&str]) -> OidcSettings {
        OidcSettings {
            oidc_roles: rules.iter().map(|rule| rule.parse().unwrap()).collect(),
            oidc_owner_grants: vec!["ghcr.io/{user}/**".into()],
            ..OidcSettings::default()
        }
    }

    fn standing(rules: &[&str], claims: serde_json::Value) -> Result<Standing> {
        let claims: Claims = serde_json::from_value(claims).unwrap();
        settings(rules).standing(&claims)
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let rules = ["admin=groups:ops", "viewer=groups:*"];

        let of = |groups| standing(&rules, json!({"sub": "1", "groups": groups})).ok();

        assert_eq!(of(json!(["staff", "ops"])), Some(Standing::Admin));
        assert_eq!(of(json!("staff")), Some(Standing::Viewer));
        assert_eq!(of(json!([])), None);
    }

    #[test]
    fn the_star_of_an_owner_is_its_user() {
        let owner = standing(
            &["owner=groups:metahub-*"],
            json!({"sub": "1", "groups": ["metahub-qnib"]}),
        );

        let expected = Ownership {
            user: "qnib".into(),
            grantable: vec!["ghcr.io/qnib/**".into()],
        };
        assert_eq!(owner.unwrap(), Standing::Owner(expected));
    }

    #[test]
    fn an_owner_of_two_users_and_one_of_no_name_are_refused() {
        for groups in [json!(["metahub-a", "metahub-b"]), json!(["metahub-A B"])] {
            let claims = json!({"sub": "1", "groups": groups});

            assert!(standing(&["owner=groups:metahub-*"], claims).is_err());
        }
    }

    #[test]
    fn a_claim_is_found_by_its_way_or_by_its_whole_name() {
        let claims = json!({
            "sub": "1",
            "realm_access": {"roles": ["ops"]},
            "https://example.com/roles": ["ops"],
        });

        for rule in [
            "admin=realm_access.roles:ops",
            "admin=https://example.com/roles:ops",
        ] {
            let found = standing(&[rule], claims.clone());
            assert_eq!(found.unwrap(), Standing::Admin, "{rule}");
        }
    }

    #[test]
    fn an_address_that_the_issuer_has_not_verified_gives_no_role() {
        let of = |verified: serde_json::Value| {
            let claims = json!({
                "sub": "1",
                "email": "boss@example.com",
                "email_verified": verified,
            });
            standing(&["admin=email:boss@example.com"], claims)
        };

        assert_eq!(of(json!(true)).unwrap(), Standing::Admin);
        assert_eq!(of(json!("true")).unwrap(), Standing::Admin);
        for verified in [json!(false), json!("false"), json!(null), json!(1)] {
            let refused = of(verified).unwrap_err().to_string();
            assert!(refused.contains("email_verified"), "{refused}");
        }
    }

    #[test]
    fn a_rule_that_says_nothing_clear_is_refused() {
        for rule in [
            "root=groups:ops",
            "admin",
            "admin=groups",
            "admin=:ops",
            "admin=groups:",
            "owner=groups:ops",
            "viewer=groups:*-*",
        ] {
            assert!(rule.parse::<RoleRule>().is_err(), "{rule}");
        }
    }

    #[test]
    fn an_issuer_over_plain_http_is_refused_but_on_this_host() {
        let issuer = |url: &str| {
            let settings = OidcSettings {
                oidc_issuer: Some(url.into()),
                oidc_client_id: Some("metahubctl".into()),
                ..settings(&["admin=groups:ops"])
            };
            settings.checked_issuer().is_ok()
        };

        assert!(issuer("https://id.example.com") && issuer("http://127.0.0.1:8080"));
        assert!(!issuer("http://id.example.com") && !issuer("id.example.com"));
    }
}
