//! Answers that are cut off, over HTTP/1.0, where no length tells.

use std::io::{Error, ErrorKind};

use futures_util::{Stream, StreamExt as _};

use super::*;

const OLD: &[u8] = b"GET / HTTP/1.0\r\nhost: here\r\n\r\n";

/// Starts a server whose answers are `part` and then what `more` says.
async fn start<M>(more: impl Fn() -> M + Clone + Send + Sync + 'static) -> Server
where
    M: Stream<Item = Result<Frame<Bytes>, Error>> + Send + Unpin + 'static,
{
    let limits = Limits {
        drain_timeout: Duration::ZERO,
        ..LIMITS
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let shutdown = CancellationToken::new();
    let service = move |_| {
        let part = stream::iter([Ok(Frame::data(Bytes::from_static(b"part")))]);
        std::future::ready(Response::new(StreamBody::new(part.chain(more()))))
    };
    Server {
        addr,
        shutdown: shutdown.clone(),
        task: tokio::spawn(serve(listener, limits, service, shutdown)),
        asked: Arc::default(),
        answer: Arc::default(),
    }
}

/// Reads until the connection ends; says how.
async fn ending(mut stream: TcpStream) -> Result<String, ErrorKind> {
    let mut heard = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut heard)).await;
    let read = read.expect("it ends in time");
    let whole = String::from_utf8_lossy(&heard).into_owned();
    read.map(|_| whole).map_err(|error| error.kind())
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_whole_one_to_an_old_client() {
    // Not at once: the part before is to be written.
    let broken = || {
        stream::once(Box::pin(async {
            tokio::task::yield_now().await;
            Err(Error::other("as the test wants"))
        }))
    };
    let server = start(broken).await;

    for _ in 0..10 {
        let heard = ending(say(server.addr, OLD).await).await;

        assert_eq!(heard, Err(ErrorKind::ConnectionReset));
    }
}

#[tokio::test]
async fn an_answer_that_a_shutdown_cuts_off_is_no_whole_one_to_an_old_client() {
    let server = start(stream::pending).await;
    let mut client = say(server.addr, OLD).await;
    let mut head = [0; 12];
    client.read_exact(&mut head).await.expect("it answers");
    assert_eq!(&head, b"HTTP/1.0 200");

    server.shutdown.cancel();

    assert_eq!(ending(client).await, Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_whole_answer_ends_well_for_an_old_client() {
    let server = start(stream::empty).await;

    let heard = ending(say(server.addr, OLD).await).await;

    assert!(heard.is_ok_and(|it| it.ends_with("\r\n\r\npart")));
}
