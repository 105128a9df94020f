//! What makes two upstreams the same.

use super::*;

fn upstream_at(url: &str, password: Option<&str>) -> Upstream {
    let credential = password.map(|password| Credential {
        username: "robot".into(),
        password: password.into(),
    });
    Upstream::new("hub", url.parse().unwrap(), credential, true)
}

#[test]
fn another_credential_or_address_is_another_site() {
    let one = upstream_at("https://a.example", Some("one")).site();

    assert!(one == upstream_at("https://a.example", Some("one")).site());
    assert!(one != upstream_at("https://a.example", Some("two")).site());
    assert!(one != upstream_at("https://b.example", Some("one")).site());
    assert!(one != upstream_at("https://a.example", None).site());
}

#[test]
fn debug_output_holds_no_secret() {
    let text = format!("{:?}", upstream_at("https://a.example", Some("hunter2")));

    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn docker_hubs_web_addresses_mean_its_registry() {
    for url in ["https://docker.io", "https://index.docker.io/"] {
        let hub = upstream_at(url, None);

        assert_eq!(hub.url.as_str(), "https://registry-1.docker.io/");
    }
}
