//! Compares a client's server name with the registry of the host's login.
//!
//! Clients spell one registry in several ways. A text that two parsers could
//! read as different hosts never matches: the client would send the secret to
//! the host from its own parser.

use url::Url;

/// The registry's host, and its port unless it is the scheme's default.
pub(super) fn host(registry: &Url) -> String {
    let host = registry.host_str().unwrap_or_default();
    match registry.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Whether `server` names `registry`: `host[:port]`, as docker, podman and
/// skopeo write it, or a URL with or without a path, as crane and older dockers
/// do.
pub(super) fn is_server(server: &str, registry: &Url) -> bool {
    let spelled = |c: char| c.is_ascii_alphanumeric() || ".-_:/[]".contains(c);
    if server.is_empty() || !server.chars().all(spelled) {
        return false;
    }
    let url = match server.contains("://") {
        true => Url::parse(server),
        false => Url::parse(&format!("{}://{server}", registry.scheme())),
    };
    url.is_ok_and(|url| url.scheme() == registry.scheme() && same_host(&url, registry))
}

/// The host at the start of an image's name, if the image is in `registry`.
///
/// Docker's rule: the part before the first slash is a host if it has a dot or
/// a colon, or is `localhost`.
pub(super) fn host_of_image<'a>(image: &'a str, registry: &Url) -> Option<&'a str> {
    let (host, _) = image.split_once('/')?;
    let is_host = host.contains(['.', ':']) || host == "localhost";
    (is_host && is_server(host, registry)).then_some(host)
}

fn same_host(one: &Url, other: &Url) -> bool {
    one.host().is_some()
        && one.host() == other.host()
        && one.port_or_known_default() == other.port_or_known_default()
        && one.username().is_empty()
        && one.password().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(server: &str, registry: &str) -> bool {
        is_server(server, &Url::parse(registry).unwrap())
    }

    #[test]
    fn a_registry_is_known_in_each_spelling_of_the_clients() {
        for server in [
            "metahub.example",
            "METAHUB.example",
            "metahub.example:443",
            "https://metahub.example",
            "https://metahub.example/",
            "https://metahub.example/v1/",
            "https://metahub.example/v2/",
            "metahub.example/qnib/bench",
        ] {
            assert!(is(server, "https://metahub.example"), "{server}");
        }
        assert!(is("127.0.0.1:7480", "http://127.0.0.1:7480"));
        assert!(is("http://127.0.0.1:7480", "http://127.0.0.1:7480/"));
        assert!(is("[::1]:7480", "http://[::1]:7480"));
        assert!(is("metahub", "http://metahub"));
    }

    #[test]
    fn no_other_server_is_the_registry() {
        for server in [
            "",
            "docker.io",
            "https://index.docker.io/v1/",
            "example",
            "metahub.example.evil.example",
            "evil.example/metahub.example",
            "evilmetahub.example",
            "metahub.example:444",
            "metahub.example.",
            "https://metahub.example:80",
            "http://metahub.example",
        ] {
            assert!(!is(server, "https://metahub.example"), "{server}");
        }
    }

    #[test]
    fn what_parsers_read_as_different_hosts_is_not_the_registry() {
        for server in [
            "https://metahub.example@evil.example",
            "https://metahub.example\\@evil.example",
            "https://user:x@metahub.example",
            "https://metahub.example#@evil.example",
            "https://metahub.example?@evil.example",
            "https://metahub.exa\tmple",
            "metahub.example\nevil.example",
            "https://metahub%2eexample",
            "ｍetahub.example",
            "metahub。example",
        ] {
            assert!(!is(server, "https://metahub.example"), "{server:?}");
        }
    }

    #[test]
    fn an_image_is_of_the_registry_in_front_of_its_name_only() {
        let registry = Url::parse("https://metahub.example").unwrap();
        let host = |image| host_of_image(image, &registry);

        assert_eq!(host("metahub.example/qnib/a:1"), Some("metahub.example"));
        assert_eq!(host("metahub.example:443/a"), Some("metahub.example:443"));
        assert_eq!(host("docker.io/metahub.example/a"), None);
        assert_eq!(host("metahub.example"), None);
        assert_eq!(host("qnib/bench"), None);
        let short = Url::parse("http://metahub").unwrap();
        assert_eq!(host_of_image("metahub/bench", &short), None);
    }
}
