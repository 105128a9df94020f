//! The control plane's authority, as it is printed.

use serde::Serialize;

/// Whom callers and workers trust.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Authority {
    pub(crate) fingerprint: String,
    /// `None`: no other is trusted beside it.
    pub(crate) former_fingerprint: Option<String>,
    /// Workers that have a certificate of another one alone.
    pub(crate) behind: Vec<String>,
}

impl Authority {
    /// For people to read.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("fingerprint  {}\n", self.fingerprint);
        if let Some(former) = &self.former_fingerprint {
            text += &format!("former       {former}, trusted until it is retired\n");
            text += &match self.behind.len() {
                0 => "behind       no worker\n".to_owned(),
                count => format!("behind       {count}: {}\n", self.behind.join(" ")),
            };
        }
        text
    }
}
