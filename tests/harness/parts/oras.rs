//! The client of the ORAS project, of its library for Python: a real client
//! that follows the links of lists and asks for tokens in its own way.

use std::net::SocketAddr;

use crate::{
    admin::Login,
    invocation::{Outcome, run_with_input},
    program,
};

/// Prints the tags of a repository, asked for one by one, page by page, and a
/// manifest. The secret comes by stdin.
const SCRIPT: &str = r#"
import json, sys
from oras.provider import Registry

backend, host, login, repository, tag = sys.argv[1:]
registry = Registry(hostname=host, insecure=True, auth_backend=backend)
registry.auth.set_basic_auth(login, sys.stdin.read())
container = registry.get_container(f"{host}/{repository}:{tag}")
pages = []
def page(answer):
    pages.append(answer.json()["tags"])
    return True
registry._do_paginated_request(f"http://{container.tags_url(N=1)}", callable=page)
manifest = registry.get_manifest(container, allowed_media_type=["*/*"])
print(json.dumps({"pages": pages, "manifest": manifest}))
"#;

/// How it says who it is.
#[derive(Clone, Copy, Debug)]
pub enum OrasLogin {
    /// By HTTP Basic.
    Basic,
    /// By a token.
    Token,
}

/// Asks the registry at `host` for the tags of an image's repository and for
/// the image's manifest.
pub async fn oras(host: SocketAddr, by: OrasLogin, login: &Login, image: (&str, &str)) -> Outcome {
    let backend = match by {
        OrasLogin::Basic => "basic",
        OrasLogin::Token => "token",
    };
    let host = host.to_string();
    let args = ["-c", SCRIPT, backend, &host, &login.name, image.0, image.1];
    run_with_input(&program::oras_python(), args, &login.secret).await
}
