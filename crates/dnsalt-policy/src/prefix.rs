//! Address prefixes and interface names as administrators write them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::{Family, PolicyError};

/// An address prefix without bits set behind its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(IpNet);

impl Prefix {
    /// That which an address lies in; none where no prefix has this length.
    pub fn of(address: IpAddr, length: u8) -> Option<Self> {
        IpNet::new(address, length).ok().map(|net| Prefix(net.trunc()))
    }

    /// IPv4 or IPv6.
    pub fn family(self) -> Family {
        Family::of(self.0.addr())
    }

    /// Its first address.
    pub fn address(self) -> IpAddr {
        self.0.addr()
    }

    /// How many bits of the address are its own.
    pub fn length(self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether the whole of another prefix lies in it.
    pub fn covers(self, other: Prefix) -> bool {
        self.0.contains(&other.0)
    }

    /// Whether the address lies in it.
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        Prefix(address.into())
    }
}

impl FromStr for Prefix {
    type Err = PolicyError;

    /// `192.0.2.0/24`, or an address alone for that address.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let net = text
            .parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map_err(|_| PolicyError::Prefix(text.to_owned()))?;
        if net.trunc() == net {
            Ok(Prefix(net))
        } else {
            Err(PolicyError::HostBits { given: text.to_owned(), meant: Prefix(net.trunc()) })
        }
    }
}

impl serde::Serialize for Prefix {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Prefix {
    /// Without the length where it is a single address, as nft prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            write!(f, "{}", self.0.addr())
        } else {
            write!(f, "{}", self.0)
        }
    }
}

/// The name of a network interface: at most 15 bytes, and nothing that a rule file could trip over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=15).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-:@".contains(c))
            && text != "."
            && text != "..";
        if fits { Ok(Self(text.to_owned())) } else { Err(PolicyError::Interface(text.to_owned())) }
    }
}

impl serde::Serialize for InterfaceName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_read_and_shown() {
        for (text, shown) in [
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/32", "192.0.2.7"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::1", "::1"),
        ] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn mistakes_are_named_with_their_mend() {
        let error = "10.0.0.1/8".parse::<Prefix>().unwrap_err().to_string();
        assert_eq!(
            error,
            "`10.0.0.1/8` has bits set behind its length; did you mean `10.0.0.0/8`?"
        );
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "fe80::/129", "eth0", "10.0.0.0/-1"] {
            assert!(matches!(bad.parse::<Prefix>(), Err(PolicyError::Prefix(_))), "{bad}");
        }
    }

    #[test]
    fn interface_names_hold_nothing_strange() {
        assert!("eth0.100".parse::<InterfaceName>().is_ok());
        for bad in ["", "a name", "waytoolongforlinux", "e\"th0", "..", "e/0", "eth0\n"] {
            assert!(bad.parse::<InterfaceName>().is_err(), "{bad:?}");
        }
    }
}
