//! Whether a worker's memory stays within its setting while its caches are
//! turned over: one login asks for many distinct manifests.
//!
//! ```sh
//! cargo build --release --bins && cargo bench -p metahub-tests --bench turnover
//! ```
//!
//! Fails when an answer is not good, and when the worker takes more memory than
//! its cache may, plus 64 MiB.

use std::{
    convert::Infallible,
    fmt::Write as _,
    io::{self, Write as _},
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Instant,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use clap::Parser as _;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use metahub_tests::{
    admin::Login,
    control::ControlProcess,
    site::policy,
    worker::{Ports, WorkerProcess},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const CLIENTS: usize = 32;
/// What a worker takes besides its caches, in MiB.
const ALLOWANCE: u64 = 64;

/// Turns the caches of a worker over.
#[derive(Debug, clap::Parser)]
struct Config {
    /// How many distinct manifests are asked for.
    #[arg(long, default_value_t = 1_000_000)]
    manifests: usize,

    /// What the worker's caches may take, in MiB.
    #[arg(long, default_value_t = 64)]
    cache_mib: u64,

    /// What cargo says to each bench.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let config = Config::parse();
    let upstream = serve_upstream().await?;
    let control = ControlProcess::start().await;
    let mut admin = control.place().admin();
    let (login, _) = policy(&mut admin, &format!("http://{upstream}")).await;
    let flag = format!("--cache-size={}MiB", config.cache_mib);
    let worker = WorkerProcess::start_with(control.place(), Ports::free(), 0, &[&flag]).await;
    admin.all_current(1).await;

    let limit = config.cache_mib + ALLOWANCE;
    let (began, next) = (Instant::now(), &*Box::leak(Box::new(AtomicUsize::new(0))));
    let mut most = 0;
    let mut out = String::new();
    for part in 1..=10 {
        let mut clients = JoinSet::new();
        let end = config.manifests / 10 * part;
        for _ in 0..CLIENTS {
            clients.spawn(ask(worker.addr(), login.clone(), next, end));
        }
        clients.join_all().await;
        let rss = worker.rss_mib();
        most = most.max(rss);
        let seconds = began.elapsed().as_secs();
        let _ = writeln!(out, "{end} manifests, {seconds} s, {rss} MiB");
        io::stdout().write_all(out.as_bytes())?;
        out.clear();
    }
    assert!(most <= limit, "{most} MiB, which is more than {limit}");
    Ok(())
}

/// Asks for one tag after the other on one connection, until `end` is reached.
async fn ask(worker: SocketAddr, login: Login, next: &'static AtomicUsize, end: usize) {
    let stream = TcpStream::connect(worker).await.expect("a connection");
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.expect("a connection");
    tokio::spawn(connection);
    let credentials = STANDARD.encode(format!("{}:{}", login.name, login.secret));
    loop {
        let n = next.fetch_add(1, Relaxed);
        if n >= end {
            // For the next part.
            next.fetch_min(end, Relaxed);
            return;
        }
        let request = Request::get(format!("/v2/qnib/app/manifests/tag{n}"))
            .header(header::HOST, worker.to_string())
            .header(header::ACCEPT, IMAGE)
            .header(header::AUTHORIZATION, format!("Basic {credentials}"))
            .body(Empty::<Bytes>::new());
        let answer = sender.send_request(request.expect("a request")).await;
        let answer = answer.expect("an answer");
        let status = answer.status();
        let body = answer.into_body().collect().await.expect("a whole body");
        assert_eq!(status, 200, "{:?}", body.to_bytes());
    }
}

/// A registry that has a manifest of its own for each tag.
async fn serve_upstream() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answers = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(manifest));
            tokio::spawn(answers);
        }
    });
    Ok(address)
}

async fn manifest(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let layer = |n: usize| {
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:{n:064x}","size":{n}}}"#
        )
    };
    let layers: Vec<_> = (1..8).map(layer).collect();
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{IMAGE}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:{:064x}","size":2}},"layers":[{}],"annotations":{{"path":"{}"}}}}"#,
        0,
        layers.join(","),
        request.uri().path(),
    );
    let response = Response::builder().header(header::CONTENT_TYPE, IMAGE);
    Ok(response.body(Full::from(text)).expect("a response"))
}
