//! The address that salted queries leave from.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::{Family, PolicyError, Prefix};

/// Where salted queries come from, as servers see it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Source {
    /// The address of the outgoing interface: always right on a gateway that does NAT anyway.
    #[default]
    Masquerade,
    /// The address they have; only the port changes. For gateways that route without NAT.
    Keep,
    /// One of these, drawn for each flow, or by the salt engine for each query. The nat engine masquerades a
    /// family without one, the salt engine leaves it alone.
    Pool(Pool),
}

/// One or more source addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    addresses: Vec<IpAddr>,
    prefixes: Vec<Prefix>,
}

impl Pool {
    /// More than these is refused: each is a rule or an element of a map.
    pub const MOST: usize = 256;

    /// The addresses of one family that were given one by one or as a range, in that order.
    pub fn of(&self, family: Family) -> Vec<IpAddr> {
        self.addresses.iter().copied().filter(|address| Family::of(*address) == family).collect()
    }

    /// All addresses that were given one by one or as a range, in that order; none twice.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Addresses and prefixes of one family: what is drawn from, each as likely.
    fn choices(&self, family: Family) -> Vec<Prefix> {
        let addresses = self.addresses.iter().copied().map(Prefix::from);
        addresses
            .chain(self.prefixes.iter().copied())
            .filter(|one| one.family() == family)
            .collect()
    }

    /// Bits that a draw of one family adds, at most: log2 of the number of addresses in the smallest of what
    /// is drawn from, and of how much there is to draw from.
    fn bits(&self, family: Family) -> f64 {
        let choices = self.choices(family);
        let whole = if family == Family::V4 { 32 } else { 128 };
        let least = choices.iter().map(|one| whole - one.length()).min().unwrap_or(0);
        (choices.len().max(1) as f64).log2() + f64::from(least)
    }

    /// A family of which it has something.
    fn has(&self, family: Family) -> bool {
        !self.choices(family).is_empty()
    }

    /// The first address of a family that none of some has.
    pub(crate) fn stranger(&self, families: &[Family]) -> Option<IpAddr> {
        let other =
            Family::BOTH.into_iter().find(|one| !families.contains(one) && self.has(*one))?;
        self.choices(other).first().map(|one| one.address())
    }
}

impl Source {
    /// The single addresses to draw from for a family; empty where the family is masqueraded or kept.
    pub fn pool(&self, family: Family) -> Vec<IpAddr> {
        self.drawn().map_or_else(Vec::new, |pool| pool.of(family))
    }

    /// Addresses and prefixes to draw from for a family, each as likely; empty where none is drawn.
    pub fn choices(&self, family: Family) -> Vec<Prefix> {
        self.drawn().map_or_else(Vec::new, |pool| pool.choices(family))
    }

    /// Whole prefixes to draw from, which are routed to this machine.
    pub fn prefixes(&self) -> &[Prefix] {
        self.drawn().map_or(&[], |pool| &pool.prefixes)
    }

    /// Bits that a draw of a family adds, at most; 0 where none is drawn.
    pub fn bits(&self, family: Family) -> f64 {
        self.drawn().map_or(0.0, |pool| pool.bits(family))
    }

    fn drawn(&self) -> Option<&Pool> {
        match self {
            Source::Pool(pool) => Some(pool),
            Source::Masquerade | Source::Keep => None,
        }
    }
}

impl FromStr for Source {
    type Err = PolicyError;

    /// `masquerade`, `keep`, or addresses, `FIRST-LAST` pools and prefixes with commas between.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "masquerade" => return Ok(Source::Masquerade),
            "keep" => return Ok(Source::Keep),
            _ => {}
        }
        let (mut addresses, mut prefixes) = (Vec::new(), Vec::new());
        for part in text.split(',').map(str::trim) {
            if part.contains('/') {
                let prefix = part.parse::<Prefix>()?;
                if unusable(prefix.address()) || prefix.length() < SHORTEST {
                    return Err(PolicyError::UnusableSource(prefix));
                }
                if !prefixes.contains(&prefix) {
                    prefixes.push(prefix);
                }
                continue;
            }
            for address in part_addresses(part, text)? {
                if unusable(address) {
                    return Err(PolicyError::UnusableSource(address.into()));
                }
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        if addresses.len() + prefixes.len() > Pool::MOST {
            return Err(PolicyError::BigPool { text: text.to_owned(), most: Pool::MOST });
        }
        Ok(Source::Pool(Pool { addresses, prefixes }))
    }
}

impl serde::Serialize for Source {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Masquerade => f.write_str("masquerade"),
            Source::Keep => f.write_str("keep"),
            Source::Pool(pool) => {
                let addresses = pool.addresses.iter().map(ToString::to_string);
                let prefixes = pool.prefixes.iter().map(ToString::to_string);
                f.write_str(&addresses.chain(prefixes).collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// No prefix that is shorter is routed to a single machine.
const SHORTEST: u8 = 16;

/// The addresses of `A` or `A-B`.
fn part_addresses(part: &str, whole: &str) -> Result<Vec<IpAddr>, PolicyError> {
    let address = |text: &str| {
        text.trim().parse::<IpAddr>().map_err(|_| PolicyError::Source(whole.to_owned()))
    };
    let Some((first, last)) = part.split_once('-') else {
        return Ok(vec![address(part)?]);
    };
    let (first, last) = match (address(first)?, address(last)?) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits())),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits()),
        _ => return Err(PolicyError::EmptyPool(part.to_owned())),
    };
    if first > last {
        return Err(PolicyError::EmptyPool(part.to_owned()));
    }
    if last - first >= Pool::MOST as u128 {
        return Err(PolicyError::BigPool { text: part.to_owned(), most: Pool::MOST });
    }
    let v4 = !part.contains(':');
    Ok((first..=last)
        .map(|bits| match u32::try_from(bits) {
            Ok(bits) if v4 => IpAddr::V4(Ipv4Addr::from_bits(bits)),
            _ => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        })
        .collect())
}

fn unusable(address: IpAddr) -> bool {
    address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_are_read_and_shown() {
        for (text, shown) in [
            ("masquerade", "masquerade"),
            ("keep", "keep"),
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1-192.0.2.3", "192.0.2.1,192.0.2.2,192.0.2.3"),
            ("192.0.2.1,2001:db8::1-2001:db8::2,192.0.2.1", "192.0.2.1,2001:db8::1,2001:db8::2"),
            ("2001:db8:1::/64, 192.0.2.1", "192.0.2.1,2001:db8:1::/64"),
        ] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), shown);
        }
        let source: Source = "192.0.2.1,2001:db8::1".parse().unwrap();
        assert_eq!(source.pool(Family::V6), ["2001:db8::1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn bits_are_of_what_can_be_drawn() {
        let has = |text: &str, family, bits: f64| {
            (text.parse::<Source>().unwrap().bits(family) - bits).abs() < 1e-9
        };
        assert!(has("192.0.2.1-192.0.2.4", Family::V4, 2.0));
        assert!(has("192.0.2.1-192.0.2.4", Family::V6, 0.0));
        assert!(has("192.0.2.16/28", Family::V4, 4.0));
        assert!(has("2001:db8::/64,2001:db8:1::/64", Family::V6, 65.0));
        // Whoever guesses that it is the single one is right half of the time.
        assert!(has("2001:db8::/64,2001:db8:1::1", Family::V6, 1.0));
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text: &str| text.parse::<Source>().unwrap_err();
        assert!(matches!(error("eth0"), PolicyError::Source(_)));
        assert!(matches!(error(""), PolicyError::Source(_)));
        assert!(matches!(error("192.0.2.3-192.0.2.1"), PolicyError::EmptyPool(_)));
        assert!(matches!(error("192.0.2.3-2001:db8::1"), PolicyError::EmptyPool(_)));
        assert!(matches!(error("10.0.0.0-10.1.0.0"), PolicyError::BigPool { .. }));
        assert!(matches!(
            error("::-ffff::"),
            PolicyError::UnusableSource(_) | PolicyError::BigPool { .. }
        ));
        assert!(matches!(error("127.0.0.1"), PolicyError::UnusableSource(_)));
        assert!(matches!(error("ff02::/64"), PolicyError::UnusableSource(_)));
        assert!(matches!(error("8.0.0.0/8"), PolicyError::UnusableSource(_)));
        assert!(matches!(error("192.0.2.1/28"), PolicyError::HostBits { .. }));
    }
}
