//! The smallest program for linux/amd64: prints a text and ends.

const HEADERS: u64 = 64 + 56;
const BASE: u64 = 0x40_0000;

/// A static executable that prints `text`.
pub fn prints(text: &str) -> Vec<u8> {
    let code = code(text);
    let size = HEADERS + code.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for half in [2u16, 62] {
        file.extend(half.to_le_bytes());
    }
    file.extend(1u32.to_le_bytes());
    for word in [BASE + HEADERS, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    for word in [1u32, 5] {
        file.extend(word.to_le_bytes());
    }
    for word in [0, BASE, BASE, size, size, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}

/// `write(1, text)`, then `exit(0)`; the text follows the code.
fn code(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("a line is short");
    let mut code = b"\xb8\x01\0\0\0\xbf\x01\0\0\0\x48\x8d\x35\x10\0\0\0\xba".to_vec();
    code.extend(length.to_le_bytes());
    code.extend(b"\x0f\x05\xb8\x3c\0\0\0\x31\xff\x0f\x05");
    code.extend(text.as_bytes());
    code
}
