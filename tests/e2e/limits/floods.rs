//! Clients of HTTP/2 that send what costs them nothing and a server much.

use metahub_cli::demo::image::{Form, REPOSITORY};
use metahub_tests::{
    frames::{CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, RESET, SETTINGS, frame},
    raw::send,
    site::Site,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// More than anybody means.
const MANY: u32 = 20_000;

/// A header that is not to be remembered (RFC 7541, 6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| {
        let length = u8::try_from(text.len()).expect("it is short");
        assert!(length < 127);
        [&[length], text.as_bytes()].concat()
    };
    [vec![0], text(name), text(value)].concat()
}

fn head() -> Vec<u8> {
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "here"),
        (":path", "/v2/"),
    ];
    fields.map(|(name, value)| field(name, value)).concat()
}

/// The nth stream that a client opens, from 0.
fn stream(n: u32) -> u32 {
    2 * n + 1
}

fn request(stream: u32, flags: u8) -> Vec<u8> {
    frame(HEADERS, flags, stream, &head())
}

/// Fails unless the worker closes a connection with these frames, and serves
/// others.
async fn is_cut_off(frames: impl IntoIterator<Item = Vec<u8>>) {
    let site = Site::start_with(1, Form::Docker, &[]).await;
    let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    frames.into_iter().for_each(|frame| bytes.extend(frame));

    send(site.workers[0].addr(), &bytes).await;

    site.host().digest(REPOSITORY, "latest").await;
}

#[tokio::test]
async fn requests_that_are_taken_back_at_once_are_not_taken_for_ever() {
    let cancel = 8_u32.to_be_bytes();
    is_cut_off((0..MANY).flat_map(|n| {
        let stream = stream(n);
        let open = request(stream, END_HEADERS | END_STREAM);
        [open, frame(RESET, 0, stream, &cancel)]
    }))
    .await;
}

#[tokio::test]
async fn requests_beyond_what_a_connection_may_have_open_are_not_refused_for_ever() {
    let no_window = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let requests = (0..MANY).map(|n| request(stream(n), END_HEADERS | END_STREAM));
    is_cut_off([no_window].into_iter().chain(requests)).await;
}

#[tokio::test]
async fn a_head_in_pieces_without_end_is_not_read_to_its_end() {
    for piece in [Vec::new(), field("x", "y")] {
        let pieces = (0..MANY).map(|_| frame(CONTINUATION, 0, 1, &piece));
        is_cut_off([request(1, END_STREAM)].into_iter().chain(pieces)).await;
    }
}

#[tokio::test]
async fn a_head_that_unfolds_to_megabytes_is_not_unfolded() {
    // Remembered, and then said again by one byte each.
    let mut bomb = field("x", &"y".repeat(100));
    bomb[0] = 0x40;
    let again = vec![0x80 | 62; 16_000];
    let head = frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &[head(), bomb, again].concat(),
    );
    is_cut_off([head]).await;
}

#[tokio::test]
async fn a_body_of_empty_pieces_without_end_is_not_read_to_its_end() {
    let pieces = (0..MANY).map(|_| frame(DATA, 0, 1, &[]));
    is_cut_off([request(1, END_HEADERS)].into_iter().chain(pieces)).await;
}
