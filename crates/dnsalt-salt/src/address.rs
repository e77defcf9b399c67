//! Addresses as two words, so that they are compared and hashed in two steps.

use core::net::IpAddr;

use crate::case::sum_of;
use crate::word::Word64;

/// An address of either family; IPv4 as IPv6 maps it (RFC 4291 section 2.5.5.2). The words hold the 16
/// bytes in the order of the wire, the first byte lowest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Address {
    /// Bytes 0 to 7.
    pub high: u64,
    /// Bytes 8 to 15.
    pub low: u64,
}

impl Address {
    /// An IPv4 address from its four bytes in the order of the wire, the first one lowest.
    #[inline(always)]
    pub fn v4(bytes: u32) -> Self {
        Address { high: 0, low: u64::from(bytes) << 32 | 0xffff_0000 }
    }

    /// From its 16 bytes in the order of the wire.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let word =
            |at: usize| bytes[at..at + 8].iter().rev().fold(0, |w, b| w << 8 | u64::from(*b));
        Address { high: word(0), low: word(8) }
    }

    /// What stands at this place.
    #[inline(always)]
    pub(crate) fn of(words: &[Word64; 2]) -> Self {
        Address { high: words[0].load(), low: words[1].load() }
    }

    /// Whether it is one of IPv6.
    #[inline(always)]
    pub fn is_v6(self) -> bool {
        self.high != 0 || self.low as u32 != 0xffff_0000
    }

    /// Whether it is one of a link alone: `fe80::/10` (RFC 4291 section 2.5.6).
    #[inline(always)]
    pub(crate) fn is_link_local(self) -> bool {
        self.high & 0xc0ff == 0x80fe
    }

    /// What a checksum has to take in where this becomes another.
    #[inline(always)]
    pub fn difference(self, to: Address) -> u64 {
        sum_of(to.high) + sum_of(to.low) + sum_of(!self.high) + sum_of(!self.low)
    }

    /// Mixed with another and a key into a number that nobody outside can foresee or arrange. Not as
    /// strong as a keyed hash: it chooses places in tables, never what is believed.
    #[inline(always)]
    pub(crate) fn mixed(self, other: Address, key: u64) -> u64 {
        let a = mix(self.high ^ key).wrapping_add(self.low);
        let b = mix(a ^ other.high).wrapping_add(other.low);
        mix(mix(b ^ key))
    }

    /// Its own place in a table, once it is masked.
    #[inline(always)]
    pub(crate) fn place(self, key: u64) -> u32 {
        self.mixed(Address::default(), key) as u32
    }

    /// Whether it stands there.
    #[inline(always)]
    pub(crate) fn is(self, words: &[Word64; 2]) -> bool {
        words[0].load() == self.high && words[1].load() == self.low
    }

    /// Writes it there.
    #[inline(always)]
    pub(crate) fn store(self, words: &[Word64; 2]) {
        words[0].store(self.high);
        words[1].store(self.low);
    }
}

/// A step that moves every bit to the upper half, and back.
#[inline(always)]
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^ x >> 32
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        let bytes = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        Address::from_bytes(bytes)
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&address.high.to_le_bytes());
        bytes[8..].copy_from_slice(&address.low.to_le_bytes());
        core::net::Ipv6Addr::from(bytes).to_canonical()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back() {
        for text in ["192.0.2.1", "2001:db8::1:2", "::", "255.255.255.255"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(IpAddr::from(Address::from(address)), address);
        }
        let bytes = u32::from_le_bytes([192, 0, 2, 1]);
        assert_eq!(Address::v4(bytes), Address::from(IpAddr::from([192, 0, 2, 1])));
    }

    #[test]
    fn servers_spread_over_the_ways() {
        let us = Address::from(IpAddr::from([10, 0, 0, 1]));
        let mut seen = [0; 8];
        for i in 0..=255 {
            let server = Address::from(IpAddr::from([192, 0, 2, i]));
            seen[(us.mixed(server, 7) & 7) as usize] += 1;
        }
        assert!(seen.iter().all(|n| (12..=56).contains(n)), "{seen:?}");
    }
}
