//! The policy as a file that `apply` takes back without a change.

use std::collections::BTreeMap;

use metahub_policy::{Cpu, Grant, Rule};

use super::{Declaration, DeclaredLogin, DeclaredType, DeclaredUpstream, DeclaredUser, form};
use crate::{
    catalog::Catalog,
    policy::Policy,
    records::{Kept, Key, Login, MachineType, Pin, Upstream, User, login_name},
};

impl Catalog {
    /// What the policy says. Without secrets it can be applied where they are;
    /// with them, to an empty store.
    pub(crate) fn export(&self, with_secrets: bool) -> Declaration {
        let policy = self.policy();
        let mut types = types(&policy, with_secrets);
        let users = policy.all::<User>().map(|user| DeclaredUser {
            name: user.name.clone(),
            password_hash: user.password_hash.clone().filter(|_| with_secrets),
            types: types.remove(user.name.as_str()).unwrap_or_default(),
            ..DeclaredUser::default()
        });
        let upstreams = policy.all::<Upstream>();
        Declaration {
            users: users.collect(),
            upstreams: Some(upstreams.map(|it| upstream(it, with_secrets)).collect()),
            rules: policy.all::<Rule>().map(form::declared_rule).collect(),
            pins: policy.all::<Pin>().map(form::declared_pin).collect(),
            grants: policy.all::<Grant>().map(form::declared_grant).collect(),
            cpus: policy.all::<Cpu>().map(form::declared_cpu).collect(),
        }
    }
}

/// The machine types by user.
fn types(policy: &Policy, with_secrets: bool) -> BTreeMap<&str, Vec<DeclaredType>> {
    let mut types = BTreeMap::<&str, Vec<DeclaredType>>::new();
    for machine_type in policy.all::<MachineType>() {
        let (user, name) = (&machine_type.user, &machine_type.name);
        let login: Option<&Login> = policy.find(&Key::login(&login_name(user, name)));
        let secret = login.map(|login| login.secret_sha256.clone());
        let declared = DeclaredType {
            without_login: login.is_none(),
            secret_sha256: secret.filter(|_| with_secrets),
            allow_selectors: login.is_some_and(|login| login.allow_selectors),
            logins: further_logins(policy, machine_type, with_secrets),
            ..form::declared_type(name, &machine_type.spec)
        };
        types.entry(user).or_default().push(declared);
    }
    types
}

fn further_logins(policy: &Policy, of: &MachineType, with_secrets: bool) -> Vec<DeclaredLogin> {
    let start = Login::labelled(&of.user, &of.name);
    let logins = policy.starting_with(&start);
    let logins = logins.filter_map(|(_, record)| Login::of(record));
    let declared = logins.map(|login| DeclaredLogin {
        name: login.label.clone().unwrap_or_default(),
        secret_sha256: Some(login.secret_sha256.clone()).filter(|_| with_secrets),
        allow_selectors: login.allow_selectors,
        ..DeclaredLogin::default()
    });
    declared.collect()
}

fn upstream(upstream: &Upstream, with_secrets: bool) -> DeclaredUpstream {
    let account = upstream.account.as_ref();
    let proxy = upstream.proxy.as_ref();
    let client = upstream.client_certificate.as_ref();
    DeclaredUpstream {
        name: upstream.name.clone(),
        url: upstream.url.clone(),
        default: upstream.is_default,
        username: account.map(|it| it.username.clone()),
        password: account
            .map(|it| it.password.clone())
            .filter(|_| with_secrets),
        password_file: None,
        restricted: upstream.restricted,
        insecure: upstream.insecure,
        ca_pem: upstream.ca_pem.clone(),
        ca_file: None,
        blobs: upstream.blobs,
        hosts: upstream.hosts.clone(),
        http1: upstream.http1,
        fallback_urls: upstream.fallback_urls.clone(),
        proxy: proxy.map(|it| it.url.clone()),
        proxy_password: proxy
            .and_then(|it| it.password.clone())
            .filter(|_| with_secrets),
        proxy_password_file: None,
        repository_prefix: upstream.repository_prefix.clone(),
        token_hosts: upstream.token_hosts.clone(),
        client_cert_pem: client.map(|it| it.cert_pem.clone()),
        client_cert_file: None,
        client_key_pem: client.map(|it| it.key_pem.clone()).filter(|_| with_secrets),
        client_key_file: None,
    }
}
