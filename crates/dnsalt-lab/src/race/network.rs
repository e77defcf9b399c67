//! The network of the race.

use std::net::{IpAddr, Ipv4Addr};

use crate::{Host, LabError, link};

/// The lab's own address space; the attacker sends to nothing else.
pub(super) const LAB: [u8; 2] = [10, 53];
/// Serves the root, and tells who serves the rest.
pub(super) const ROOT: Ipv4Addr = Ipv4Addr::new(10, 53, 3, 10);
/// The attacker: it has a name server of its own here.
pub(super) const ATTACKER: Ipv4Addr = Ipv4Addr::new(10, 53, 4, 66);
/// Addresses that the gateway may use besides its own: they are routed to it.
pub const ROUTED: &str = "10.53.5.0/28";
/// Where the resolver listens.
pub(super) const RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 53, 0, 1);
/// Name servers of the attacked zone that there can be.
pub(super) const MOST_SERVERS: u8 = 4;

/// Name servers of the attacked zone.
pub(super) fn servers(count: u8) -> impl Iterator<Item = Ipv4Addr> {
    (0..count.clamp(1, MOST_SERVERS)).map(|i| Ipv4Addr::new(10, 53, 3, 53 + i))
}

/// Five hosts.
///
/// ```text
///   client ─── resolver ─── gateway ─── internet ─┬─ authority   10.53.3.10 the root
///   10.53.0.2   .0.1 .1.2    .1.1 .2.1   .2.2     │              10.53.3.53 ... the attacked zone
///                            (dnsalt)             └─ attacker    10.53.4.66
/// ```
///
/// `internet` forwards whatever it is given: nobody out there checks source addresses.
#[derive(Debug)]
pub struct Network {
    /// Asks the resolver, also what the attacker wants it to ask.
    pub client: Host,
    /// The victim.
    pub resolver: Host,
    /// Where dnsalt runs.
    pub gateway: Host,
    pub(super) authority: Host,
    pub(super) attacker: Host,
    _internet: Host,
}

impl Network {
    /// Builds it.
    ///
    /// # Errors
    /// When the system refuses; [`crate::require_root`] tells before.
    pub(super) fn build() -> Result<Self, LabError> {
        let [client, resolver, gateway, internet, authority, attacker] =
            ["client", "resolver", "gateway", "internet", "authority", "attacker"].map(Host::new);
        let (client, resolver, gateway) = (client?, resolver?, gateway?);
        let (internet, authority, attacker) = (internet?, authority?, attacker?);
        link((&client, "eth0"), (&resolver, "eth1"))?;
        link((&resolver, "eth0"), (&gateway, "lan0"))?;
        link((&gateway, "wan0"), (&internet, "gw0"))?;
        link((&internet, "auth0"), (&authority, "eth0"))?;
        link((&internet, "att0"), (&attacker, "eth0"))?;
        for (host, interface, address) in [
            (&client, "eth0", "10.53.0.2/24"),
            (&resolver, "eth1", "10.53.0.1/24"),
            (&resolver, "eth0", "10.53.1.2/24"),
            (&gateway, "lan0", "10.53.1.1/24"),
            (&gateway, "wan0", "10.53.2.1/24"),
            (&internet, "gw0", "10.53.2.2/24"),
            (&internet, "auth0", "10.53.3.1/24"),
            (&internet, "att0", "10.53.4.1/24"),
            (&authority, "eth0", "10.53.3.10/24"),
            (&attacker, "eth0", "10.53.4.66/24"),
        ] {
            host.address(interface, address)?;
        }
        for server in servers(MOST_SERVERS) {
            authority.address("eth0", &format!("{server}/24"))?;
        }
        for host in [&resolver, &gateway, &internet] {
            // Whatever this machine has: an ISP that checks sources would spoil the attack.
            for which in ["all", "default"] {
                host.sysctl(&format!("net/ipv4/conf/{which}/rp_filter"), "0")?;
            }
        }
        for (host, interface) in [(&gateway, "wan0"), (&internet, "att0"), (&internet, "gw0")] {
            host.sysctl(&format!("net/ipv4/conf/{interface}/rp_filter"), "0")?;
        }
        let by = |third: u8, last: u8| IpAddr::V4(Ipv4Addr::new(10, 53, third, last));
        resolver.route("default", by(1, 1))?;
        gateway.route("default", by(2, 2))?;
        internet.route("10.53.1.0/24", by(2, 1))?;
        internet.route(ROUTED, by(2, 1))?;
        authority.route("default", by(3, 1))?;
        attacker.route("default", by(4, 1))?;
        gateway.enable_forwarding()?;
        internet.enable_forwarding()?;
        Ok(Network { client, resolver, gateway, authority, attacker, _internet: internet })
    }
}
