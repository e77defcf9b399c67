//! What to salt: the one policy that every engine and every renderer takes.
//!
//! A policy is read in two steps, so that the cheap one needs no machine at all:
//!
//! ```text
//!   command line ──┐
//!                  ├─> Settings (each key given or not) ──resolve──> Policy (complete, consistent)
//!   dnsalt.toml ───┘
//! ```
//!
//! [`Settings`] has the same keys on the command line and in the file; [`Settings::or`] lays one
//! over the other. [`Policy`] is only ever made by [`Settings::resolve`], which finds what no
//! single key can show: a range of ports that the avoid list empties, a source address of a family
//! that the prefixes exclude.

mod error;
mod exempt;
mod ports;
mod prefix;
mod salt;
mod settings;
mod source;

pub use error::PolicyError;
pub use exempt::{CaseExempt, Domain};
pub use ports::{PortRange, PortSet};
pub use prefix::{InterfaceName, Prefix};
pub use salt::{Case, Conntrack, Cookies, Fragments, OnFull, OnNearMiss, SaltOptions};
pub use settings::{Defaults, SAMPLE, Settings};
pub use source::{Pool, Source};

use std::net::IpAddr;

/// UDP ports that tunnels and servers on the same machine are known to own, never used for queries.
///
/// 4789 VXLAN, 4791 `RoCEv2`, 8472 VXLAN as Linux and flannel have it, 11211 memcached. A query that
/// left from one of them would have its reply taken by the tunnel (cilium #45569, moby #51667).
pub const DEFAULT_AVOID: [u16; 4] = [4789, 4791, 8472, 11211];

/// An IP version; rules are written for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, IPv4 first.
    pub const BOTH: [Family; 2] = [Family::V4, Family::V6];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

/// A transport that DNS runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Where off-path poisoning happens.
    Udp,
    /// Salted too: a random port costs nothing and keeps the recipe of 2008 whole.
    Tcp,
}

impl Protocol {
    /// The keyword, the same in nft, iptables, pf and our own options.
    pub fn keyword(self) -> &'static str {
        match self {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
        }
    }
}

impl std::str::FromStr for Protocol {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "udp" => Ok(Protocol::Udp),
            "tcp" => Ok(Protocol::Tcp),
            _ => Err(PolicyError::Protocol(text.to_owned())),
        }
    }
}

/// What is salted and how: complete and consistent, made by [`Settings::resolve`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    from: Vec<Prefix>,
    to: Vec<Prefix>,
    interfaces: Vec<InterfaceName>,
    dns_ports: Vec<u16>,
    protocols: Vec<Protocol>,
    ports: PortSet,
    source: Source,
    per_query: bool,
    timeout: u8,
    salt: SaltOptions,
}

impl Policy {
    /// Source prefixes of one family; empty means any. See [`Policy::covers`].
    pub fn from(&self, family: Family) -> Vec<Prefix> {
        of_family(&self.from, family)
    }

    /// Server prefixes of one family; empty means any. See [`Policy::covers`].
    pub fn to(&self, family: Family) -> Vec<Prefix> {
        of_family(&self.to, family)
    }

    /// Whether the servers are named, so that other servers are left alone.
    pub fn names_servers(&self) -> bool {
        !self.to.is_empty()
    }

    /// Whether queries of this family are salted: a list of prefixes of the other family alone
    /// leaves this one out.
    pub fn covers(&self, family: Family) -> bool {
        let fits = |list: &[Prefix]| list.is_empty() || list.iter().any(|p| p.family() == family);
        fits(&self.from) && fits(&self.to)
    }

    /// The families that are salted.
    pub fn families(&self) -> Vec<Family> {
        Family::BOTH.into_iter().filter(|&family| self.covers(family)).collect()
    }

    /// Outgoing interfaces; empty means all but the loopback.
    pub fn interfaces(&self) -> &[InterfaceName] {
        &self.interfaces
    }

    /// Destination ports that make a packet DNS; never empty, ascending.
    pub fn dns_ports(&self) -> &[u16] {
        &self.dns_ports
    }

    /// Transports; never empty, UDP first.
    pub fn protocols(&self) -> &[Protocol] {
        &self.protocols
    }

    /// Ports that queries may leave from; never empty.
    pub fn ports(&self) -> &PortSet {
        &self.ports
    }

    /// The address that queries leave from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Whether every packet gets a port of its own, not every flow.
    pub fn per_query(&self) -> bool {
        self.per_query
    }

    /// Seconds that an unanswered UDP query keeps its port; none leaves it to conntrack.
    pub fn timeout(&self) -> Option<u8> {
        (self.timeout > 0).then_some(self.timeout)
    }

    /// The timeout where it has something to say: for UDP.
    pub fn udp_timeout(&self) -> Option<u8> {
        self.timeout().filter(|_| self.protocols.contains(&Protocol::Udp))
    }

    /// What the `salt` engine is told beyond that.
    pub fn salt(&self) -> &SaltOptions {
        &self.salt
    }

    /// What is salted, in words: `udp and tcp port 53, from 10.0.0.0/8, leaving eth0`.
    pub fn scope(&self) -> String {
        let words = |list: Vec<String>| list.join(", ");
        let protocols: Vec<_> = self.protocols.iter().map(|p| p.keyword()).collect();
        let mut scope = format!(
            "{} port {}",
            protocols.join(" and "),
            words(self.dns_ports.iter().map(ToString::to_string).collect())
        );
        for (word, list) in [("from", &self.from), ("to", &self.to)] {
            if !list.is_empty() {
                scope +=
                    &format!(" {word} {}", words(list.iter().map(ToString::to_string).collect()));
            }
        }
        if self.interfaces.is_empty() {
            scope += ", leaving any interface but lo";
        } else {
            let names = self.interfaces.iter().map(ToString::to_string).collect();
            scope += &format!(", leaving {}", words(names));
        }
        scope
    }

    /// A short name for exactly this policy, the same on every machine: 16 hexadecimal digits.
    ///
    /// It stands in the rules as a comment, so that what is in the kernel can be told from what
    /// was asked for. FNV-1a, 64 bits: it tells policies apart, it protects nothing.
    pub fn digest(&self) -> String {
        let text = format!("{self:?}");
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{hash:016x}")
    }
}

fn of_family(list: &[Prefix], family: Family) -> Vec<Prefix> {
    list.iter().copied().filter(|prefix| prefix.family() == family).collect()
}
