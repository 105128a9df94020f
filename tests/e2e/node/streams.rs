//! Transfers through the node proxy: ranges, slow clients, and shutdown.

use std::time::Duration;

use http::Method;
use metahub_cli::demo::image::{Content, Image, ImageSet};
use metahub_tests::{
    client::{header, sent},
    large::large,
    node::NodeProcess,
    site::Site,
    tap::Tap,
    valve::Valve,
    wait::eventually,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const BIG: &str = "qnib/big";
/// More than all buffers between a registry and a client that does not read.
const MEBIBYTES: usize = 48;

/// A site with an image of one big layer upstream.
async fn site() -> (Site, Content) {
    let site = Site::start(1).await;
    let image = large(MEBIBYTES);
    let layer = image.layer.clone();
    site.upstream.put_images(BIG, "latest", &set(image));
    (site, layer)
}

/// The image's manifest, in the place of an index.
fn set(image: Image) -> ImageSet {
    ImageSet {
        index: image.manifest.clone(),
        images: vec![image],
    }
}

fn path(layer: &Content) -> String {
    format!("/v2/{BIG}/blobs/{}", layer.digest)
}

#[tokio::test]
async fn a_part_of_a_blob_is_passed_on_as_a_part() {
    let (site, layer) = site().await;
    let registry = format!("http://{}", site.workers[0].addr());
    let node = NodeProcess::start(&registry, &site.type1).await;

    let request = node.client().request(Method::GET, &path(&layer));
    let part = sent(request.header("range", "bytes=1000-1999")).await;
    let head = sent(node.client().request(Method::HEAD, &path(&layer))).await;

    assert_eq!(part.status(), 206);
    let range = format!("bytes 1000-1999/{}", layer.bytes.len());
    assert_eq!(header(&part, "content-range"), range);
    assert_eq!(part.bytes().await.unwrap(), layer.bytes[1000..2000]);
    let length = header(&head, "content-length");
    assert_eq!(length, layer.bytes.len().to_string());
}

#[tokio::test]
async fn an_engine_that_reads_slowly_slows_the_workers_down() {
    let (site, layer) = site().await;
    let tap = Tap::before(site.workers[0].addr()).await;
    let registry = format!("http://{}", tap.addr());
    let node = NodeProcess::start(&registry, &site.type1).await;
    let mut engine = TcpStream::connect(node.addr()).await.unwrap();
    let path = path(&layer);
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    engine.write_all(request.as_bytes()).await.unwrap();

    // Reads succeed until all buffers are full.
    let mut passed = 0;
    eventually("no more passes", async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let before = std::mem::replace(&mut passed, tap.passed());
        before > 0 && before == passed
    })
    .await;
    // The kernel's own buffers hold up to 36 MiB (tcp_rmem and tcp_wmem).
    assert!(
        passed < layer.bytes.len() / 4 * 3,
        "{passed} bytes have passed"
    );
    assert!(node.rss_mib() < 20, "{} MiB", node.rss_mib());

    let mut answer = Vec::new();
    engine.read_to_end(&mut answer).await.unwrap();
    assert!(answer.ends_with(&layer.bytes));
}

#[tokio::test]
async fn a_transfer_that_is_under_way_at_the_end_of_the_proxy_is_finished() {
    let (site, layer) = site().await;
    let valve = Valve::before(site.workers[0].addr(), 1 << 20).await;
    let registry = format!("http://{}", valve.addr());
    let mut node = NodeProcess::start(&registry, &site.type1).await;
    let (client, path) = (node.client(), path(&layer));
    let pull = tokio::spawn(async move { client.get(&path).await.bytes().await });
    valve.stuck().await;

    node.terminate();
    eventually("it accepts no more", async || {
        TcpStream::connect(node.addr()).await.is_err()
    })
    .await;
    assert!(node.is_running());
    valve.open();

    assert_eq!(pull.await.unwrap().unwrap(), layer.bytes);
    eventually("the proxy ends", async || !node.is_running()).await;
}

#[tokio::test]
async fn a_transfer_that_breaks_off_is_not_taken_for_a_whole_one() {
    let (site, layer) = site().await;
    let valve = Valve::before(site.workers[0].addr(), 1 << 20).await;
    let registry = format!("http://{}", valve.addr());
    let node = NodeProcess::start(&registry, &site.type1).await;
    let (client, path) = (node.client(), path(&layer));
    let pull = tokio::spawn(async move { client.get(&path).await.bytes().await });
    valve.stuck().await;

    valve.cut();

    assert!(pull.await.unwrap().is_err());
}

#[tokio::test]
async fn a_balancer_that_falls_silent_within_an_answer_is_given_up() {
    let (site, layer) = site().await;
    let valve = Valve::before(site.workers[0].addr(), 1 << 20).await;
    let registry = format!("http://{}", valve.addr());
    let flags = ["--stall-timeout=1s"];
    let node = NodeProcess::start_with(&registry, &site.type1, &flags).await;

    let answer = node.client().get(&path(&layer)).await;

    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.is_err());
    assert!(node.log().contains("silent"), "{}", node.log());
}
