//! Which networks an address belongs to, so that an upstream cannot send the
//! worker to places that the upstream itself is not at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How close to the worker an address is. What points from one address to
/// another may only point as close as it is itself, or farther.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Reach {
    /// Anywhere on the internet.
    Public,
    /// The site's own network (RFC 1918, RFC 6598, RFC 4193, and test nets).
    Private,
    /// This host.
    Loopback,
    /// This link, where clouds keep their metadata services, and all that is
    /// no host: unspecified, multicast, broadcast, reserved.
    Link,
}

impl Reach {
    /// All of them, from far to near.
    pub(crate) const ALL: [Self; 4] = [Self::Public, Self::Private, Self::Loopback, Self::Link];

    /// The reach of `address`. An IPv4 address within an IPv6 one counts as
    /// itself.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => embedded(v6).map_or_else(|| Self::of_v6(v6), Self::of_v4),
        }
    }

    fn of_v4(v4: Ipv4Addr) -> Self {
        let [a, b, c, _] = v4.octets();
        match (a, b, c) {
            (127, ..) => Self::Loopback,
            (0, ..) | (169, 254, _) | (224.., ..) => Self::Link,
            (10, ..)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (100, 64..=127, _)
            | (198, 18..=19, _)
            | (192, 0, 0) => Self::Private,
            _ => Self::Public,
        }
    }

    fn of_v6(v6: Ipv6Addr) -> Self {
        if v6.is_loopback() {
            Self::Loopback
        } else if v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local() {
            Self::Link
        } else if v6.is_unique_local() {
            Self::Private
        } else {
            Self::Public
        }
    }
}

/// The IPv4 address that a mapped, NAT64 or 6to4 address leads to.
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] => Some(v4(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_as_near_as_its_network() {
        for (address, reach) in [
            ("1.1.1.1", Reach::Public),
            ("172.32.0.1", Reach::Public),
            ("2606:4700::1", Reach::Public),
            ("10.1.2.3", Reach::Private),
            ("172.31.255.1", Reach::Private),
            ("192.168.0.1", Reach::Private),
            ("100.64.0.1", Reach::Private),
            ("fd00::1", Reach::Private),
            ("127.9.9.9", Reach::Loopback),
            ("::1", Reach::Loopback),
            ("::ffff:127.0.0.1", Reach::Loopback),
            ("64:ff9b::7f00:1", Reach::Loopback),
            ("2002:7f00:1::", Reach::Loopback),
            ("169.254.169.254", Reach::Link),
            ("0.0.0.0", Reach::Link),
            ("::", Reach::Link),
            ("fe80::1", Reach::Link),
            ("255.255.255.255", Reach::Link),
        ] {
            assert_eq!(Reach::of(address.parse().unwrap()), reach, "{address}");
        }
    }
}
