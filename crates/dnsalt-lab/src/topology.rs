//! Networks that more than one experiment uses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Host, LabError, link};

/// A resolver behind a gateway, and two servers beyond it.
///
/// ```text
///   resolver eth0 ───── lan0 gateway wan0 ───── eth0 upstream
///   10.53.1.2      10.53.1.1      10.53.2.1     10.53.2.53, 10.53.2.54
///   fd53:1::2      fd53:1::1      fd53:2::1     fd53:2::53, fd53:2::54
/// ```
#[derive(Debug)]
pub struct Gateway {
    /// Whoever asks.
    pub resolver: Host,
    /// Where dnsalt runs: forwards both families, without any rules.
    pub gateway: Host,
    /// Has the addresses of the servers; nothing listens yet.
    pub upstream: Host,
    /// The servers' addresses.
    pub servers_v4: [IpAddr; 2],
    /// The same in IPv6.
    pub servers_v6: [IpAddr; 2],
}

impl Gateway {
    /// The addresses of the servers in both families, IPv4 first.
    pub fn servers(&self) -> [IpAddr; 4] {
        let ([a, b], [c, d]) = (self.servers_v4, self.servers_v6);
        [a, b, c, d]
    }
}

/// Builds [`Gateway`].
///
/// # Errors
/// When the system refuses; [`crate::require_root`] tells before.
pub fn gateway() -> Result<Gateway, LabError> {
    let resolver = Host::new("resolver")?;
    let gateway = Host::new("gateway")?;
    let upstream = Host::new("upstream")?;
    link((&resolver, "eth0"), (&gateway, "lan0"))?;
    link((&gateway, "wan0"), (&upstream, "eth0"))?;
    for (host, interface, addresses) in [
        (&resolver, "eth0", &["10.53.1.2/24", "fd53:1::2/64"][..]),
        (&gateway, "lan0", &["10.53.1.1/24", "fd53:1::1/64"]),
        (&gateway, "wan0", &["10.53.2.1/24", "fd53:2::1/64"]),
        (&upstream, "eth0", &["10.53.2.53/24", "10.53.2.54/24", "fd53:2::53/64", "fd53:2::54/64"]),
    ] {
        for address in addresses {
            host.address(interface, address)?;
        }
    }
    let v4 = |last| IpAddr::V4(Ipv4Addr::new(10, 53, 2, last));
    let v6 = |last| IpAddr::V6(Ipv6Addr::new(0xfd53, 2, 0, 0, 0, 0, 0, last));
    resolver.route("default", Ipv4Addr::new(10, 53, 1, 1).into())?;
    resolver.route("default", Ipv6Addr::new(0xfd53, 1, 0, 0, 0, 0, 0, 1).into())?;
    upstream.route("10.53.1.0/24", v4(1))?;
    upstream.route("fd53:1::/64", v6(1))?;
    gateway.enable_forwarding()?;
    Ok(Gateway {
        resolver,
        gateway,
        upstream,
        servers_v4: [v4(53), v4(54)],
        servers_v6: [v6(0x53), v6(0x54)],
    })
}
