//! A policy as the text of a firewall's rules.

mod iptables;
pub(crate) mod nft;
mod pf;
mod pf_freebsd;
mod pf_openbsd;
mod shield;

use dnsalt_policy::{Policy, Prefix};

pub use iptables::{
    CHAIN, TAG, iptables, iptables_removal, iptables_shield, iptables_with, timeout_policy,
};
pub use nft::{TABLE, nft, nft_shield, nft_with};
pub use pf_freebsd::pf_freebsd;
pub use pf_openbsd::pf_openbsd;
pub use shield::Shield;

/// A firewall that rules can be written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firewall {
    /// Linux nftables: `nft -f`.
    Nft,
    /// Linux iptables, both variants: `iptables-restore --noflush`.
    Iptables,
    /// OpenBSD's pf.
    PfOpenbsd,
    /// FreeBSD's pf.
    PfFreebsd,
}

/// The policy asks for what the firewall cannot do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// Per-query ports need conntrack zones set from a random number, which nftables alone has.
    #[error(
        "`per-query` needs nftables; {0} has no random conntrack zones. Leave it out, or use nft"
    )]
    PerQuery(&'static str),
    /// pf's NAT always translates the address.
    #[error(
        "`source = keep` needs a Linux firewall; pf cannot translate the port alone. Use masquerade or an address"
    )]
    Keep,
    /// A rule for each address of a prefix would be too many.
    #[error(
        "`source` {0} is a prefix, which needs the salt engine: --engine salt. Or give addresses, or a range"
    )]
    Prefix(Prefix),
    /// `multiport` takes 15.
    #[error("iptables takes at most 15 `dns-port` in a rule; give fewer, or use nft")]
    ManyPorts,
}

/// The rules of `policy` for `firewall`, with comments that say why.
///
/// # Errors
/// When the firewall cannot do what the policy asks.
pub fn rules(policy: &Policy, firewall: Firewall) -> Result<String, RenderError> {
    if let Some(prefix) = policy.source().prefixes().first() {
        return Err(RenderError::Prefix(*prefix));
    }
    match firewall {
        Firewall::Nft => Ok(nft(policy)),
        Firewall::Iptables => iptables(policy),
        Firewall::PfOpenbsd => pf_openbsd(policy),
        Firewall::PfFreebsd => pf_freebsd(policy),
    }
}

/// The lines that open every rendering.
fn heading(policy: &Policy, firewall: &str, usage: &[String]) -> String {
    let mut text = format!(
        "# dnsalt {}: random source ports for DNS queries, for {firewall}\n\
         # Salted: {}.\n\
         # Ports:  {}, {} of them, {:.1} bits.\n",
        env!("CARGO_PKG_VERSION"),
        policy.scope(),
        policy.ports(),
        policy.ports().count(),
        policy.ports().bits(),
    );
    for line in usage {
        text += &format!("# {line}\n");
    }
    text
}

/// `a, b, c`.
pub(crate) fn comma<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
