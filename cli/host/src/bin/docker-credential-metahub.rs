//! The credential helper: prints the host's login for engines and, under the
//! name `metahub-credential-provider`, for the kubelet. See
//! `metahub_host::helper`.

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
    // An engine shows a helper's stdout, the kubelet its stderr. A failed write
    // leaves the exit code as the only report.
    let is_kubelet = PathBuf::from(&program).ends_with(KUBELET_PROGRAM);
    let _ = match is_kubelet {
        true => writeln!(stderr(), "{text}"),
        false => writeln!(stdout(), "{text}"),
    };
    ExitCode::FAILURE
}
