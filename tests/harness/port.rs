//! Free ports for programs that cannot be told to take any.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// An address on 127.0.0.1 where nobody listens at the moment.
pub fn free_addr() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound port has an address")
}
