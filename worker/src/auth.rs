//! Who asks: HTTP Basic against the logins of a snapshot.
//!
//! One challenge only, since clients mix two up. Nothing here waits, and no
//! login is remembered: one that is not in the snapshot is refused at once.
//!
//! A login that allows it may carry selectors: features that the host has
//! besides, or instead of, those of its machine type.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{
    HeaderMap,
    header::{AUTHORIZATION, HeaderValue},
};
use subtle::ConstantTimeEq as _;

use self::selectors::Credentials;
use crate::snapshot::{Kind, Snapshot};

mod selectors;

pub(crate) use self::selectors::Selected;

/// The challenge. The realm is fixed: nothing that a client sends is in it.
pub(crate) const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"MetaHub\"");

/// The longest credentials that are looked at, encoded.
const MAX_ENCODED: usize = 1024;

/// Why a client is not let in. Does not tell a wrong secret from a login that
/// does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It has not said who it is.
    NotLoggedIn,
    /// It is not who it says.
    Wrong,
    /// It is, but its login allows no selectors.
    NoSelectors,
    /// It is, but its selectors cannot be used, for this reason.
    Selectors(String),
}

/// Who a client is.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The name that it logged in with, selectors included.
    pub(crate) name: String,
    /// Its machine type, with its selectors.
    pub(crate) kind: Arc<Kind>,
}

/// Finds out who asks. `selected` remembers what selectors make of machine
/// types, never who asked.
pub(crate) fn authenticate(
    snapshot: &Snapshot,
    headers: &HeaderMap,
    selected: &Selected,
) -> Result<Caller, Refused> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let credentials = match (given.next(), given.next()) {
        (None, _) => return Err(Refused::NotLoggedIn),
        (Some(value), None) => basic(value).ok_or(Refused::Wrong)?,
        (Some(_), Some(_)) => return Err(Refused::Wrong),
    };
    // podman sends these when it has none.
    if credentials == ":" {
        return Err(Refused::NotLoggedIn);
    }
    let given = Credentials::split(&credentials).ok_or(Refused::Wrong)?;
    let login = snapshot.login(given.login).ok_or(Refused::Wrong)?;
    let presented = digest(&SHA256, given.secret.as_bytes());
    if !bool::from(presented.as_ref().ct_eq(&login.secret_sha256)) {
        return Err(Refused::Wrong);
    }
    let kind = match given.selectors {
        None => login.kind.clone(),
        Some(_) if !login.allow_selectors => return Err(Refused::NoSelectors),
        Some(selectors) => selected.kind(snapshot, &login.kind, selectors)?,
    };
    Ok(Caller {
        name: given.name.to_owned(),
        kind,
    })
}

fn basic(value: &HeaderValue) -> Option<String> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    let good = scheme.eq_ignore_ascii_case("basic") && encoded.len() <= MAX_ENCODED;
    let decoded = STANDARD.decode(good.then(|| encoded.trim())?).ok()?;
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::sample::Sample;

    fn login(lines: &[&str]) -> Result<String, Refused> {
        let snapshot = Sample::new()
            .machine_type("type1", "{}", "secret:with:colons")
            .build();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AUTHORIZATION, HeaderValue::from_str(line).unwrap());
        }
        let selected = Selected::default();
        authenticate(&snapshot, &headers, &selected).map(|caller| caller.kind.name.clone())
    }

    fn basic_of(credentials: impl AsRef<[u8]>) -> String {
        format!("Basic {}", STANDARD.encode(credentials))
    }

    #[test]
    fn a_login_with_its_secret_is_let_in_as_its_type() {
        let good = basic_of("qnib-type1:secret:with:colons");

        assert_eq!(login(&[&good]).unwrap(), "qnib-type1");
        assert_eq!(
            login(&[&good.replace("Basic", "bAsIc")]).unwrap(),
            "qnib-type1"
        );
    }

    #[test]
    fn no_credentials_and_empty_ones_are_not_logged_in() {
        assert_eq!(login(&[]), Err(Refused::NotLoggedIn));
        assert_eq!(login(&[&basic_of(":")]), Err(Refused::NotLoggedIn));
    }

    #[test]
    fn all_else_is_wrong_in_the_same_way() {
        let good = basic_of("qnib-type1:secret:with:colons");
        for line in [
            &basic_of("qnib-type1:secret"),
            &basic_of("qnib-type2:secret:with:colons"),
            &basic_of("qnib-type1:"),
            &basic_of("qnib-type1"),
            &basic_of(""),
            &basic_of([0xff, b':', 0xff]),
            &basic_of("a".repeat(4000)),
            &good.replace("Basic", "Bearer"),
            "Basic",
            "Basic ????",
            "",
        ] {
            assert_eq!(login(&[line]), Err(Refused::Wrong), "{line}");
        }
        assert_eq!(login(&[&good, &good]), Err(Refused::Wrong));
    }
}
