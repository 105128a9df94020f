//! Clients that pull one [`HugeBlob`] and look at every byte of it.

use std::{net::SocketAddr, time::Instant};

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{admin::Login, blob_host::HugeBlob};

/// How much is read at a time, in bytes.
const PIECE: usize = 256 << 10;

/// What a client asks for, and of whom.
#[derive(Clone, Debug)]
pub struct BlobPull {
    /// The worker.
    pub worker: SocketAddr,
    /// As whom.
    pub login: Login,
    /// The repository, as the worker knows it.
    pub repository: String,
    /// The blob.
    pub blob: HugeBlob,
}

/// When a client got what it asked for.
#[derive(Clone, Copy, Debug)]
pub struct Pulled {
    /// When it asked.
    pub asked: Instant,
    /// When it had the first byte.
    pub first_byte: Instant,
}

impl BlobPull {
    /// Pulls and compares up to `end`, then breaks off, where that is not the
    /// end.
    ///
    /// # Errors
    ///
    /// Fails when the answer is not good, or at the first byte that is wrong.
    pub async fn up_to(&self, end: u64) -> anyhow::Result<Pulled> {
        let mut stream = TcpStream::connect(self.worker).await?;
        let asked = Instant::now();
        stream.write_all(self.request().as_bytes()).await?;
        let mut buffer = Vec::with_capacity(PIECE);
        let body = loop {
            let read = stream.read_buf(&mut buffer).await?;
            ensure!(read > 0, "the worker hung up");
            let end_of_head = buffer.windows(4).position(|it| it == b"\r\n\r\n");
            match end_of_head.map(|at| at + 4) {
                Some(at) if buffer.len() > at => break at,
                _ => {}
            }
        };
        let first_byte = Instant::now();
        ensure!(buffer.starts_with(b"HTTP/1.1 200 "), "it is not served");
        let mut position = self.check(0, &buffer[body..])?;
        while position < end {
            buffer.clear();
            let read = stream.read_buf(&mut buffer).await?;
            ensure!(read > 0, "it broke off at {position}");
            position = self.check(position, &buffer)?;
        }
        Ok(Pulled { asked, first_byte })
    }

    /// Compares `bytes` with those of the blob at `position`; says where they
    /// end.
    fn check(&self, mut position: u64, mut bytes: &[u8]) -> anyhow::Result<u64> {
        while !bytes.is_empty() {
            ensure!(position < self.blob.size, "it goes on after its end");
            let right = self.blob.at(position);
            let length = right.len().min(bytes.len());
            let (head, rest) = bytes.split_at(length);
            ensure!(*head == right[..length], "it is wrong after {position}");
            position += length as u64;
            bytes = rest;
        }
        Ok(position)
    }

    fn request(&self) -> String {
        let Self {
            login,
            repository,
            blob,
            worker,
        } = self;
        let basic = STANDARD.encode(format!("{}:{}", login.name, login.secret));
        let digest = &blob.digest;
        format!(
            "GET /v2/{repository}/blobs/{digest} HTTP/1.1\r\nHost: {worker}\r\n\
             Authorization: Basic {basic}\r\n\r\n"
        )
    }

    /// Pulls the blob as `clients` clients at once, each a task of its own.
    /// Every second one breaks off in the middle where `half_leave`. Says how
    /// the others fared.
    ///
    /// # Errors
    ///
    /// Fails when one of those that stayed fails.
    pub async fn by(&self, clients: usize, half_leave: bool) -> anyhow::Result<Vec<Pulled>> {
        let tasks: Vec<_> = (0..clients)
            .map(|n| {
                let pull = self.clone();
                let leaves = half_leave && n % 2 == 1;
                let end = if leaves {
                    self.blob.size / 2
                } else {
                    self.blob.size
                };
                tokio::spawn(async move { (leaves, pull.up_to(end).await) })
            })
            .collect();
        let mut stayed = Vec::new();
        for task in tasks {
            let (leaves, pulled) = task.await.context("a client does not panic")?;
            match pulled {
                Ok(pulled) if !leaves => stayed.push(pulled),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(stayed)
    }
}
