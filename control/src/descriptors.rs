//! The limit of open files, which bounds how many callers there may be.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Below this a fleet of some hundred workers does not fit.
const LOW: u64 = 1024;

/// Raises the limit as far as the system lets this process, and warns where that
/// is low.
pub(crate) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let raised = setrlimit(Resource::Nofile, raised).map(|()| limit.maximum);
    let allowed = raised.unwrap_or(limit.current);
    if let Some(allowed) = allowed.filter(|allowed| *allowed < LOW) {
        warn!(
            "only {allowed} files may be open, and each worker and admin that is connected takes one: raise the limit (LimitNOFILE, ulimit -Hn)"
        );
    }
}
