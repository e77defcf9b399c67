//! The engines behind one trait: what `up`, `down` and `status` ask of whatever randomises.

mod choice;
mod local;
mod nat;
mod report;
mod salt;

use std::path::Path;

use dnsalt_nat::preflight::Finding;
use dnsalt_policy::Policy;

use crate::exit::Failure;
use crate::state::Installation;

pub(crate) use choice::choose;
pub(crate) use nat::Nat;
pub(crate) use report::SaltReport;
pub(crate) use salt::Salt;

/// What randomises. All of it speaks of the network namespace that we run in.
pub(crate) trait Engine {
    /// `nat` or `salt`.
    fn name(&self) -> &'static str;

    /// What it works by, as users write it: `nft`, `iptables-legacy`, `tcx` ...
    fn backend(&self) -> &str;

    /// Where it keeps what has to last, if that is a file system of its own.
    fn bpffs(&self) -> Option<&Path> {
        None
    }

    /// What would be given to the kernel, for people to read; refuses a policy that it cannot do.
    fn preview(&self, policy: &Policy) -> Result<String, Failure>;

    /// What stands in the way, or is good to know.
    fn preflight(&self, policy: &Policy) -> Vec<Finding>;

    /// What of ours is in the kernel now; none if nothing is.
    fn installed(&self, policy: Option<&Policy>) -> anyhow::Result<Option<Installed>>;

    /// Puts the policy into the kernel, in the place of another of ours.
    fn apply(&self, policy: &Policy) -> anyhow::Result<()>;

    /// Takes out exactly what is ours; it is fine if nothing is.
    fn remove(&self) -> anyhow::Result<()>;

    /// Ends what was decided for queries before the rules changed; how many flows that were. That it
    /// fails is no reason to go without: flows end by themselves when idle.
    fn cut(&self, policy: &Policy) -> usize;

    /// Which queries it salts, in words.
    fn scope(&self, policy: &Policy) -> String {
        policy.scope()
    }

    /// What is done, line by line.
    fn plan(&self, policy: &Policy) -> String;
}

/// What is in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Installed {
    /// New flows that were caught, or queries that were salted.
    pub(crate) caught: u64,
    /// Packets from a server's port and of no query that the nat engine dropped.
    pub(crate) dropped: Option<u64>,
    /// What this machine could not take of the rules, with what to do; the rest is as it should be.
    pub(crate) lacks: Option<String>,
    /// Differs when somebody changed something.
    pub(crate) fingerprint: String,
    /// Whether all that belongs to it is there; else what is missing.
    pub(crate) missing: Option<String>,
    /// What the salt engine counted, if it is that.
    pub(crate) salt: Option<dnsalt_bpf::Installed>,
}

/// The engine of an installation.
pub(crate) fn of(installation: &Installation, folder: &Path) -> Box<dyn Engine> {
    match &installation.bpffs {
        Some(bpffs) => Box::new(Salt::new(bpffs.clone())),
        None => Box::new(Nat::new(installation.backend.parse().unwrap_or_default(), folder)),
    }
}

/// A line of a plan: its name and what it says.
fn line(name: &str, value: &str) -> String {
    format!("{name:<8} {value}\n")
}
