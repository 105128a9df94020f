//! The authority: made at the first start, the same ever after, for every
//! control plane of the store.

use std::time::SystemTime;

use super::{Actor, Catalog};
use crate::{
    Error, Result,
    records::{self, Key},
    tls::Authority,
};

impl Catalog {
    /// The authority of this store, made if there is none.
    pub(crate) async fn authority(&self) -> Result<Authority> {
        let key = Key::authority();
        let unusable = |reason: String| Error::Blocked { reason };
        let new = Authority::make(SystemTime::now())
            .map_err(|error| unusable(format!("cannot make an authority: {error}")))?;
        let actor = Actor::on_its_own("first start with TLS");
        let record = self.edit(&actor, "authority.make", |edit| {
            // Another control plane may have been faster.
            if let Some(known) = edit.find::<records::Authority>(&key) {
                return Ok(known.clone());
            }
            edit.put(new.clone());
            Ok(new.clone())
        });
        Authority::of(&record.await?)
            .map_err(|error| unusable(format!("the stored authority is broken: {error:#}")))
    }
}
