//! Free ports for programs that cannot be told to take any.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process,
    sync::atomic::{AtomicU16, Ordering},
};

/// Ports below those that the kernel gives to outgoing connections.
const FIRST: u16 = 16_000;
const COUNT: u16 = 16_000;

/// An address on 127.0.0.1 whose port nobody uses.
pub fn free_addr() -> SocketAddr {
    free_addr_at(Ipv4Addr::LOCALHOST)
}

/// An address on `ip`, which is this machine's, whose port nobody uses on any
/// address, and that this process has not given out yet.
pub fn free_addr_at(ip: Ipv4Addr) -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = process::id().wrapping_mul(97);
    loop {
        let n = u32::from(NEXT.fetch_add(1, Ordering::Relaxed)).wrapping_add(start);
        let port = FIRST + u16::try_from(n % u32::from(COUNT)).expect("it is below COUNT");
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return SocketAddr::from((ip, port));
        }
    }
}
