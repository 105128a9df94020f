//! Frames of HTTP/2, one by one: what no library sends.

/// Kinds of frames (RFC 9113, 6).
pub const DATA: u8 = 0;
/// Starts a stream.
pub const HEADERS: u8 = 1;
/// Ends a stream.
pub const RESET: u8 = 3;
/// Starts a connection.
pub const SETTINGS: u8 = 4;
/// Asks whether anyone is there.
pub const PING: u8 = 6;
/// Goes on with headers.
pub const CONTINUATION: u8 = 9;
/// A flag: this was the last frame of the stream.
pub const END_STREAM: u8 = 1;
/// A flag: this was the last of the headers.
pub const END_HEADERS: u8 = 4;

/// A frame of a stream, or of the connection, which is stream 0 (RFC 9113, 4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it is small");
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}
