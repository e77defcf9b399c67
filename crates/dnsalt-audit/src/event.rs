//! What an audit is told: one event for each packet that matters.

use std::net::{IpAddr, Ipv6Addr};

/// An address of either family in one number; IPv4 as IPv6 maps it (RFC 4291 section 2.5.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub u128);

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Address(u128::from(v4.to_ipv6_mapped())),
            IpAddr::V6(v6) => Address(u128::from(v6)),
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        Ipv6Addr::from(address.0).to_canonical()
    }
}

impl Address {
    /// A hash that spreads well over its lower bits.
    pub(crate) fn hash(self) -> u64 {
        let (high, low) = ((self.0 >> 64) as u64, (self.0 & u128::from(u64::MAX)) as u64);
        mix(high ^ low.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

/// The finaliser of `MurmurHash3`: every bit of the input moves every bit of the output.
pub(crate) fn mix(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ x >> 33
}

/// A packet between a client and a DNS server.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Who asks: the resolver or stub that is judged.
    pub client: Address,
    /// Who is asked.
    pub server: Address,
    /// The client's port.
    pub port: u16,
    /// The query ID.
    pub id: u16,
    /// A hash of the question: name in lower case, type and class.
    pub question: u32,
    /// What it is.
    pub kind: Kind,
}

/// What a packet is, with what only packets of the kind have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A query over UDP.
    Query(QueryTraits),
    /// A reply over UDP; whether it came in fragments.
    Reply(ReplyTraits, bool),
    /// The first packet of a TCP connection (SYN).
    TcpOpened,
    /// A query over TCP.
    TcpQuery,
}

/// What a query shows beside port and ID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryTraits {
    /// Letters in the name.
    pub letters: u8,
    /// Upper-case letters among them.
    pub upper: u8,
    /// The payload size that EDNS announces (RFC 6891); none without EDNS.
    pub edns: Option<u16>,
    /// Whether DNSSEC records are wanted (RFC 3225).
    pub dnssec_ok: bool,
    /// The client cookie (RFC 7873), if there is one.
    pub cookie: Option<[u8; 8]>,
}

/// What a reply shows beside port and ID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplyTraits {
    /// Whether it is truncated (TC=1), so that the client asks again over TCP.
    pub truncated: bool,
    /// Whether it has a question; some servers leave it out of errors.
    pub questionless: bool,
    /// The client cookie that came back, if a server cookie came with it.
    pub cookie: Option<[u8; 8]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_families_come_back() {
        for text in ["192.0.2.1", "2001:db8::1", "::", "255.255.255.255"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(IpAddr::from(Address::from(address)), address);
        }
    }
}
