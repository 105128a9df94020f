//! `WWW-Authenticate`: how an upstream wants to be asked (RFC 9110, 11.6.1;
//! distribution-spec token authentication).

use http::{HeaderMap, header};
use http_auth::{ChallengeRef, parser::ChallengeParser};
use url::Url;

use super::trust::with_scheme_of;
use crate::reference::Repository;

/// What an upstream offers. Schemes that MetaHub does not speak are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offers {
    /// A token of a token server.
    pub(crate) bearer: Option<Bearer>,
    /// The account itself.
    pub(crate) basic: bool,
}

/// Where to get a token, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bearer {
    /// The token server.
    pub(crate) realm: Url,
    /// What the token server calls the registry.
    pub(crate) service: Option<Box<str>>,
    /// What the token is to allow.
    pub(crate) scope: Scope,
}

/// What a token is to allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// To pull from the repository at hand: `repository:<name>:pull`.
    Pull,
    /// Whatever the upstream has spelled out, scopes apart by spaces.
    Spelled(Box<str>),
}

impl Offers {
    /// Reads all challenges of an answer about `repository`. One that cannot
    /// be read hides no other header line.
    pub(crate) fn read(headers: &HeaderMap, repository: &Repository) -> Self {
        let mut offers = Self::default();
        for value in headers.get_all(header::WWW_AUTHENTICATE) {
            let value = value.to_str().unwrap_or_default();
            for challenge in ChallengeParser::new(value).map_while(Result::ok) {
                offers.add(&challenge, repository);
            }
        }
        offers
    }

    /// The same, said by a registry at `url`.
    pub(crate) fn at(mut self, url: &Url) -> Self {
        if let Some(bearer) = &mut self.bearer {
            bearer.realm = with_scheme_of(url, bearer.realm.clone());
        }
        self
    }

    fn add(&mut self, challenge: &ChallengeRef<'_>, repository: &Repository) {
        if challenge.scheme.eq_ignore_ascii_case("basic") {
            self.basic = true;
        } else if challenge.scheme.eq_ignore_ascii_case("bearer") && self.bearer.is_none() {
            self.bearer = Bearer::read(challenge, repository);
        }
    }
}

impl Bearer {
    fn read(challenge: &ChallengeRef<'_>, repository: &Repository) -> Option<Self> {
        let parameter = |name: &str| {
            let found = challenge
                .params
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))?;
            Some(found.1.to_unescaped())
        };
        let pull = Scope::Pull.for_repository(repository);
        Some(Self {
            realm: Url::parse(&parameter("realm")?).ok()?,
            service: parameter("service").map(Into::into),
            scope: match parameter("scope") {
                Some(scope) if !scope.is_empty() && scope != pull => Scope::Spelled(scope.into()),
                _ => Scope::Pull,
            },
        })
    }
}

impl Scope {
    /// As it is asked for.
    pub(crate) fn for_repository(&self, repository: &Repository) -> String {
        match self {
            Self::Pull => format!("repository:{repository}:pull"),
            Self::Spelled(scope) => scope.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(lines: &[&str]) -> Offers {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::WWW_AUTHENTICATE, line.parse().unwrap());
        }
        Offers::read(&headers, &Repository::parse("library/nginx").unwrap())
    }

    #[test]
    fn docker_hubs_challenge_asks_for_pull() {
        let offers = read(&[
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull""#,
        ]);

        let bearer = offers.bearer.unwrap();
        assert_eq!(bearer.realm.as_str(), "https://auth.docker.io/token");
        assert_eq!(bearer.service.as_deref(), Some("registry.docker.io"));
        assert_eq!(bearer.scope, Scope::Pull);
        assert!(!offers.basic);
    }

    #[test]
    fn a_comma_within_quotes_belongs_to_the_scope() {
        let offers =
            read(&[r#"Bearer realm="https://r.example/t",scope="repository:x:pull,push""#]);

        assert_eq!(
            offers.bearer.unwrap().scope,
            Scope::Spelled("repository:x:pull,push".into())
        );
    }

    #[test]
    fn several_challenges_are_read_in_one_line_and_in_many() {
        let one = read(&[r#"Negotiate, Basic realm="x", bearer REALM="https://r.example/t""#]);
        let many = read(&[
            "Negotiate",
            r#"Bearer realm="https://r.example/t""#,
            r#"BASIC realm="x""#,
        ]);

        assert!(one.basic && one.bearer.is_some());
        assert_eq!(one, many);
    }

    #[test]
    fn what_cannot_be_read_offers_nothing() {
        for line in [
            "",
            ",,,",
            "Bearer",
            r#"Bearer realm="no url""#,
            r#"Bearer realm="https://r.example"#,
            "Digest realm=x",
        ] {
            assert_eq!(read(&[line]), Offers::default(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_challenge_is_read_without_harm(
            line in "[ -~]{0,200}|((Bearer|Basic|realm=|scope=|https://r|[\"\\\\, =a]){1,3}){0,20}",
        ) {
            let offers = read(&[&line]);

            let is_named = |scheme| line.to_ascii_lowercase().contains(scheme);
            prop_assert!(!offers.basic || is_named("basic"));
            prop_assert!(offers.bearer.is_none() || is_named("bearer"));
        }
    }
}
