//! Where a request may go: to the one configured host, at an address of a kind that was allowed for it.
//!
//! A name is looked up for every new connection, and what it resolves to is looked at then, not before: an answer that
//! changes in between reaches nothing. A host that is an address is looked at when the client is made.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use futures::future::BoxFuture;
use ipnet::{Ipv4Net, Ipv6Net};
use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};

use crate::Address;

/// How many addresses of a host are told.
const ADDRESSES_MAX: usize = 16;

/// What an address is to whoever calls out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Anybody's, on the internet.
    Public,
    /// Of a network of one's own.
    Private,
    /// This machine.
    Loopback,
    /// Nobody's whom an action could be for: link-local (the clouds' metadata services among them), multicast,
    /// documentation, reserved.
    Never,
}

/// Addresses at which clouds answer questions about the machine, beside the link-local one.
const METADATA: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

const fn v4(a: u8, b: u8, c: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), prefix)
}

const fn v6(first: u16, second: u16, third: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(first, second, third, 0, 0, 0, 0, 0), prefix)
}

/// RFC 1918, shared address space of providers (RFC 6598), benchmarks (RFC 2544).
const PRIVATE_V4: [Ipv4Net; 5] =
    [v4(10, 0, 0, 8), v4(172, 16, 0, 12), v4(192, 168, 0, 16), v4(100, 64, 0, 10), v4(198, 18, 0, 15)];

/// What the registry of special addresses (RFC 6890) has besides.
const NEVER_V4: [Ipv4Net; 9] = [
    v4(0, 0, 0, 8),
    v4(169, 254, 0, 16),
    v4(192, 0, 0, 24),
    v4(192, 0, 2, 24),
    v4(192, 88, 99, 24),
    v4(198, 51, 100, 24),
    v4(203, 0, 113, 24),
    v4(224, 0, 0, 4),
    v4(240, 0, 0, 4),
];

const PRIVATE_V6: Ipv6Net = v6(0xfc00, 0, 0, 7);
/// The only unicast space that is handed out.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);
/// Of it: protocol assignments with Teredo, documentation (twice), 6to4.
const NEVER_V6: [Ipv6Net; 4] =
    [v6(0x2001, 0, 0, 23), v6(0x2001, 0xdb8, 0, 32), v6(0x3fff, 0, 0, 20), v6(0x2002, 0, 0, 16)];
/// Translated to IPv4 by the network (RFC 6052).
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);

pub(super) fn reach(address: IpAddr) -> Reach {
    if METADATA.contains(&address) {
        return Reach::Never;
    }
    match address {
        IpAddr::V4(address) if address.is_loopback() => Reach::Loopback,
        IpAddr::V4(address) if NEVER_V4.iter().any(|net| net.contains(&address)) => Reach::Never,
        IpAddr::V4(address) if PRIVATE_V4.iter().any(|net| net.contains(&address)) => Reach::Private,
        IpAddr::V4(_) => Reach::Public,
        IpAddr::V6(address) => {
            // An IPv4 address in another coat is what it is.
            if let Some(inner) = address.to_ipv4_mapped() {
                return reach(inner.into());
            }
            if NAT64.contains(&address) {
                let [.., a, b, c, d] = address.octets();
                return reach(Ipv4Addr::new(a, b, c, d).into());
            }
            match () {
                () if address.is_loopback() => Reach::Loopback,
                () if PRIVATE_V6.contains(&address) => Reach::Private,
                () if NEVER_V6.iter().any(|net| net.contains(&address)) => Reach::Never,
                () if GLOBAL_V6.contains(&address) => Reach::Public,
                () => Reach::Never,
            }
        }
    }
}

/// The kinds of address that are allowed for a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowed {
    pub(super) public: bool,
    pub(super) private: bool,
    pub(super) loopback: bool,
}

impl Allowed {
    pub(super) fn has(self, address: IpAddr) -> bool {
        match reach(address) {
            Reach::Public => self.public,
            Reach::Private => self.private,
            Reach::Loopback => self.loopback,
            Reach::Never => false,
        }
    }
}

/// The address that a url's host is, where it is one.
pub(super) fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether a url's host is this machine by its own words.
pub(super) fn is_loopback(url: &Url) -> bool {
    literal(url).map_or(url.host_str() == Some("localhost"), |address| reach(address) == Reach::Loopback)
}

/// Why a connection was not even tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Barred {
    #[error("the host is not a configured one")]
    Host,
    #[error("the host resolves to private, link-local or reserved addresses only")]
    Address,
}

/// Looks a name up: its addresses, with port 0.
pub(super) type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// The system's resolver.
pub(super) fn system() -> Lookup {
    Arc::new(|host| Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.collect()) }))
}

/// A resolver that knows the configured hosts only, and of their addresses those that are allowed.
pub(super) struct Guard {
    hosts: Vec<(String, Allowed)>,
    lookup: Lookup,
}

impl Guard {
    pub(super) fn new(hosts: Vec<(String, Allowed)>, lookup: Lookup) -> Self {
        Self { hosts, lookup }
    }

    /// The addresses of a configured host, and which of them are refused. A host that is an address is its own.
    pub(super) async fn look(&self, url: &Url) -> io::Result<Vec<Address>> {
        let name = url.host_str().unwrap_or_default();
        let known = self.hosts.iter().find(|(host, _)| host.eq_ignore_ascii_case(name));
        let Some((host, allowed)) = known.cloned() else { return Ok(Vec::new()) };
        let found = match literal(url) {
            Some(address) => vec![address],
            None => (self.lookup)(host).await?.iter().map(SocketAddr::ip).collect(),
        };
        let mut addresses: Vec<Address> = Vec::new();
        for address in found.into_iter().take(ADDRESSES_MAX) {
            if !addresses.iter().any(|known| known.address == address) {
                addresses.push(Address { address, refused: !allowed.has(address) });
            }
        }
        Ok(addresses)
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let known = self.hosts.iter().find(|(host, _)| host.eq_ignore_ascii_case(name.as_str()));
        let Some((host, allowed)) = known.cloned() else {
            return Box::pin(async { Err(Barred::Host.into()) });
        };
        let found = (self.lookup)(host);
        Box::pin(async move {
            let mut addresses = found.await?;
            addresses.retain(|address| allowed.has(address.ip()));
            if addresses.is_empty() {
                return Err(Barred::Address.into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_one_of_four() {
        use Reach::{Loopback, Never, Private, Public};
        for (address, expected) in [
            ("140.82.112.5", Public),
            ("9.255.255.255", Public),
            ("172.15.255.255", Public),
            ("172.32.0.0", Public),
            ("100.63.255.255", Public),
            ("100.128.0.0", Public),
            ("2606:4700::6810:84e5", Public),
            ("64:ff9b::8c52:7005", Public),
            ("::ffff:140.82.112.5", Public),
            ("10.0.0.1", Private),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("192.168.1.1", Private),
            ("100.64.0.1", Private),
            ("198.19.255.255", Private),
            ("fd12::1", Private),
            ("fc00::1", Private),
            ("::ffff:10.0.0.1", Private),
            ("64:ff9b::a00:1", Private),
            ("127.0.0.1", Loopback),
            ("127.255.255.254", Loopback),
            ("::1", Loopback),
            ("::ffff:127.0.0.1", Loopback),
            ("0.0.0.0", Never),
            ("0.1.2.3", Never),
            ("169.254.169.254", Never),
            ("168.63.129.16", Never),
            ("100.100.100.200", Never),
            ("192.0.0.192", Never),
            ("192.0.2.1", Never),
            ("203.0.113.9", Never),
            ("224.0.0.1", Never),
            ("255.255.255.255", Never),
            ("::", Never),
            ("::a00:1", Never),
            ("::ffff:169.254.169.254", Never),
            ("64:ff9b::a9fe:a9fe", Never),
            ("64:ff9b:1::1", Never),
            ("fd00:ec2::254", Never),
            ("fe80::1", Never),
            ("fec0::1", Never),
            ("ff02::1", Never),
            ("100::1", Never),
            ("2001:db8::1", Never),
            ("2001:0:a00:1::", Never),
            ("2002:a00:1::", Never),
            ("4000::1", Never),
        ] {
            assert_eq!(reach(address.parse().expect("an address")), expected, "{address}");
        }
    }
}
