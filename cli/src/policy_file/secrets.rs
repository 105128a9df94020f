//! Reads what a policy file leaves to further files: secrets, passwords and
//! certificates.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use metahub_control::{Declaration, DeclaredUpstream, Secret};
use secrecy::ExposeSecret;

use crate::secret;

/// What could not be read.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) field: String,
    pub(super) reason: anyhow::Error,
}

/// Puts in place of each file what it holds. Returns whether there were any.
pub(super) fn read(declared: &mut Declaration, directory: &Path) -> Result<bool, Fault> {
    let mut found = false;
    for (i, user) in declared.users.iter_mut().enumerate() {
        let field = format!("users[{i}].password_file");
        let (file, secret) = (&mut user.password_file, &mut user.password);
        found |= take(file, secret, directory).map_err(fault(&field))?;
        for (j, machine_type) in user.types.iter_mut().enumerate() {
            let field = format!("users[{i}].types[{j}].secret_file");
            let (file, secret) = (&mut machine_type.secret_file, &mut machine_type.secret);
            found |= take(file, secret, directory).map_err(fault(&field))?;
            for (k, login) in machine_type.logins.iter_mut().enumerate() {
                let field = format!("users[{i}].types[{j}].logins[{k}].secret_file");
                let (file, secret) = (&mut login.secret_file, &mut login.secret);
                found |= take(file, secret, directory).map_err(fault(&field))?;
            }
        }
    }
    for (i, upstream) in declared.upstreams.iter_mut().flatten().enumerate() {
        found |= read_upstream(upstream, &format!("upstreams[{i}]"), directory)?;
    }
    Ok(found)
}

fn read_upstream(it: &mut DeclaredUpstream, at: &str, directory: &Path) -> Result<bool, Fault> {
    let mut found = false;
    for (field, file, secret) in [
        ("password_file", &mut it.password_file, &mut it.password),
        (
            "proxy_password_file",
            &mut it.proxy_password_file,
            &mut it.proxy_password,
        ),
        (
            "client_key_file",
            &mut it.client_key_file,
            &mut it.client_key_pem,
        ),
    ] {
        found |= take(file, secret, directory).map_err(fault(&format!("{at}.{field}")))?;
    }
    for (field, file, pem) in [
        ("ca_file", &mut it.ca_file, &mut it.ca_pem),
        (
            "client_cert_file",
            &mut it.client_cert_file,
            &mut it.client_cert_pem,
        ),
    ] {
        found |= take_text(file, pem, directory).map_err(fault(&format!("{at}.{field}")))?;
    }
    Ok(found)
}

fn fault(field: &str) -> impl FnOnce(anyhow::Error) -> Fault {
    let field = field.to_owned();
    |reason| Fault { field, reason }
}

fn take(
    file: &mut Option<PathBuf>,
    secret: &mut Option<Secret>,
    directory: &Path,
) -> anyhow::Result<bool> {
    let Some(path) = file.take() else {
        return Ok(false);
    };
    if secret.is_some() {
        bail!("is given, and so is the secret itself: leave one");
    }
    let read = secret::read(&directory.join(path))?;
    *secret = Some(Secret::from(read.expose_secret().to_owned()));
    Ok(true)
}

fn take_text(
    file: &mut Option<PathBuf>,
    text: &mut Option<String>,
    directory: &Path,
) -> anyhow::Result<bool> {
    let Some(path) = file.take() else {
        return Ok(false);
    };
    if text.is_some() {
        bail!("is given, and so is what it holds: leave one");
    }
    let path = directory.join(path);
    let read = fs::read_to_string(&path);
    *text = Some(read.with_context(|| format!("cannot read {}", path.display()))?);
    Ok(true)
}
