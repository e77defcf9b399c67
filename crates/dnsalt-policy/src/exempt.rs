//! Whose case of letters is left alone: servers by prefix, names by domain.

use std::fmt;
use std::str::FromStr;

use crate::{PolicyError, Prefix};

/// Servers or names whose case is left alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CaseExempt {
    /// Servers in a prefix.
    Servers(Prefix),
    /// A domain and all names below it.
    Domain(Domain),
}

impl FromStr for CaseExempt {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(prefix) => Ok(CaseExempt::Servers(prefix)),
            // Nobody means these as names.
            Err(error) if text.contains([':', '/']) || ends_in_number(text) => Err(error),
            Err(_) => text.parse().map(CaseExempt::Domain),
        }
    }
}

fn ends_in_number(text: &str) -> bool {
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for CaseExempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CaseExempt::Servers(prefix) => prefix.fmt(f),
            CaseExempt::Domain(domain) => domain.fmt(f),
        }
    }
}

impl serde::Serialize for CaseExempt {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The name of a domain, in lower case, without a dot at its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(String);

impl Domain {
    /// The longest that is taken, as on the wire.
    pub const MOST: usize = 64;

    /// As on the wire (RFC 1035 section 3.1): each label with its length, and the empty one.
    pub fn wire(&self) -> Vec<u8> {
        let mut wire = Vec::with_capacity(self.0.len() + 2);
        for label in self.0.split('.') {
            wire.push(u8::try_from(label.len()).unwrap_or(0));
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        wire
    }
}

impl FromStr for Domain {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || PolicyError::CaseExempt(text.to_owned());
        let name = text.strip_suffix('.').unwrap_or(text);
        let name = name.strip_prefix('.').unwrap_or(name).to_ascii_lowercase();
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if !name.split('.').all(is_label) || name.len() + 2 > Self::MOST {
            return Err(refused());
        }
        Ok(Domain(name))
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_domains_are_told_apart() {
        let parse = |text: &str| text.parse::<CaseExempt>();
        assert!(matches!(parse("192.0.2.0/24"), Ok(CaseExempt::Servers(_))));
        assert!(matches!(parse("2001:db8::1"), Ok(CaseExempt::Servers(_))));
        for text in ["Example.TEST.", ".example.test", "example.test"] {
            assert_eq!(parse(text).unwrap().to_string(), "example.test", "{text}");
        }
        let CaseExempt::Domain(domain) = parse("_dns.example").unwrap() else { panic!() };
        assert_eq!(domain.wire(), b"\x04_dns\x07example\0");
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in ["192.0.2.256", "192.0.2.1/24", "10.0.0.0/33", "::g", "", ".", "a..b", "a b"] {
            assert!(text.parse::<CaseExempt>().is_err(), "{text}");
        }
        let long = format!("{}.test", "a".repeat(58));
        assert!(long.parse::<CaseExempt>().is_err());
        assert!(long[1..].parse::<CaseExempt>().is_ok());
    }
}
