//! HTTP/2 clients that take what they can.

use super::*;

/// A client that has room for so many bytes of an answer before it is read.
fn client(window: u32) -> reqwest::Client {
    let client = reqwest::Client::builder().http2_prior_knowledge();
    let client = client.http2_initial_stream_window_size(window);
    client.build().expect("a client")
}

fn url(server: &Server) -> String {
    format!("http://{}/", server.addr)
}

#[tokio::test]
async fn a_client_that_says_no_more_than_a_preface_is_sent_away() {
    let server = start(false).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

    // It ends in time.
    hear(say(server.addr, preface).await).await;
}

#[tokio::test]
async fn headers_that_are_too_long_for_http2_are_not_answered() {
    let server = start(false).await;
    let client = client(1 << 20);
    let url = format!("http://{}/", server.addr);

    let short = client.get(&url).header("x", "x".repeat(16 << 10)).send();
    let long = client.get(&url).header("x", "x".repeat(64 << 10)).send();

    assert_eq!(short.await.expect("an answer").status(), 200);
    let refused = timeout(PATIENCE, long).await.expect("it ends in time");
    assert!(refused.is_err() || refused.is_ok_and(|it| it.status() == 431));
}

#[tokio::test]
async fn an_answer_that_is_not_read_ends_its_http2_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let shutdown = CancellationToken::new();
    let _guard = shutdown.clone().drop_guard();
    let endless = |_| {
        let piece = || Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; 1 << 14])));
        let body = StreamBody::new(stream::repeat_with(piece));
        std::future::ready(Response::new(body))
    };
    tokio::spawn(serve(listener, LIMITS, endless, shutdown));
    let client = client(1 << 20);

    let answer = client.get(&url).send().await.expect("an answer");
    sleep(4 * LIMITS.stall_timeout).await;

    let read = timeout(PATIENCE, async {
        let mut answer = answer;
        while let Ok(Some(_)) = answer.chunk().await {}
    });
    assert!(read.await.is_ok(), "it was given more");
}

#[tokio::test]
async fn the_end_of_an_answer_is_not_kept_for_a_client_that_does_not_read_it() {
    let server = start(false).await;
    let client = client(1);

    let answer = client.get(url(&server)).send().await.expect("an answer");
    sleep(4 * LIMITS.stall_timeout).await;

    let read = timeout(PATIENCE, answer.bytes()).await;
    assert!(read.expect("it ends in time").is_err(), "it was kept");
}

#[tokio::test]
async fn connections_that_nobody_uses_leave_their_places_to_others() {
    let server = start(true).await;
    let mut idle = Vec::new();
    for _ in 0..LIMITS.connections {
        let client = client(1 << 20);
        server.answer.notify_one();
        let answer = client.get(url(&server)).send().await.expect("an answer");
        server.asked.notified().await;
        assert_eq!(answer.bytes().await.expect("a body"), "fine");
        idle.push(client);
    }

    // All places at a time: none of the idle clients has kept its own.
    let mut others = Vec::new();
    for _ in 0..LIMITS.connections {
        others.push(say(server.addr, REQUEST).await);
        let asked = timeout(PATIENCE, server.asked.notified());
        asked.await.expect("a place is free in time");
    }
    for other in others {
        server.answer.notify_one();
        let heard = hear(other).await;
        assert!(heard.ends_with("fine"), "{heard}");
    }

    // Who has been sent away comes back by a new connection.
    for client in idle {
        server.answer.notify_one();
        let answer = client.get(url(&server)).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
    }
}

#[tokio::test]
async fn a_large_answer_arrives_whole_whatever_the_client_has_room_for() {
    let body: Bytes = (0..1_000_000u32).flat_map(u32::to_be_bytes).collect();
    let server = start_with(Limits::for_tests(), false, body.clone()).await;

    for window in [1_000, 1 << 20, 1 << 24] {
        let answer = client(window).get(url(&server)).send().await;
        let answer = answer.expect("an answer");

        assert_eq!(answer.content_length(), Some(body.len() as u64));
        assert_eq!(answer.bytes().await.expect("a body"), body);
    }
}

#[tokio::test]
async fn an_http2_answer_that_takes_long_is_waited_for() {
    let server = start(true).await;
    let client = client(1 << 20);

    let answer = tokio::spawn(client.get(url(&server)).send());
    server.asked.notified().await;
    sleep(4 * LIMITS.stall_timeout).await;
    server.answer.notify_one();

    let answer = answer.await.expect("no panic").expect("an answer");
    assert_eq!(answer.text().await.expect("a body"), "fine");
}
