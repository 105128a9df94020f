//! The header of the PROXY protocol: a proxy that forwards bytes sends the
//! client's address in it (HAProxy's `proxy-protocol.txt`, versions 1 and 2).
//!
//! The reader takes no byte after the header.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The first bytes of a version 2 header.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The first bytes of a version 1 header.
const WORD: &[u8] = b"PROXY ";
/// The maximum length of a version 1 header, in bytes.
const MAX_LINE: usize = 107;
/// The maximum length after the fixed part of a version 2 header, in bytes:
/// addresses and fields, such as the client's certificate.
const MAX_REST: usize = 16 << 10;
/// The address families over a stream.
const TCP_4: u8 = 0x11;
const TCP_6: u8 = 0x21;
/// The type of the field about the client's TLS.
const SSL: u8 = 0x20;
/// The bit of that field for "the client used TLS".
const CLIENT_SSL: u8 = 0x01;

/// The content of a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ProxyHeader {
    /// The client's address. `None`: the connection is the proxy's own, as in a
    /// health check, or the proxy does not know the address.
    pub(super) client: Option<IpAddr>,
    /// True if the client used TLS and the proxy terminated it.
    pub(super) is_secure: bool,
}

/// The reason that there is no header.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoHeader {
    /// The connection ended or failed.
    #[error("the connection ended")]
    Ended(#[source] io::Error),
    /// The connection begins with other bytes.
    #[error("it sends no header of the PROXY protocol")]
    Missing,
    /// The header does not follow the specification.
    #[error("its header of the PROXY protocol is malformed: {0}")]
    Malformed(&'static str),
}

/// Reads the header at the start of `stream`.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<ProxyHeader, NoHeader> {
    // The minimum length of a header.
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE {
        return version_2(stream).await;
    }
    match start.starts_with(WORD) {
        true => version_1(&start, stream).await,
        false => Err(NoHeader::Missing),
    }
}

async fn version_1(
    start: &[u8],
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<ProxyHeader, NoHeader> {
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == MAX_LINE {
            return Err(NoHeader::Malformed("its line is too long"));
        }
        line.push(stream.read_u8().await?);
    }
    let line = std::str::from_utf8(&line).ok();
    let line = line.ok_or(NoHeader::Malformed("its line is no text"))?;
    let mut words = line.trim_end().split(' ').skip(1);
    let (family, source) = (words.next(), words.next().unwrap_or_default());
    let client = match family {
        Some("TCP4") => source.parse::<Ipv4Addr>().map(IpAddr::from),
        Some("TCP6") => source.parse::<Ipv6Addr>().map(IpAddr::from),
        Some("UNKNOWN") => return Ok(ProxyHeader::default()),
        _ => return Err(NoHeader::Malformed("its protocol is unknown")),
    };
    let client = client.map_err(|_| NoHeader::Malformed("its address is none"))?;
    Ok(ProxyHeader {
        client: Some(client.to_canonical()),
        is_secure: false,
    })
}

async fn version_2(stream: &mut (impl AsyncRead + Unpin)) -> Result<ProxyHeader, NoHeader> {
    let command = stream.read_u8().await?;
    let family = stream.read_u8().await?;
    let length = usize::from(stream.read_u16().await?);
    if length > MAX_REST {
        return Err(NoHeader::Malformed("it is too long"));
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    match command {
        0x20 => Ok(ProxyHeader::default()),
        0x21 => proxied(family, &rest),
        _ => Err(NoHeader::Malformed("its version or command is unknown")),
    }
}

/// Parses the rest of a version 2 header with a client's address.
fn proxied(family: u8, rest: &[u8]) -> Result<ProxyHeader, NoHeader> {
    const SHORT: NoHeader = NoHeader::Malformed("its addresses are cut off");
    // The addresses of both ends, and their ports.
    let (client, fields) = match family {
        TCP_4 => {
            let (addresses, fields) = rest.split_first_chunk::<12>().ok_or(SHORT)?;
            let source = addresses.first_chunk::<4>().ok_or(SHORT)?;
            (IpAddr::from(*source), fields)
        }
        TCP_6 => {
            let (addresses, fields) = rest.split_first_chunk::<36>().ok_or(SHORT)?;
            let source = addresses.first_chunk::<16>().ok_or(SHORT)?;
            (IpAddr::from(*source), fields)
        }
        // Other families have no address of a TCP client.
        _ => return Ok(ProxyHeader::default()),
    };
    Ok(ProxyHeader {
        client: Some(client.to_canonical()),
        is_secure: is_secure(fields),
    })
}

/// True if a field after the addresses reports TLS at the client. Skips other
/// fields and truncated ones.
fn is_secure(mut fields: &[u8]) -> bool {
    while let Some((&[kind, high, low], rest)) = fields.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some((value, rest)) = rest.split_at_checked(length) else {
            return false;
        };
        if kind == SSL {
            return value.first().is_some_and(|client| client & CLIENT_SSL != 0);
        }
        fields = rest;
    }
    false
}

impl From<io::Error> for NoHeader {
    fn from(error: io::Error) -> Self {
        Self::Ended(error)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header of version 2.
    pub(in crate::server) fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    /// The addresses of a version 2 header for the client 192.0.2.7.
    pub(in crate::server) const CLIENT: &[u8] =
        &[192, 0, 2, 7, 192, 0, 2, 1, 0x12, 0x34, 0x01, 0xbb];

    /// The header in `bytes`, and the bytes after it.
    async fn read_all(bytes: &[u8]) -> (Result<ProxyHeader, String>, Vec<u8>) {
        let mut rest = bytes;
        let header = read(&mut rest).await;
        (header.map_err(|error| error.to_string()), rest.to_vec())
    }

    fn client(address: &str) -> ProxyHeader {
        ProxyHeader {
            client: Some(address.parse().unwrap()),
            is_secure: false,
        }
    }

    #[tokio::test]
    async fn a_header_of_either_version_names_the_client_and_nothing_after_it_is_read() {
        let ip6: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let ip6 = [&ip6.octets()[..], &[0; 20]].concat();
        let mapped = Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped();
        let mapped = [&mapped.octets()[..], &[0; 20]].concat();
        for (header, expected) in [
            (header(0x21, TCP_4, CLIENT), client("192.0.2.7")),
            (header(0x21, TCP_6, &ip6), client("2001:db8::7")),
            (header(0x21, TCP_6, &mapped), client("192.0.2.7")),
            (
                b"PROXY TCP4 192.0.2.7 192.0.2.1 4660 443\r\n".to_vec(),
                client("192.0.2.7"),
            ),
            (
                b"PROXY TCP6 2001:db8::7 ::1 4660 443\r\n".to_vec(),
                client("2001:db8::7"),
            ),
        ] {
            let (read, rest) = read_all(&[&header[..], b"GET / "].concat()).await;
            assert_eq!(read.unwrap(), expected, "{header:?}");
            assert_eq!(rest, b"GET / ");
        }
    }

    #[tokio::test]
    async fn a_proxy_that_speaks_for_itself_or_for_an_unknown_client_names_none() {
        for header in [
            header(0x20, 0, &[]),
            header(0x20, TCP_4, CLIENT),
            header(0x21, 0, &[1, 2, 3]),
            header(0x21, 0x31, &[0; 216]),
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY UNKNOWN ffff:: ffff:: 1 2\r\n".to_vec(),
        ] {
            let (read, rest) = read_all(&header).await;
            assert_eq!(read.unwrap(), ProxyHeader::default(), "{header:?}");
            assert!(rest.is_empty());
        }
    }

    #[tokio::test]
    async fn fields_say_whether_the_client_used_tls_and_others_are_skipped() {
        let aws = [0xea, 0, 3, 1, b'v', b'p'];
        for (client, is_secure) in [(0x01, true), (0x07, true), (0x06, false)] {
            let ssl = [SSL, 0, 5, client, 0, 0, 0, 0];
            let fields = [CLIENT, &aws, &ssl].concat();
            let (read, _) = read_all(&header(0x21, TCP_4, &fields)).await;
            assert_eq!(read.unwrap().is_secure, is_secure, "{client}");
        }
        let cut_off = [CLIENT, &[SSL, 0xff, 0xff, 1]].concat();
        let (read, _) = read_all(&header(0x21, TCP_4, &cut_off)).await;
        assert!(!read.unwrap().is_secure);
    }

    #[tokio::test]
    async fn what_is_no_header_is_told_from_one_that_is_malformed() {
        for (bytes, told) in [
            (&b"GET /v2/ HTTP/1.1\r\n"[..], "no header"),
            (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\0", "no header"),
            (b"", "ended"),
            (b"\r\n\r\n\0\r\nQUIT\n\x21", "ended"),
            (b"PROXY TCP4 192.0.2.7", "ended"),
            (&header(0x11, TCP_4, CLIENT), "version"),
            (&header(0x22, TCP_4, CLIENT), "version"),
            (&header(0x21, TCP_4, &CLIENT[..11]), "cut off"),
            (&header(0x21, TCP_6, CLIENT), "cut off"),
            (&header(0x21, TCP_4, &[0; MAX_REST + 1]), "too long"),
            (b"PROXY TCP4 localhost 192.0.2.1 1 2\r\n", "address"),
            (b"PROXY TCP4 ::1 ::1 1 2\r\n", "address"),
            (b"PROXY UDP4 192.0.2.7 192.0.2.1 1 2\r\n", "protocol"),
            (&[b"PROXY TCP4 ", &[b'1'; 200][..]].concat(), "too long"),
            (b"PROXY \xff\xff\xff\xff\xff\xff\r\n", "no text"),
        ] {
            let (read, _) = read_all(bytes).await;
            let said = read.unwrap_err();
            assert!(said.contains(told), "{said}: {bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_rest_of_a_header_is_read_without_harm(
            family in any::<u8>(),
            rest in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let _ = proxied(family, &rest);
        }
    }
}
