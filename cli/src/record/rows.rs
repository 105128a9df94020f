//! The records as rows of tables, for people.

use std::time::{Duration, SystemTime};

use humantime::format_duration;
use metahub_policy::{Cpu, Grant, Rule};

use super::{Blobs, Login, MachineType, Pin, Recipe, Revision, Upstream, User, Worker};
use crate::output::Row;

impl Row for User {
    const COLUMNS: &'static [&'static str] = &["USER"];

    fn cells(&self) -> Vec<String> {
        vec![self.name.clone()]
    }
}

impl Row for MachineType {
    const COLUMNS: &'static [&'static str] = &["USER", "TYPE", "PLATFORM", "FEATURES"];

    fn cells(&self) -> Vec<String> {
        let platform = [Some(&self.shape.os), self.shape.architecture.as_ref()];
        let platform: Vec<_> = platform
            .into_iter()
            .chain([self.shape.variant.as_ref()])
            .flatten()
            .map(String::as_str)
            .collect();
        vec![
            self.user.clone(),
            self.name.clone(),
            platform.join("/"),
            words(&self.shape.features),
        ]
    }
}

impl Row for Login {
    const COLUMNS: &'static [&'static str] = &["LOGIN", "USER", "TYPE", "SELECTORS"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.user.clone(),
            self.machine_type.clone(),
            yes(self.allow_selectors),
        ]
    }
}

impl Row for Upstream {
    const COLUMNS: &'static [&'static str] = &[
        "UPSTREAM",
        "URL",
        "DEFAULT",
        "USERNAME",
        "OPEN TO",
        "TLS",
        "HTTP",
        "BLOBS",
        "HOSTS",
        "PREFIX",
        "PROXY",
        "TOKEN HOSTS",
    ];

    fn cells(&self) -> Vec<String> {
        let urls = [&[self.url.clone()][..], &self.fallback_urls].concat();
        vec![
            self.name.clone(),
            urls.join(" "),
            yes(self.default),
            or_dash(&self.username),
            match self.needs_grant() {
                true => "users with a grant".into(),
                false => "all users".into(),
            },
            self.tls(),
            match self.http1 {
                true => "1.1".into(),
                false => "2, 1.1".into(),
            },
            match self.blobs {
                Blobs::Proxy => "proxy".into(),
                Blobs::Redirect => "redirect".into(),
            },
            or_dash(&self.hosts.join(" ")),
            or_dash(&self.repository_prefix),
            match &*self.proxy {
                "" => "environment".into(),
                proxy => proxy.to_owned(),
            },
            or_dash(&self.token_hosts.join(" ")),
        ]
    }
}

impl Upstream {
    fn tls(&self) -> String {
        let verified = match (self.insecure, self.ca_pem.is_empty()) {
            (true, _) => "not verified",
            (false, true) => "verified",
            (false, false) => "verified, own CA",
        };
        match self.client_cert_pem.is_empty() {
            true => verified.into(),
            false => format!("{verified}, client certificate"),
        }
    }
}

impl Row for Grant {
    const COLUMNS: &'static [&'static str] = &["USER", "REPOSITORY"];

    fn cells(&self) -> Vec<String> {
        let user = self.user.as_deref().unwrap_or("(all users)");
        vec![user.to_owned(), self.repository.clone()]
    }
}

impl Row for Rule {
    const COLUMNS: &'static [&'static str] = &["RULE", "REPOSITORY", "TAG", "MATCH", "REQUIRES"];

    fn cells(&self) -> Vec<String> {
        let matches = &self.matches;
        let conditions: Vec<_> = [
            ("os", &matches.os),
            ("architecture", &matches.architecture),
            ("variant", &matches.variant),
            ("os.version", &matches.os_version),
            ("digest", &matches.digest),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some(format!("{key}={}", value.as_ref()?)))
        .collect();
        vec![
            self.name.clone(),
            or_dash(&self.repository),
            or_dash(&self.tag),
            or_dash(&conditions.join(",")),
            words(&self.requires),
        ]
    }
}

impl Row for Pin {
    const COLUMNS: &'static [&'static str] = &["USER", "TYPE", "REPOSITORY", "DIGEST"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.user.clone(),
            self.machine_type.clone(),
            self.repository.clone(),
            self.digest.clone(),
        ]
    }
}

impl Row for Cpu {
    const COLUMNS: &'static [&'static str] = &["CPU", "PARENTS", "FEATURES", "ALIASES"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            words(&self.parents),
            words(&self.features),
            words(&self.aliases),
        ]
    }
}

impl Row for Recipe {
    const COLUMNS: &'static [&'static str] = &[
        "DIGEST",
        "REPOSITORY",
        "SOURCE",
        "KEPT",
        "USER",
        "LAST USED",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.digest.clone(),
            format!("{}/{}", self.upstream, self.repository),
            self.source_digest.clone(),
            (self.kept.len() + self.kept_places.len()).to_string(),
            self.user.clone(),
            format!("{} ago", age(self.last_used)),
        ]
    }
}

impl Row for Worker {
    const COLUMNS: &'static [&'static str] = &[
        "WORKER", "REGISTRY", "STATE", "FOR", "REVISION", "LAG", "VERSION",
    ];

    fn cells(&self) -> Vec<String> {
        let state = match (self.rejected_reason.as_str(), self.mismatch.as_str()) {
            _ if !self.connected => "lost".into(),
            _ if self.doubled => "two workers have this id".into(),
            ("", "") => "connected".into(),
            ("", mismatch) => format!("differs: {mismatch}"),
            (reason, _) => format!("rejected: {reason}"),
        };
        vec![
            self.id.clone(),
            or_dash(&self.registry_address),
            state,
            age(self.since),
            Revision::text(self.applied),
            format!("{} ms", self.lag_ms),
            self.version.clone(),
        ]
    }
}

/// How long ago `time` was, in whole seconds.
fn age(time: SystemTime) -> String {
    let age = SystemTime::now().duration_since(time).unwrap_or_default();
    format_duration(Duration::from_secs(age.as_secs())).to_string()
}

fn yes(value: bool) -> String {
    if value { "yes" } else { "no" }.into()
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.into()
}

fn words(texts: &[String]) -> String {
    or_dash(&texts.join(" "))
}
