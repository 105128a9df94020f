//! Free ports for programs that cannot be told to take any.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// An address on 127.0.0.1 where nobody listens at the moment.
pub fn free_addr() -> SocketAddr {
    free_addr_at(Ipv4Addr::LOCALHOST)
}

/// An address on `ip`, which is this machine's, where nobody listens.
pub fn free_addr_at(ip: Ipv4Addr) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).expect("this machine has a free port");
    listener.local_addr().expect("a bound port has an address")
}
