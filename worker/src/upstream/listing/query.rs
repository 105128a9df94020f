//! Queries of lists, from clients and back to them.

use http::{HeaderMap, header};
use url::{Url, form_urlencoded};

/// The largest page that is asked for.
const MAX_N: u64 = 1_000;
/// The longest query that is passed on, in bytes.
const MAX_QUERY: usize = 2_048;

/// A client's query as it goes to the upstream: with pages of a sane size, and
/// without what is meant for the worker. None if nothing is left.
pub(crate) fn safe_query(query: &str) -> Option<String> {
    if query.len() > MAX_QUERY {
        return None;
    }
    let mut safe = form_urlencoded::Serializer::new(String::new());
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "ns" => {}
            "n" => {
                if let Ok(n) = value.parse::<u64>() {
                    safe.append_pair("n", &n.min(MAX_N).to_string());
                }
            }
            _ => {
                safe.append_pair(&key, &value);
            }
        }
    }
    Some(safe.finish()).filter(|safe| !safe.is_empty())
}

/// The size of the page that a query asks for, and the query without it.
pub(super) fn without_page_size(query: Option<&str>) -> (Option<usize>, Option<String>) {
    let (mut size, mut rest) = (None, form_urlencoded::Serializer::new(String::new()));
    for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*key {
            "n" => size = value.parse().ok(),
            _ => {
                rest.append_pair(&key, &value);
            }
        }
    }
    (size, Some(rest.finish()).filter(|rest| !rest.is_empty()))
}

/// The query of the `Link` to the next page (RFC 8288).
pub(crate) fn next_query(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::LINK)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(links)
        .find_map(|(target, parameters)| {
            let is_next = parameters.split(';').any(is_rel_next);
            is_next.then(|| query_of(target))?
        })
}

/// The targets and parameters in a `Link`: `<a>; rel="x", <b>; rel="y"`.
fn links(value: &str) -> impl Iterator<Item = (&str, &str)> {
    value
        .split('<')
        .filter_map(|link| link.split_once('>'))
        .map(|(target, parameters)| (target, parameters.trim_end_matches([',', ' '])))
}

fn is_rel_next(parameter: &str) -> bool {
    let Some((key, value)) = parameter.split_once('=') else {
        return false;
    };
    let value = value.trim().trim_matches('"');
    key.trim().eq_ignore_ascii_case("rel")
        && value
            .split_ascii_whitespace()
            .any(|rel| rel.eq_ignore_ascii_case("next"))
}

/// The query of an absolute or relative target.
fn query_of(target: &str) -> Option<String> {
    let base = Url::parse("https://upstream.invalid/").ok()?;
    let target = base.join(target).ok()?;
    safe_query(target.query()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(link: &str) -> Option<String> {
        next_query(&HeaderMap::from_iter([(
            header::LINK,
            link.parse().unwrap(),
        )]))
    }

    #[test]
    fn a_clients_query_is_passed_on_within_bounds() {
        for (query, expected) in [
            ("n=2&last=b", Some("n=2&last=b")),
            ("n=1000000000", Some("n=1000")),
            ("n=-1&ns=quay.io", None),
            ("artifactType=a%2Fb", Some("artifactType=a%2Fb")),
            ("", None),
        ] {
            assert_eq!(safe_query(query).as_deref(), expected, "{query}");
        }
        assert_eq!(safe_query(&"a".repeat(MAX_QUERY + 1)), None);
    }

    #[test]
    fn the_next_page_is_found_in_relative_and_absolute_links() {
        let expected = Some("last=b&n=2".to_owned());

        for link in [
            r#"</v2/a/tags/list?last=b&n=2>; rel="next""#,
            r#"<https://r.example/v2/a/tags/list?last=b&n=2>; rel=next"#,
            r#"<?last=a>; rel="prev", <?last=b&n=2>; title="x"; REL="next last""#,
        ] {
            assert_eq!(next(link), expected, "{link}");
        }
    }

    #[test]
    fn a_link_to_something_else_leads_nowhere() {
        for link in [
            "",
            "</v2/?last=b>",
            r#"<?last=b>; rel="prev""#,
            "<>; rel=next",
            "<",
        ] {
            assert_eq!(next(link), None, "{link}");
        }
    }
}
