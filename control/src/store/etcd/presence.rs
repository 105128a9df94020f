//! What replicas tell each other while they are there: under a lease each, so
//! that the words of one that is gone go with it.

use std::{
    mem,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    Cluster, EtcdError,
    layout::{all_of, delete_range, end_of, put_leased},
    pb::TxnRequest,
};
use crate::secrets;

/// How long the words of one that is gone stay.
const TTL: Duration = Duration::from_secs(15);
/// How often the lease is kept alive.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// What this replica has told.
#[derive(Debug)]
pub(super) struct Presence {
    own: String,
    told: Mutex<Option<Told>>,
}

#[derive(Debug)]
struct Told {
    lease: i64,
    kept: Instant,
    pieces: Vec<Vec<u8>>,
}

impl Presence {
    /// One under a name of its own.
    pub(super) fn new() -> Self {
        Self {
            own: format!("{:016x}", secrets::random_u64()),
            told: Mutex::default(),
        }
    }

    /// Tells the others `pieces`, in place of what was told before.
    pub(super) async fn announce(
        &self,
        cluster: &Cluster,
        pieces: Vec<Vec<u8>>,
    ) -> Result<(), EtcdError> {
        // What fails on the way is told anew, under a new lease.
        let told = mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner));
        let mut told = kept_alive(cluster, told).await?;
        if told.pieces != pieces {
            self.tell(cluster, told.lease, &pieces).await?;
            told.pieces = pieces;
        }
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        Ok(())
    }

    async fn tell(
        &self,
        cluster: &Cluster,
        lease: i64,
        pieces: &[Vec<u8>],
    ) -> Result<(), EtcdError> {
        let layout = &cluster.layout;
        let key = |piece| layout.presence_piece(&self.own, piece);
        for (piece, words) in pieces.iter().enumerate() {
            let op = put_leased(key(piece), words.clone(), lease);
            cluster.client.txn(always(op)).await?;
        }
        let end = end_of(&layout.presence(&self.own));
        let rest = delete_range(key(pieces.len()), end);
        cluster.client.txn(always(rest)).await?;
        Ok(())
    }

    /// What the others tell.
    pub(super) async fn announced(&self, cluster: &Cluster) -> Result<Vec<Vec<u8>>, EtcdError> {
        let own = cluster.layout.presence(&self.own);
        let answer = cluster.client.range(all_of(&cluster.layout.all_presence()));
        let all = answer.await?.kvs.into_iter();
        let others = all.filter(|kv| !kv.key.starts_with(own.as_bytes()));
        Ok(others.map(|kv| kv.value.to_vec()).collect())
    }
}

async fn kept_alive(cluster: &Cluster, told: Option<Told>) -> Result<Told, EtcdError> {
    if let Some(mut told) = told {
        if told.kept.elapsed() < KEEP_ALIVE_INTERVAL {
            return Ok(told);
        }
        if cluster.client.keep_alive(told.lease).await? {
            told.kept = Instant::now();
            return Ok(told);
        }
    }
    Ok(Told {
        lease: cluster.client.grant_lease(TTL).await?,
        kept: Instant::now(),
        pieces: Vec::new(),
    })
}

fn always(op: super::pb::RequestOp) -> TxnRequest {
    TxnRequest {
        success: vec![op],
        ..TxnRequest::default()
    }
}
