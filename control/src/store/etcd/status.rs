//! Statuses: separate keys without a revision and without watchers.

use super::{
    Cluster,
    layout::{damaged, delete, one, put},
    pb::{KeyValue, TxnRequest},
};
use crate::store::StoreError;

impl Cluster {
    pub(super) async fn status(&self, key: &str) -> Result<Option<String>, StoreError> {
        let answer = self.client.range(one(self.layout.status(key))).await?;
        answer.kvs.first().map(value).transpose()
    }

    pub(super) async fn statuses(&self, start: &str) -> Result<Vec<(String, String)>, StoreError> {
        let found = self.pages(&self.layout.status(start), 0).await?;
        let all = self.layout.status("");
        let pairs = found.iter().map(|kv| {
            let key = String::from_utf8_lossy(&kv.key);
            let key = key.strip_prefix(&all).unwrap_or_default().to_owned();
            Ok((key, value(kv)?))
        });
        pairs.collect()
    }

    pub(super) async fn put_status(
        &self,
        key: &str,
        value: Option<String>,
    ) -> Result<(), StoreError> {
        let key = self.layout.status(key);
        let op = match value {
            Some(value) => put(key, value.into_bytes()),
            None => delete(key),
        };
        let always = TxnRequest {
            success: vec![op],
            ..TxnRequest::default()
        };
        self.client.txn(always).await?;
        Ok(())
    }
}

fn value(kv: &KeyValue) -> Result<String, StoreError> {
    let text = String::from_utf8(kv.value.to_vec());
    Ok(text.map_err(|_| damaged(&kv.key))?)
}
