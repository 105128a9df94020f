//! Everything that a store holds, to be put into another.

use super::{
    Contents, Engine, EtcdAccess, OnEmpty, Store, StoreError, StoreLocation, etcd::Etcd,
    local::Local,
};
use crate::audit::AuditRecord;

/// Everything that a store holds.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) contents: Contents,
    pub(crate) audit: Vec<AuditRecord>,
    /// The observed statuses, by key.
    pub(crate) statuses: Vec<(String, String)>,
    /// The revision after which the audit is complete.
    pub(crate) audit_reach: u64,
}

impl Store {
    /// Reads everything that is at `location`.
    pub(crate) async fn read_whole(
        location: StoreLocation,
        access: &EtcdAccess,
    ) -> Result<Whole, StoreError> {
        let store = Self::open(location, access, OnEmpty::Refuse).await?;
        let audit_reach = store.audit_reach().await?;
        let audit = store.audit(0, usize::MAX).await?;
        let statuses = store.statuses("").await?;
        let contents = match &store.engine {
            Engine::Local(local) => local.load().await?,
            Engine::Etcd(etcd) => etcd.load().await?,
        };
        Ok(Whole {
            contents,
            audit,
            statuses,
            audit_reach,
        })
    }

    /// Puts everything to `location`, where nothing may be.
    pub(crate) async fn write_whole(
        location: StoreLocation,
        access: &EtcdAccess,
        whole: Whole,
    ) -> Result<(), StoreError> {
        match location {
            StoreLocation::Sqlite(path) => {
                Local::open(path, OnEmpty::Begin).await?.fill(whole).await
            }
            StoreLocation::Etcd(cluster) => Etcd::connect(&cluster, access)?.fill(whole).await,
            StoreLocation::Memory => Err(StoreError::Settings {
                reason: "memory keeps nothing: name a file or an etcd cluster",
            }),
        }
    }
}
