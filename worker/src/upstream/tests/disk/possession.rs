//! Whose a file of the blob cache is.

use super::*;

/// How long an upstream may be silent here.
const SILENCE: Duration = Duration::from_millis(300);

/// A worker on the directory of `disk` that is soon done with silent upstreams.
fn worker(disk: &Disk) -> Puller {
    let settings = Settings {
        stall_timeout: SILENCE,
        ..settings(disk.root.path().into())
    };
    Puller::with_clock(settings, disk.bench.clock.clone()).unwrap()
}

/// What `upstream` gives of a blob of `repository`.
async fn pull(
    puller: &Puller,
    (upstream, repository): (&Arc<Upstream>, &str),
    digest: &Digest,
    range: Option<&'static str>,
) -> Result<Bytes, Error> {
    let range = range.map(HeaderValue::from_static);
    let repository = Repository::parse(repository).unwrap();
    let request = BlobRequest {
        repository: &repository,
        digest,
        method: &Method::GET,
        range: range.as_ref(),
        if_range: None,
        host: None,
    };
    read(puller.blob(upstream, request).await?).await
}

#[tokio::test]
async fn an_upstream_that_only_says_to_have_a_blob_gets_no_byte_of_it() {
    let disk = Disk::new().await;
    let digest = disk.with(large()).await;
    let liar = Registry::start().await;
    liar.intercept(|seen| {
        let length = match seen.header(header::RANGE) {
            "" => "3000000",
            _ => "10",
        };
        let nothing = Answer::ok("").with("content-length", length);
        Some(match seen.header(header::RANGE) {
            "" => nothing.ending(Ending::Stall),
            _ => Answer {
                status: 206,
                ..nothing
                    .with("content-range", "bytes 10-19/3000000")
                    .ending(Ending::Stall)
            },
        })
    });
    let its = Upstream::new("liar", liar.url(), None, false);
    let (its, puller) = (Arc::new(its), worker(&disk));

    for range in [None, Some("bytes=10-19")] {
        let pulled = pull(&puller, (&its, "app"), &digest, range).await;

        assert!(pulled.is_err(), "{range:?}");
    }
    assert!(read(disk.get(&digest).await.unwrap()).await.unwrap() == large());
    assert_eq!(disk.gets(), 1);
}

#[tokio::test]
async fn a_repository_that_has_sent_a_blob_once_gets_it_from_the_file_of_another() {
    let disk = Disk::new().await;
    let digest = disk.with(large()).await;
    disk.bench.registry.put_blob("other", large());
    let other = (&disk.bench.upstream, "other");

    for _ in 0..2 {
        let pulled = pull(&disk.bench.puller, other, &digest, None).await;
        assert!(pulled.unwrap() == large());
        let at_once = || disk.bench.registry.count("GET /v2/other/");
        until("it is kept for the other, too", || at_once() == 1).await;
        disk.listed(&digest, 2).await;
    }
    let elsewhere = pull(&disk.worker(), other, &digest, None).await;

    assert!(elsewhere.unwrap() == large());
    assert_eq!(disk.bench.registry.count("GET /v2/other/"), 1);
    assert!(read(disk.get(&digest).await.unwrap()).await.unwrap() == large());
    assert_eq!(disk.bench.registry.count("GET /v2/app/"), 1);
}

#[tokio::test]
async fn wrong_bytes_prove_nothing() {
    let disk = Disk::new().await;
    let digest = disk.with(large()).await;
    let liar = Registry::start().await;
    let mut wrong = large().to_vec();
    wrong[17] ^= 1;
    liar.intercept(move |_| Some(Answer::ok(wrong.clone())));
    let its = Arc::new(Upstream::new("liar", liar.url(), None, false));

    for _ in 0..2 {
        let pulled = pull(&disk.bench.puller, (&its, "app"), &digest, None).await;

        assert!(matches!(pulled, Err(Error::DigestMismatch { .. })));
    }
    let part = pull(
        &disk.bench.puller,
        (&its, "app"),
        &digest,
        Some("bytes=5-9"),
    );
    assert!(part.await.is_err());
}
