//! `WWW-Authenticate`: how an upstream wants to be asked (RFC 9110, 11.6.1;
//! distribution-spec token authentication).
//!
//! Registries write it with missing or additional commas, without quotes and in
//! Latin-1. It is read as leniently as curl and Go's clients read it: the scheme
//! decides, and of its parameters those that can be read are used.

mod parser;

use http::{HeaderMap, header};
use url::Url;

use self::parser::Challenge;
use super::{header_text::header_text, trust::with_scheme_of};
use crate::reference::Repository;

/// What an upstream offers. Schemes that MetaHub does not speak are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offers {
    /// A token of a token server.
    pub(crate) bearer: Option<Bearer>,
    /// The account itself.
    pub(crate) basic: bool,
    /// Whether it says that the token allows too little (RFC 6750, 3.1).
    pub(crate) insufficient_scope: bool,
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
    /// To pull the docker plugin at hand: `repository(plugin):<name>:pull`.
    Plugin,
    /// Whatever the upstream has spelled out, scopes apart by spaces.
    Spelled(Box<str>),
}

impl Offers {
    /// Reads all challenges of an answer about `repository`. One that cannot
    /// be read hides no other one.
    pub(crate) fn read(headers: &HeaderMap, repository: &Repository) -> Self {
        let mut offers = Self::all(headers);
        let pull = Scope::Pull.for_repository(repository);
        let bearer = offers.bearer.as_mut();
        if let Some(bearer) = bearer.filter(|it| it.scope == Scope::Spelled(pull.into())) {
            bearer.scope = Scope::Pull;
        }
        offers
    }

    /// The same of an answer about no repository: a scope that is named there
    /// stands for an example.
    pub(crate) fn of_base(headers: &HeaderMap) -> Self {
        let mut offers = Self::all(headers);
        if let Some(bearer) = &mut offers.bearer {
            bearer.scope = Scope::Pull;
        }
        offers
    }

    fn all(headers: &HeaderMap) -> Self {
        let mut offers = Self::default();
        for value in headers.get_all(header::WWW_AUTHENTICATE) {
            for challenge in parser::parse(&header_text(value)) {
                offers.add(&challenge);
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

    fn add(&mut self, challenge: &Challenge<'_>) {
        if challenge.scheme.eq_ignore_ascii_case("basic") {
            self.basic = true;
        } else if challenge.scheme.eq_ignore_ascii_case("bearer") && self.bearer.is_none() {
            self.bearer = Bearer::read(challenge);
            let error = challenge.parameter("error");
            self.insufficient_scope = error.is_some_and(|it| it == "insufficient_scope");
        }
    }
}

impl Bearer {
    fn read(challenge: &Challenge<'_>) -> Option<Self> {
        Some(Self {
            realm: Url::parse(challenge.parameter("realm")?).ok()?,
            service: challenge.parameter("service").map(Into::into),
            scope: match challenge.parameter("scope") {
                Some(scope) if !scope.is_empty() => Scope::Spelled(scope.into()),
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
            Self::Plugin => format!("repository(plugin):{repository}:pull"),
            Self::Spelled(scope) => scope.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(lines: &[&str]) -> Offers {
        let mut headers = HeaderMap::new();
        for line in lines {
            let value = HeaderValue::from_bytes(line.as_bytes()).unwrap();
            headers.append(header::WWW_AUTHENTICATE, value);
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
    fn a_basic_challenge_is_known_by_its_scheme_alone() {
        for line in [
            "Basic",
            "basic",
            "Basic realm=/",
            r#"BASIC realm="Sonatype Nexus Repository Manager""#,
            "Basic realm=Artifactory Realm",
            r#"Basic realm="x","#,
            r#"Basic realm="x", charset="UTF-8""#,
            r#"Basic realm="unterminated"#,
            r#"Negotiate Basic realm="x""#,
            r#", ,Basic  realm = "x""#,
        ] {
            assert!(read(&[line]).basic, "{line}");
        }
        let latin_1 = HeaderValue::from_bytes(b"Basic realm=\"D\xe9p\xf4t\"").unwrap();
        let headers = HeaderMap::from_iter([(header::WWW_AUTHENTICATE, latin_1)]);
        assert!(Offers::read(&headers, &Repository::parse("app").unwrap()).basic);
    }

    #[test]
    fn a_bearer_challenge_outside_of_the_grammar_is_read() {
        for line in [
            r#"Bearer realm="https://r.example/t" service="s" scope="x""#,
            r#" bearer  realm = "https://r.example/t" , service = "s",scope="x","#,
            "Bearer realm=https://r.example/t,service=s,scope=x",
            "Bearer realm=https://r.example/t service=s scope=x",
            r#"Bearer realm="https://r.example/t",,service="s";scope="x""#,
            r#"Bearer service="s",error="Dépôt",scope="x",Realm="https://r.example/t""#,
            r#"Basic realm=a b c, Bearer realm="https://r.example/t",service="s",scope="x""#,
            r#"Bearer realm="https://r.example/t",service="s",scope="x" Basic realm="r""#,
            r#"Bearer realm="https://r.example/t",service="\s",scope="x", Digest scope="y""#,
            r#"Bearer error=,realm="https://r.example/t",service="s",scope="x"#,
        ] {
            let bearer = read(&[line]).bearer.unwrap_or_else(|| panic!("{line}"));

            assert_eq!(bearer.realm.as_str(), "https://r.example/t", "{line}");
            assert_eq!(bearer.service.as_deref(), Some("s"), "{line}");
            assert_eq!(bearer.scope, Scope::Spelled("x".into()), "{line}");
        }
    }

    #[test]
    fn an_unquoted_value_may_hold_blanks() {
        let line = "Bearer realm=https://r.example/t, service=registry of the team, scope=x";

        let bearer = read(&[line]).bearer.unwrap();

        assert_eq!(bearer.service.as_deref(), Some("registry of the team"));
        assert_eq!(bearer.scope, Scope::Spelled("x".into()));
    }

    #[test]
    fn a_scope_that_is_not_sufficient_is_noticed() {
        let line = r#"Bearer realm="https://r.example/t",error="insufficient_scope""#;

        assert!(read(&[line]).insufficient_scope);
        assert!(!read(&[&line.replace("insufficient_scope", "invalid_token")]).insufficient_scope);
    }

    #[test]
    fn what_cannot_be_read_offers_nothing() {
        for line in [
            "",
            ",,,",
            "Bearer",
            r#"Bearer realm="no url""#,
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
