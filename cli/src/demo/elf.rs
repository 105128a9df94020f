//! A static program for x86-64 Linux that prints one message, byte by byte.
//!
//! The demo's images need something to run, and there is no compiler where the
//! demo runs. Layout: System V ABI, "ELF-64 Object File Format"; one segment
//! that holds the headers, the code and the message.

/// Where the segment is loaded.
const BASE: u64 = 0x40_0000;
const HEADER: u16 = 64;
const PROGRAM_HEADER: u16 = 56;
const CODE: u64 = HEADER as u64 + PROGRAM_HEADER as u64;
const CODE_SIZE: u64 = 31;

/// A program that prints `message` and exits with 0.
pub fn printing(message: &str) -> Vec<u8> {
    let size = CODE + CODE_SIZE + message.len() as u64;
    let mut program = header();
    program.extend(program_header(size));
    program.extend(code(message.len()));
    program.extend(message.as_bytes());
    program
}

fn header() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    bytes.extend(b"\x7fELF");
    bytes.extend([2, 1, 1, 0]); // 64 bits, little-endian, version 1, System V
    bytes.extend([0; 8]);
    bytes.extend(2_u16.to_le_bytes()); // an executable
    bytes.extend(62_u16.to_le_bytes()); // for x86-64
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend((BASE + CODE).to_le_bytes()); // where to start
    bytes.extend(u64::from(HEADER).to_le_bytes()); // where the program header is
    bytes.extend(0_u64.to_le_bytes()); // no sections
    bytes.extend(0_u32.to_le_bytes()); // no flags
    for field in [HEADER, PROGRAM_HEADER, 1, 0, 0, 0] {
        bytes.extend(field.to_le_bytes());
    }
    bytes
}

/// One segment: the whole file, to read and to execute.
fn program_header(size: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PROGRAM_HEADER.into());
    bytes.extend(1_u32.to_le_bytes()); // to be loaded
    bytes.extend(5_u32.to_le_bytes()); // read, execute
    for field in [0, BASE, BASE, size, size, 0x1000] {
        bytes.extend(field.to_le_bytes());
    }
    bytes
}

/// `write(1, message, length); exit(0)`.
fn code(length: usize) -> Vec<u8> {
    let message = BASE + CODE + CODE_SIZE;
    let mut bytes = Vec::with_capacity(CODE_SIZE as usize);
    bytes.extend([0xb8, 1, 0, 0, 0]); // mov eax, 1: write
    bytes.extend([0xbf, 1, 0, 0, 0]); // mov edi, 1: stdout
    bytes.push(0xbe); // mov esi, message
    bytes.extend((message as u32).to_le_bytes());
    bytes.push(0xba); // mov edx, length
    bytes.extend((length as u32).to_le_bytes());
    bytes.extend([0x0f, 0x05]); // syscall
    bytes.extend([0xb8, 60, 0, 0, 0]); // mov eax, 60: exit
    bytes.extend([0x31, 0xff]); // xor edi, edi
    bytes.extend([0x0f, 0x05]); // syscall
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_as_long_as_the_headers_say() {
        assert_eq!(header().len(), usize::from(HEADER));
        assert_eq!(program_header(0).len(), usize::from(PROGRAM_HEADER));
        assert_eq!(code(0).len() as u64, CODE_SIZE);
    }

    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    #[test]
    fn the_program_prints_its_message_and_exits_with_0() {
        use std::{fs, os::unix::fs::PermissionsExt, process::Command};

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        fs::write(&path, printing(">> hello\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();

        let output = Command::new(&path).output().unwrap();

        assert!(output.status.success(), "{:?}", output.status);
        assert_eq!(output.stdout, b">> hello\n");
    }
}
