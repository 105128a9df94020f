//! Blobs that are kept on disk.

mod possession;

use std::{fs, path::PathBuf};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderValue, Method, Response, header};
use http_body_util::BodyExt;
use tempfile::TempDir;

use super::{blobs::large, *};
use crate::upstream::{
    BlobBody, BlobDirectory, BlobRequest,
    blob::{Cause, Outcome},
    testing::{Answer, Ending},
};

/// A worker that keeps blobs, and its upstream.
struct Disk {
    bench: Bench,
    root: TempDir,
}

impl Disk {
    async fn new() -> Self {
        let root = TempDir::new().unwrap();
        let bench = Bench::with(settings(root.path().into()), None).await;
        Self { bench, root }
    }

    /// Another worker with the same directory.
    fn worker(&self) -> Puller {
        let settings = settings(self.root.path().into());
        Puller::with_clock(settings, self.bench.clock.clone()).unwrap()
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let (algorithm, hex) = digest.as_str().split_once(':').unwrap();
        self.root.path().join(algorithm).join(&hex[..2]).join(hex)
    }

    /// Waits until a blob is kept: that takes longer than its last byte.
    async fn kept(&self, digest: &Digest) {
        let path = self.path(digest);
        until("the blob is kept", || path.exists()).await;
    }

    /// Waits until `count` repositories are known to have sent a blob.
    async fn listed(&self, digest: &Digest, count: u64) {
        let list = self.path(digest).with_extension("origins");
        let listed = || fs::metadata(&list).map_or(0, |it| it.len() / 16);
        until("it is listed", || listed() == count).await;
    }

    /// Waits until a file is found not to be what its name says.
    async fn found_out(&self) {
        until("it is found out", || self.failures(Cause::Corrupt) == 1).await;
    }

    async fn removed(&self, digest: &Digest) {
        until("it is removed", || !self.path(digest).exists()).await;
    }

    /// Pulls `blob` once, so that it is kept.
    async fn with(&self, blob: impl Into<Bytes>) -> Digest {
        let digest = self.bench.registry.put_blob("app", blob);
        read(self.get(&digest).await.unwrap()).await.unwrap();
        self.kept(&digest).await;
        digest
    }

    async fn get(&self, digest: &Digest) -> Result<Response<BlobBody>, Error> {
        get(&self.bench.puller, &self.bench, digest, None).await
    }

    fn gets(&self) -> usize {
        self.bench.registry.count("GET ")
    }

    fn failures(&self, cause: Cause) -> u64 {
        self.bench.puller.metrics().blob_cache.causes(cause)
    }

    fn hits(&self) -> u64 {
        self.bench
            .puller
            .metrics()
            .blob_cache
            .outcomes(Outcome::Hit)
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waiting = tokio::time::timeout(Duration::from_secs(10), waiting);
    waiting.await.expect(what);
}

fn settings(path: PathBuf) -> Settings {
    Settings {
        patience: Duration::from_millis(200),
        blob_directory: Some(BlobDirectory {
            path,
            capacity: 64 << 20,
        }),
        ..Settings::default()
    }
}

async fn get(
    puller: &Puller,
    bench: &Bench,
    digest: &Digest,
    range: Option<&'static str>,
) -> Result<Response<BlobBody>, Error> {
    let range = range.map(HeaderValue::from_static);
    let repository = app();
    let request = BlobRequest {
        repository: &repository,
        digest,
        method: &Method::GET,
        range: range.as_ref(),
        if_range: None,
        host: None,
    };
    puller.blob(&bench.upstream, request).await
}

async fn read(response: Response<BlobBody>) -> Result<Bytes, Error> {
    let whole = response.into_body().collect().await;
    whole.map(|whole| whole.to_bytes()).map_err(|error| error.0)
}

async fn first_bytes(body: &mut BlobBody) -> Bytes {
    body.frame().await.unwrap().unwrap().into_data().unwrap()
}

#[tokio::test]
async fn a_blob_that_was_pulled_once_is_not_fetched_again_after_a_restart() {
    let mut disk = Disk::new().await;
    let digest = disk.with(large()).await;
    disk.bench.puller = disk.worker();

    let response = disk.get(&digest).await.unwrap();

    assert_eq!(response.headers()[header::CONTENT_LENGTH], "3000000");
    assert_eq!(response.headers()[header::ETAG], format!("\"{digest}\""));
    assert!(read(response).await.unwrap() == large());
    assert_eq!((disk.gets(), disk.hits()), (1, 1));
    // Whether the repository has it is for the upstream to say.
    assert_eq!(disk.bench.registry.count("HEAD "), 1);
    read(disk.get(&digest).await.unwrap()).await.unwrap();
    assert_eq!(disk.bench.registry.seen().len(), 2);
}

#[tokio::test]
async fn a_hundred_clients_read_the_file_that_one_reading_fills() {
    let disk = Disk::new().await;
    let digest = disk.bench.registry.put_blob("app", large());

    let bodies = join_all((0..100).map(|_| disk.get(&digest))).await;

    for pulled in join_all(bodies.into_iter().map(|it| read(it.unwrap()))).await {
        assert!(pulled.unwrap() == large());
    }
    assert_eq!(disk.bench.registry.seen().len(), 1);
    assert_eq!(disk.bench.puller.metrics().blob_joins.get(), 99);
}

#[tokio::test]
async fn two_workers_with_one_directory_fetch_a_blob_once() {
    let disk = Disk::new().await;
    let digest = disk.bench.registry.put_blob("app", large());
    let other = disk.worker();

    let mut here = disk.get(&digest).await.unwrap().into_body();
    let begin = first_bytes(&mut here).await;
    let there = get(&other, &disk.bench, &digest, None).await.unwrap();

    assert!(read(there).await.unwrap() == large());
    let rest = here.collect().await.unwrap().to_bytes();
    assert!([begin, rest].concat() == large());
    assert_eq!(disk.gets(), 1);
}

#[tokio::test]
async fn a_reader_goes_on_by_itself_when_the_worker_that_writes_dies() {
    let disk = Disk::new().await;
    let digest = disk.bench.registry.put_blob("app", large());
    let part = format!("{}.3000000.part", disk.bench.upstream.origin(&app()));
    let part = disk.path(&digest).with_extension(part);
    fs::create_dir_all(part.parent().unwrap()).unwrap();
    let file = fs::File::create(&part).unwrap();
    file.lock().unwrap();
    fs::write(&part, &large()[..1_000_000]).unwrap();

    let mut body = disk.get(&digest).await.unwrap().into_body();
    let mut read = first_bytes(&mut body).await.to_vec();
    drop(file);
    read.extend_from_slice(&body.collect().await.unwrap().to_bytes());

    assert!(read == large());
    let last = disk.bench.registry.seen().pop().unwrap();
    assert_eq!(last.header(header::RANGE), "bytes=1000000-2999999");
}

#[tokio::test]
async fn wrong_bytes_are_never_kept() {
    let disk = Disk::new().await;
    let digest = disk.bench.registry.put_blob("app", large());
    let mut wrong = large().to_vec();
    wrong[17] ^= 1;
    disk.bench
        .registry
        .intercept(move |_| Some(Answer::ok(wrong.clone())));

    let pulled = read(disk.get(&digest).await.unwrap()).await;

    assert!(matches!(pulled, Err(Error::DigestMismatch { .. })));
    let shelf = disk.path(&digest);
    let mut left = fs::read_dir(shelf.parent().unwrap()).unwrap();
    assert!(left.next().is_none());
    disk.bench.registry.intercept(|_| None);
    assert!(read(disk.get(&digest).await.unwrap()).await.unwrap() == large());
}

#[tokio::test]
async fn a_file_that_has_rotted_breaks_off_once_and_is_fetched_again() {
    let mut disk = Disk::new().await;
    let digest = disk.with(large()).await;
    disk.bench.puller = disk.worker();
    let mut rotten = large().to_vec();
    rotten[17] ^= 1;
    fs::write(disk.path(&digest), &rotten).unwrap();

    let mut body = disk.get(&digest).await.unwrap().into_body();
    let (mut length, mut failed) = (0, false);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => length += frame.into_data().unwrap().len(),
            Err(_) => failed = true,
        }
        if failed {
            break;
        }
    }

    assert!(failed && length < large().len());
    assert_eq!(disk.failures(Cause::Corrupt), 1);
    assert!(read(disk.get(&digest).await.unwrap()).await.unwrap() == large());
    assert_eq!(disk.gets(), 2);
}

#[tokio::test]
async fn a_file_that_has_rotted_is_found_out_by_those_who_read_parts_of_it() {
    let mut disk = Disk::new().await;
    let digest = disk.with(large()).await;
    disk.bench.puller = disk.worker();
    let mut rotten = large().to_vec();
    rotten[17] ^= 1;
    fs::write(disk.path(&digest), &rotten).unwrap();
    let part = async || {
        let part = get(
            &disk.bench.puller,
            &disk.bench,
            &digest,
            Some("bytes=10-19"),
        )
        .await;
        read(part.unwrap()).await.unwrap()
    };

    part().await;

    disk.found_out().await;
    disk.removed(&digest).await;
    assert_eq!(part().await, large().slice(10..20));
}

#[tokio::test]
async fn a_file_that_was_just_found_good_is_not_looked_through_for_a_part() {
    let mut disk = Disk::new().await;
    let digest = disk.with(large()).await;
    disk.bench.puller = disk.worker();
    let rot = |byte: u8| {
        let mut bytes = large().to_vec();
        bytes[17] ^= byte;
        fs::write(disk.path(&digest), &bytes).unwrap();
    };
    read(disk.get(&digest).await.unwrap()).await.unwrap();

    rot(1);
    let part = get(
        &disk.bench.puller,
        &disk.bench,
        &digest,
        Some("bytes=10-19"),
    )
    .await;
    read(part.unwrap()).await.unwrap();
    tokio::task::yield_now().await;
    rot(0);

    assert_eq!(disk.failures(Cause::Corrupt), 0);
    assert!(read(disk.get(&digest).await.unwrap()).await.unwrap() == large());
}

#[tokio::test]
async fn a_file_of_the_wrong_length_is_fetched_again() {
    let mut disk = Disk::new().await;
    let digest = disk.with(large()).await;
    disk.bench.puller = disk.worker();
    fs::write(disk.path(&digest), &large()[..1_000_000]).unwrap();

    assert!(read(disk.get(&digest).await.unwrap()).await.unwrap() == large());

    disk.found_out().await;
    assert_eq!(disk.gets(), 2);
}

#[tokio::test]
async fn an_upstream_that_lies_about_a_length_takes_nothing_away() {
    let mut disk = Disk::new().await;
    let digest = disk.with(large()).await;
    disk.bench.puller = disk.worker();
    disk.bench.registry.intercept(|seen| {
        let short = || Answer::ok(large().slice(..1_000_000));
        (seen.method == Method::HEAD).then(short)
    });
    assert!(read(disk.get(&digest).await.unwrap()).await.unwrap() == large());

    disk.bench.registry.behave();
    disk.bench.clock.advance(Duration::from_secs(3_600));

    assert!(read(disk.get(&digest).await.unwrap()).await.unwrap() == large());
    assert_eq!((disk.failures(Cause::Corrupt), disk.hits()), (0, 1));
}

#[tokio::test]
async fn parts_come_from_the_file() {
    let disk = Disk::new().await;
    let digest = disk.with("0123456789").await;

    for (range, status, content_range, bytes) in [
        ("bytes=2-5", 206, "bytes 2-5/10", "2345"),
        ("bytes=7-", 206, "bytes 7-9/10", "789"),
        ("bytes=-3", 206, "bytes 7-9/10", "789"),
        ("bytes=10-", 416, "bytes */10", ""),
    ] {
        let response = get(&disk.bench.puller, &disk.bench, &digest, Some(range)).await;
        let response = response.unwrap();

        assert_eq!(response.status(), status, "{range}");
        assert_eq!(response.headers()[header::CONTENT_RANGE], content_range);
        assert_eq!(read(response).await.unwrap(), bytes);
    }
    assert_eq!(disk.gets(), 1);
}

#[tokio::test]
async fn a_part_comes_from_the_file_that_is_being_written() {
    let disk = Disk::new().await;
    let digest = disk.bench.registry.put_blob("app", large());
    let whole = disk.get(&digest).await.unwrap();

    let range = Some("bytes=2000000-2000003");
    let part = get(&disk.bench.puller, &disk.bench, &digest, range).await;

    assert_eq!(
        read(part.unwrap()).await.unwrap(),
        large()[2_000_000..2_000_004]
    );
    read(whole).await.unwrap();
    assert_eq!(disk.gets(), 1);
}

#[tokio::test]
async fn a_repository_that_does_not_have_the_blob_gets_nothing_from_the_disk() {
    let disk = Disk::new().await;
    let digest = disk.with(large()).await;
    let other = Repository::parse("other").unwrap();
    for method in [Method::GET, Method::HEAD] {
        let request = BlobRequest {
            repository: &other,
            digest: &digest,
            method: &method,
            range: None,
            if_range: None,
            host: None,
        };

        let refused = disk.bench.puller.blob(&disk.bench.upstream, request).await;

        assert!(matches!(refused, Err(Error::NotFound { .. })), "{method}");
    }
}

#[tokio::test]
async fn another_credential_gets_nothing_before_the_upstream_has_agreed() {
    let disk = Disk::new().await;
    let digest = disk.with(large()).await;
    let other = upstream(&disk.bench.registry, Some("hunter2"));
    disk.bench.registry.intercept(|_| Some(Answer::status(404)));
    let repository = app();
    let request = BlobRequest {
        repository: &repository,
        digest: &digest,
        method: &Method::GET,
        range: None,
        if_range: None,
        host: None,
    };

    let refused = disk.bench.puller.blob(&other, request).await;

    assert!(matches!(refused, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn with_the_upstream_down_what_it_was_known_to_have_is_served() {
    let disk = Disk::new().await;
    let digest = disk.with(large()).await;
    disk.bench.clock.advance(Duration::from_secs(3600));
    disk.bench.registry.intercept(|_| Some(Answer::status(503)));

    assert!(read(disk.get(&digest).await.unwrap()).await.unwrap() == large());

    // It was asked, by HEAD and by GET, and is then left alone for a while.
    let asked = disk.bench.registry.seen().len();
    assert_eq!(asked, 3);
    read(disk.get(&digest).await.unwrap()).await.unwrap();
    assert_eq!(disk.bench.registry.seen().len(), asked);
}

#[tokio::test]
async fn what_the_upstream_no_longer_has_is_no_longer_served() {
    let disk = Disk::new().await;
    let digest = disk.with(large()).await;
    disk.bench.clock.advance(Duration::from_secs(3600));
    disk.bench.registry.intercept(|_| Some(Answer::status(404)));

    for _ in 0..2 {
        let refused = disk.get(&digest).await;

        assert!(matches!(refused, Err(Error::NotFound { .. })));
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_fails_no_pull() {
    let root = TempDir::new().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let bench = Bench::with(settings(file.join("beneath")), None).await;
    let digest = bench.registry.put_blob("app", large());

    for _ in 0..2 {
        let response = get(&bench.puller, &bench, &digest, None).await.unwrap();
        assert!(read(response).await.unwrap() == large());
    }

    let metrics = &bench.puller.metrics().blob_cache;
    assert!(metrics.causes(Cause::Write) + metrics.causes(Cause::Read) > 0);
}

#[tokio::test]
async fn a_blob_is_kept_also_when_its_client_leaves() {
    let disk = Disk::new().await;
    let digest = disk.bench.registry.put_blob("app", large());

    drop(disk.get(&digest).await.unwrap());

    disk.kept(&digest).await;
    assert!(read(disk.get(&digest).await.unwrap()).await.unwrap() == large());
    assert_eq!(disk.gets(), 1);
}

#[tokio::test]
async fn a_blob_that_breaks_off_at_the_upstream_is_kept_whole() {
    let disk = Disk::new().await;
    let digest = disk.bench.registry.put_blob("app", large());
    disk.bench.registry.intercept(|seen| {
        let is_first = seen.header(header::RANGE).is_empty();
        let broken = Answer::ok(large().slice(..1_000_000))
            .with("content-length", "3000000")
            .ending(Ending::Cut);
        is_first.then_some(broken)
    });

    assert!(read(disk.get(&digest).await.unwrap()).await.unwrap() == large());

    disk.kept(&digest).await;
    assert!(fs::read(disk.path(&digest)).unwrap() == large());
}
