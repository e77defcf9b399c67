//! The shield: what comes from a server's port and belongs to no query is dropped before conntrack
//! keeps it.
//!
//! ```text
//!   server:53 ──> gateway:9374     a query waits there: established, and let in
//!   server:53 ──> gateway:9375     none does. Without the shield:
//!                                    conntrack keeps it, 30 s, and NAT draws any port but that;
//!                                    an ICMP error tells that the port is closed
//!   server:53 ──> gateway:44444    where a program here asks from, before NAT. Without the shield:
//!                                    the program gets it, as if no NAT were there
//! ```
//!
//! Two things are dropped: a reply (the bit QR of RFC 1035 section 4.1.1) to whoever asks, at any port;
//! and anything at all to where queries leave from, at a port that is drawn. The second does not look
//! at the bit: conntrack does not either. Queries from port 53 to a server here, and what comes to
//! ports that are not drawn, go on as ever.

use dnsalt_policy::{Family, Policy, Protocol, Source};

/// How much of it there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shield {
    /// Nothing: the firewall lacks what it needs.
    None,
    /// Ports that are drawn; replies to other ports come in: iptables without u32.
    Ports,
    /// All of it.
    Whole,
}

impl Shield {
    /// What a policy asks for: there is none without UDP.
    pub fn wanted(policy: &Policy) -> Self {
        let udp = policy.protocols().contains(&Protocol::Udp);
        if udp { Shield::Whole } else { Shield::None }
    }
}

/// Whom a packet is for.
pub(super) enum To {
    /// Any address of this machine.
    Local,
    /// These addresses or prefixes.
    Named(Vec<String>),
}

/// Whoever asks: this machine, and the clients that the policy names.
///
/// Other clients are left out. Queries of theirs may take another way than their replies, and a
/// gateway that sees the replies alone would end them.
pub(super) fn asking(policy: &Policy, family: Family) -> Vec<To> {
    let mut all = vec![To::Local];
    all.extend(named(&policy.from(family)));
    all
}

/// Where queries leave from, as servers see it.
pub(super) fn leaving(policy: &Policy, family: Family) -> Vec<To> {
    match policy.source() {
        Source::Keep => asking(policy, family),
        source => vec![named(&source.pool(family)).unwrap_or(To::Local)],
    }
}

fn named<T: ToString>(list: &[T]) -> Option<To> {
    (!list.is_empty()).then(|| To::Named(list.iter().map(ToString::to_string).collect()))
}
