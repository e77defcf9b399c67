//! What can be wrong with a policy; every text says what, and what to do about it.

use crate::{Family, PortRange, Prefix};

/// A value or a combination of values that makes no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Neither an address nor ADDRESS/LENGTH.
    #[error(
        "`{0}` is not an address prefix; write it like 192.0.2.0/24, 2001:db8::/32 or 192.0.2.7"
    )]
    Prefix(String),
    /// Bits set behind the prefix length: a typing mistake more often than a wish.
    #[error("`{given}` has bits set behind its length; did you mean `{meant}`?")]
    HostBits {
        /// As it was given.
        given: String,
        /// The network it lies in.
        meant: Prefix,
    },
    /// Not LO-HI, or not within 1 to 65535.
    #[error("`{0}` is not a port or a range of ports; write it like 1024-65535")]
    PortRange(String),
    /// LO is above HI.
    #[error(
        "the range of ports `{low}-{high}` is empty: its start is above its end; did you mean `{high}-{low}`?"
    )]
    EmptyRange {
        /// As given first.
        low: u16,
        /// As given second.
        high: u16,
    },
    /// The avoid list takes every port of the range.
    #[error("`ports` {ports} is empty once `avoid` is taken out; widen `ports` or shorten `avoid`")]
    NothingLeft {
        /// The range asked for.
        ports: PortRange,
    },
    /// Too few ports to be worth anything.
    #[error(
        "`ports` {ports} less `avoid` leaves {left} ports, {bits:.1} bits; at least 256 are needed for any protection"
    )]
    TooFew {
        /// The range asked for.
        ports: PortRange,
        /// What is left of it.
        left: u32,
        /// log2 of what is left, in tenths so that the error stays comparable.
        bits: Bits,
    },
    /// A transport that DNS does not have here.
    #[error("`{0}` is not a protocol that can be salted; use udp, tcp or both")]
    Protocol(String),
    /// No interface can have such a name.
    #[error("`{0}` is not an interface name: 1 to 15 letters, digits or any of . _ - : @")]
    Interface(String),
    /// Neither a prefix of servers nor a domain.
    #[error(
        "`case-exempt` `{0}` is neither a prefix like 192.0.2.0/24 nor a domain like example.com of at most 62 characters"
    )]
    CaseExempt(String),
    /// Neither a keyword nor addresses.
    #[error(
        "`{0}` is not a source; use masquerade, keep, an address, a pool like 192.0.2.1-192.0.2.4, or a prefix"
    )]
    Source(String),
    /// An address that no reply could come back to.
    #[error("{0} cannot be a source address: no reply would find its way back")]
    UnusableSource(crate::Prefix),
    /// First above last, or of two families.
    #[error("`{0}` is an empty pool: its first address must be below its last, in the same family")]
    EmptyPool(String),
    /// More addresses than rules should be written for.
    #[error("`{text}` has more than {most} addresses; that many rules would slow every query down")]
    BigPool {
        /// As given.
        text: String,
        /// The most that is taken.
        most: usize,
    },
    /// A source address whose family the prefixes exclude.
    #[error(
        "`source` {address} is {family}, but `from` and `to` leave no {family} query to salt; give an address of the other family, or {family} prefixes"
    )]
    SourceFamily {
        /// The address in question.
        address: std::net::IpAddr,
        /// Its family.
        family: Family,
    },
    /// Nobody would give queries another address.
    #[error(
        "`conntrack` off needs `source`: what conntrack does not see no NAT rule translates; give addresses, or keep where clients have public ones"
    )]
    UntrackedNeedsSource,
    /// Servers would have to give a new cookie for each query.
    #[error(
        "`cookies` do not go with several `source` addresses, as a server gives each address a cookie of its own; leave one of the two out"
    )]
    CookiesAndPool,
    /// `from` and `to` have no family in common.
    #[error(
        "`from` and `to` have no address family in common, so nothing would ever match; give prefixes of one family in both"
    )]
    NoFamily,
    /// An empty list where at least one is needed.
    #[error("`{0}` is an empty list; leave the key out for its default")]
    EmptyList(&'static str),
    /// Port 0 cannot be asked.
    #[error("`dns-port` 0 does not exist; the usual one is 53")]
    PortZero,
    /// Out of what conntrack policies sensibly have.
    #[error("`timeout` {0} is out of range; use 1 to 120 seconds, or 0 to leave the kernel's own")]
    Timeout(u64),
    /// A word that is none of those there are.
    #[error("`{key}` {given} is unknown; use {}", .words.join(" or "))]
    Choice {
        /// The key.
        key: &'static str,
        /// As it was given.
        given: String,
        /// What there is.
        words: &'static [&'static str],
    },
    /// A number beyond what the engine has.
    #[error("`{key}` {given} is out of range; use {low} to {high}")]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// As it was given.
        given: u64,
        /// The least.
        low: u64,
        /// The most.
        high: u64,
    },
    /// Per-query ports are an affair of UDP.
    #[error("`per-query` works on UDP only, and `proto` leaves udp out; add udp or drop per-query")]
    PerQueryNeedsUdp,
}

/// Bits in tenths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits(u32);

impl Bits {
    pub(crate) fn of(bits: f64) -> Self {
        // At most 16 bits: no truncation that matters, and never negative.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Bits((bits * 10.0).round() as u32)
    }
}

impl std::fmt::Display for Bits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0 / 10, self.0 % 10)
    }
}

impl PolicyError {
    /// The settings at fault, as their keys in the file; empty where a value names itself.
    pub fn keys(&self) -> &'static [&'static str] {
        match self {
            Self::NothingLeft { .. } | Self::TooFew { .. } => &["ports", "avoid"],
            Self::SourceFamily { .. } => &["source"],
            Self::UntrackedNeedsSource => &["conntrack"],
            Self::CookiesAndPool => &["cookies", "source"],
            Self::NoFamily => &["from", "to"],
            Self::PerQueryNeedsUdp => &["per-query", "proto"],
            Self::EmptyList(key) => match *key {
                "dns-port" => &["dns-port"],
                "proto" => &["proto"],
                _ => &[],
            },
            _ => &[],
        }
    }
}
