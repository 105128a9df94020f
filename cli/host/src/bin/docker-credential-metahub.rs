//! Gives engines the host's login. Called `metahub-credential-provider`, it
//! gives it to the kubelet. See `metahub_host::helper`.

use std::{
    env,
    error::Error,
    ffi::OsString,
    io::{Write, stderr, stdin, stdout},
    path::PathBuf,
    process::ExitCode,
};

use metahub_host::{
    credential::DEFAULT_PATH,
    helper::{KUBELET_PROGRAM, answer},
};

fn main() -> ExitCode {
    let mut arguments = env::args_os();
    let program = arguments.next().unwrap_or_default();
    let action = arguments.next();
    let action = action.as_ref().and_then(|action| action.to_str());
    let named = env::var_os("METAHUB_HOST_CREDENTIAL").filter(|path| !path.is_empty());
    let path = PathBuf::from(named.unwrap_or_else(|| OsString::from(DEFAULT_PATH)));

    let answered = answer(&program, action, &path, &mut stdin(), &mut stdout());

    let Err(error) = answered else {
        return ExitCode::SUCCESS;
    };
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    // Engines show what a helper writes to stdout, the kubelet what it writes
    // to stderr. Where neither can be written, the exit code remains.
    let is_kubelet = PathBuf::from(&program).ends_with(KUBELET_PROGRAM);
    let _ = match is_kubelet {
        true => writeln!(stderr(), "{text}"),
        false => writeln!(stdout(), "{text}"),
    };
    ExitCode::FAILURE
}
