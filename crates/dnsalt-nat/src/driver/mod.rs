//! Rules in the kernel: put in, read back, taken out, by the firewall's own commands.

mod iptables;
mod nft;
mod saved;

use std::path::Path;

use dnsalt_policy::{Family, Policy};

use crate::command::CommandError;
use crate::conntrack::ConntrackError;
use crate::render::{RenderError, Shield};

pub use iptables::{Flavour, Iptables};
pub use nft::Nft;
pub(crate) use nft::{deletion, listing};

/// Reads a listing as the drivers of nft and iptables do, whatever it is: for fuzzers.
#[doc(hidden)]
pub fn read_any(listing: &str) {
    nft::read_any(listing);
    iptables::read_any(listing);
}

/// One firewall of Linux. All its methods speak of the network namespace that we run in.
pub trait Driver {
    /// Its name, as users write it: `nft`, `iptables-legacy` ...
    fn name(&self) -> &'static str;

    /// Asks firewall and kernel whether the policy's rules would be taken, without taking them. That
    /// the shield would not be is no error: the rules go in without.
    fn check(&self, policy: &Policy) -> Result<(), DriverError>;

    /// What of ours is in the kernel now; none if nothing is.
    fn installed(&self) -> Result<Option<Installed>, DriverError>;

    /// Puts the rules in; replaces those of ours that are there in the same transaction. Either
    /// all of it happens, or nothing; but what this machine cannot hold of the shield is left out.
    fn apply(&self, policy: &Policy) -> Result<(), DriverError>;

    /// Takes out exactly what is ours; it is fine if nothing is.
    fn remove(&self) -> Result<(), DriverError>;
}

/// Our rules as they are in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// New UDP and TCP flows that they caught; with per-query ports these are single queries.
    pub caught: u64,
    /// Packets that the shield dropped: from a server's port, and of no query.
    pub dropped: u64,
    /// How much of the shield is there.
    pub shield: Shield,
    /// The rules without counters: differs when somebody changed them.
    pub fingerprint: String,
    /// Whether all that belongs to the rules is there; else what is missing.
    pub missing: Option<String>,
}

/// Why a firewall did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// The policy asks for more than the firewall has.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The firewall's command is missing or refused.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The kernel's conntrack refused.
    #[error(transparent)]
    Conntrack(#[from] ConntrackError),
    /// nft put rules into a table of iptables that it cannot show: it could not be put back exactly.
    #[error(
        "iptables cannot show its {family} table {table}, which has rules made by nft; use --backend nft"
    )]
    Hidden {
        /// `nat` or `raw`.
        table: &'static str,
        /// In which address family.
        family: Family,
    },
    /// A file that the command reads could not be written.
    #[error("{path}: {cause}")]
    File {
        /// Which one.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
}

/// Does something with as much of the shield as can be, from the most to none: for a machine that
/// has not all that it needs. What is wrong with the rules besides is wrong with none of it, too.
fn with_shield<T>(
    most: Shield,
    mut attempt: impl FnMut(Shield) -> Result<T, DriverError>,
) -> Result<T, DriverError> {
    for shield in [Shield::Whole, Shield::Ports] {
        if shield <= most
            && let done @ (Ok(_) | Err(DriverError::Render(_))) = attempt(shield)
        {
            return done;
        }
    }
    attempt(Shield::None)
}

/// Which driver to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// nftables where there is `nft`, else iptables.
    #[default]
    Auto,
    /// nftables.
    Nft,
    /// iptables, whichever variant the command of that name is.
    Iptables(Flavour),
}

impl Backend {
    /// The driver. `folder` is where it may keep the files that its commands read.
    pub fn driver(self, folder: &Path) -> Box<dyn Driver> {
        match self {
            Backend::Auto if !crate::command::exists("nft") && Iptables::is_there() => {
                Box::new(Iptables::new(Flavour::Default, folder))
            }
            Backend::Auto | Backend::Nft => Box::new(Nft),
            Backend::Iptables(flavour) => Box::new(Iptables::new(flavour, folder)),
        }
    }
}

/// Where a driver of this name puts its rules: `iptables` is one of the other two on this machine.
pub fn place(name: &str) -> &str {
    if name != "iptables" {
        return name;
    }
    let version = crate::command::run("iptables", &["--version"], None).unwrap_or_default();
    if version.contains("nf_tables") { "iptables-nft" } else { "iptables-legacy" }
}

impl std::str::FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Backend::Auto),
            "nft" => Ok(Backend::Nft),
            "iptables" => Ok(Backend::Iptables(Flavour::Default)),
            "iptables-nft" => Ok(Backend::Iptables(Flavour::Nft)),
            "iptables-legacy" => Ok(Backend::Iptables(Flavour::Legacy)),
            _ => Err(format!(
                "`{text}` is not a backend; use auto, nft, iptables, iptables-nft or iptables-legacy"
            )),
        }
    }
}
