//! The eBPF program: port and query ID random for every single query.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use dnsalt_bpf::Hook;
use dnsalt_nat::notrack;
use dnsalt_nat::preflight::{Finding, before_salt};
use dnsalt_policy::{Family, OnNearMiss, Policy};

use super::report::address_bits;
use super::{Engine, Installed, line, local};
use crate::exit::Failure;
use crate::interfaces;

/// The engine.
pub(crate) struct Salt {
    bpffs: PathBuf,
    hook: Hook,
}

impl Salt {
    /// With what lasts in this bpffs.
    pub(crate) fn new(bpffs: PathBuf) -> Self {
        Salt { bpffs, hook: Hook::of_kernel() }
    }

    fn put_in(&self, policy: &Policy, interfaces: &[String]) -> anyhow::Result<()> {
        local::add(policy).context("source addresses could not be made this machine's own")?;
        dnsalt_bpf::install(&self.bpffs, policy, interfaces, self.hook)?;
        // After it: what conntrack does not see, nobody else translates.
        notrack::apply(policy, interfaces).context("conntrack")?;
        local::remove_all_but(policy.source().prefixes()).context(ROUTES)
    }

    /// Whether something of it is in the kernel.
    fn is_there(&self) -> bool {
        dnsalt_bpf::installed(&self.bpffs).is_ok_and(|installed| installed.is_some())
    }
}

/// What is said where they cannot be taken away.
const ROUTES: &str = "local routes of source addresses";

/// The interfaces that a policy is for, as they are now.
fn wanted(policy: &Policy) -> anyhow::Result<Vec<String>> {
    if policy.interfaces().is_empty() {
        return Ok(interfaces::outer()?);
    }
    Ok(policy.interfaces().iter().map(ToString::to_string).collect())
}

/// Where queries come from, if that is drawn.
fn addresses(policy: &Policy) -> String {
    let source = policy.source();
    let bits: Vec<_> = Family::BOTH
        .into_iter()
        .filter(|family| !source.choices(*family).is_empty())
        .map(|family| format!("{family} {:.1} bits", address_bits(policy, family)))
        .collect();
    if bits.is_empty() {
        return String::new();
    }
    line("from", &source.to_string()) + &line("", &bits.join(", "))
}

/// What conntrack does not see.
fn tracking(policy: &Policy) -> String {
    let families: Vec<_> = notrack::families(policy).iter().map(ToString::to_string).collect();
    if families.is_empty() {
        return String::new();
    }
    line("tracking", &format!("off for {} queries, by nftables", families.join(" and ")))
}

impl Engine for Salt {
    fn name(&self) -> &'static str {
        "salt"
    }

    fn backend(&self) -> &str {
        match self.hook {
            Hook::Tcx => "tcx",
            Hook::Clsact => "clsact",
        }
    }

    fn bpffs(&self) -> Option<&Path> {
        Some(&self.bpffs)
    }

    fn preview(&self, policy: &Policy) -> Result<String, Failure> {
        dnsalt_bpf::supports(policy).map_err(|error| Failure::Usage(error.to_string()))?;
        let interfaces = wanted(policy)?;
        let untracked = notrack::rules(policy, &interfaces).map(|rules| format!("\n{rules}"));
        Ok(format!(
            "salt_out and salt_in, by {}, on {}\nmaps and links pinned below {}\n",
            self.backend(),
            interfaces.join(", "),
            self.bpffs.display()
        ) + &untracked.unwrap_or_default())
    }

    fn preflight(&self, policy: &Policy) -> Vec<Finding> {
        // What else stands in its way is found when it is loaded; what others do to packets, it sees done.
        before_salt(policy).into_iter().chain(local::others_live_there(policy)).collect()
    }

    fn installed(&self, policy: Option<&Policy>) -> anyhow::Result<Option<Installed>> {
        let Some(salt) = dnsalt_bpf::installed(&self.bpffs)? else { return Ok(None) };
        let (mut missing, mut untracked) = (None, None);
        if let Some(policy) = policy {
            for name in wanted(policy)? {
                if !salt.interfaces.iter().any(|(there, _)| *there == name) {
                    missing = Some(format!("the programs on {name}"));
                }
            }
            if !notrack::families(policy).is_empty() {
                untracked = notrack::installed()?;
                if untracked.is_none() {
                    missing = Some("the rules that keep queries out of conntrack".to_owned());
                }
            }
            if let Some(prefix) = local::missing(policy)?.first() {
                missing = Some(format!("the local route of {prefix}"));
            }
        }
        let mut config = salt.config;
        // These are of the installation, not of the policy.
        (config.key, config.nonce_key, config.grace_until) = ([0, 0], [0, 0], 0);
        Ok(Some(Installed {
            caught: salt.count(dnsalt_salt::layout::Counter::Salted),
            dropped: None,
            lacks: None,
            fingerprint: format!("{config:?}{}", untracked.unwrap_or_default()),
            missing,
            salt: Some(salt),
        }))
    }

    fn apply(&self, policy: &Policy) -> anyhow::Result<()> {
        let interfaces = wanted(policy)?;
        if interfaces.is_empty() {
            bail!("there is no interface that queries could leave by; name one with --iface");
        }
        let there = self.is_there();
        let Err(error) = self.put_in(policy, &interfaces) else { return Ok(()) };
        if !there && let Err(other) = self.remove() {
            return Err(other.context(format!("{error:#}; what was done could not be undone")));
        }
        Err(error)
    }

    fn remove(&self) -> anyhow::Result<()> {
        // Each, whatever becomes of the others.
        let tracked = notrack::remove().context("conntrack");
        let removed = dnsalt_bpf::remove(&self.bpffs).map_err(anyhow::Error::from);
        let routed = local::remove_all_but(&[]).context(ROUTES);
        tracked.and(removed).and(routed)
    }

    fn cut(&self, _: &Policy) -> usize {
        // Every query is decided on by itself.
        0
    }

    fn scope(&self, policy: &Policy) -> String {
        // Nobody off the path can forge what comes over TCP.
        policy.scope().replacen("udp and tcp", "udp", 1)
    }

    fn plan(&self, policy: &Policy) -> String {
        let (ports, options) = (policy.ports(), policy.salt());
        let interfaces = wanted(policy).unwrap_or_default().join(", ");
        let miss = match options.on_near_miss {
            OnNearMiss::Tcp => "after a forged one, only over TCP",
            OnNearMiss::Drop => "forged ones are dropped",
        };
        line("engine", &format!("salt, by {} on {interfaces}", self.backend()))
            + &line("salted", &self.scope(policy))
            + &addresses(policy)
            + &tracking(policy)
            + &line("ports", &format!("{} of them, {:.1} bits", ports.count(), ports.bits()))
            + &line("IDs", "65536 of them, 16.0 bits")
            + &line("both", "are drawn for every query")
            + &line("a reply", &format!("is let in once, within {} s; {miss}", options.lifetime))
    }
}
