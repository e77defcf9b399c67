//! The kernel's NAT, by nftables or iptables.

use std::path::Path;

use dnsalt_nat::driver::{Backend, Driver};
use dnsalt_nat::preflight::{Finding, preflight};
use dnsalt_nat::render::Shield;
use dnsalt_nat::strength::Strength;
use dnsalt_nat::{conntrack, render};
use dnsalt_policy::{Conntrack, Policy, Source};

use super::{Engine, Installed, line};
use crate::exit::Failure;

/// The engine.
pub(crate) struct Nat {
    driver: Box<dyn Driver>,
}

impl Nat {
    /// By this firewall; `folder` is where its files may be.
    pub(crate) fn new(backend: Backend, folder: &Path) -> Self {
        Nat { driver: backend.driver(folder) }
    }
}

impl Engine for Nat {
    fn name(&self) -> &'static str {
        "nat"
    }

    fn backend(&self) -> &str {
        self.driver.name()
    }

    fn preview(&self, policy: &Policy) -> Result<String, Failure> {
        let firewall = match self.driver.name() {
            "nft" => render::Firewall::Nft,
            _ => render::Firewall::Iptables,
        };
        if policy.salt().conntrack == Conntrack::Off {
            return Err(Failure::Usage(
                "`conntrack` off is of the salt engine, as NAT is conntrack's: leave it out, or use --engine salt"
                    .to_owned(),
            ));
        }
        render::rules(policy, firewall).map_err(|error| Failure::Usage(error.to_string()))
    }

    fn preflight(&self, policy: &Policy) -> Vec<Finding> {
        preflight(policy, self.driver.as_ref())
    }

    fn installed(&self, policy: Option<&Policy>) -> anyhow::Result<Option<Installed>> {
        let installed = self.driver.installed()?;
        Ok(installed.map(|installed| Installed {
            caught: installed.caught,
            dropped: Some(installed.dropped),
            lacks: policy.and_then(|policy| lacks(policy, installed.shield)),
            fingerprint: installed.fingerprint,
            missing: installed.missing,
            salt: None,
        }))
    }

    fn apply(&self, policy: &Policy) -> anyhow::Result<()> {
        Ok(self.driver.apply(policy)?)
    }

    fn remove(&self) -> anyhow::Result<()> {
        Ok(self.driver.remove()?)
    }

    fn cut(&self, policy: &Policy) -> usize {
        conntrack::cut(policy).unwrap_or(0)
    }

    fn plan(&self, policy: &Policy) -> String {
        let ports = policy.ports();
        let source = match policy.source() {
            Source::Masquerade => "the address of the outgoing interface".to_owned(),
            Source::Keep => "kept as it is".to_owned(),
            Source::Pool(pool) => {
                let all: Vec<_> = pool.addresses().iter().map(ToString::to_string).collect();
                all.join(", ")
            }
        };
        let strength = Strength::weakest(policy);
        let mut text = line("engine", &format!("nat, by {}", self.driver.name()))
            + &line("salted", &policy.scope())
            + &line("ports", &format!("{} of them, {:.1} bits", ports.count(), ports.bits()))
            + &line("source", &source)
            + &line("a port", &sticking(&strength));
        if let Some(cap) = strength.cap() {
            text += &line(
                "cap",
                &format!(
                    "{cap} queries a second to one server ({} ports / {} s);\n\
                     {:9}above that ports run out and queries get lost",
                    strength.choices, strength.lifetime, ""
                ),
            );
        }
        text
    }
}

/// What the machine did not take of the shield, with what to do.
fn lacks(policy: &Policy, shield: Shield) -> Option<String> {
    let (what, mend) = match shield {
        _ if shield >= Shield::wanted(policy) => return None,
        Shield::Ports | Shield::Whole => (
            "forged replies reach a program here that asks from a port outside of the range",
            "iptables needs its match u32: modprobe xt_u32",
        ),
        Shield::None => (
            "replies that nobody asked for are let in: they take ports out of the draw",
            "it needs fib in nft; a table mangle, conntrack and addrtype in iptables",
        ),
    };
    Some(format!("{what}; {mend}, then `dnsalt up` again"))
}

/// For how long a port is used, in words.
fn sticking(strength: &Strength) -> String {
    let seconds = strength.lifetime;
    if strength.per_query {
        format!("is drawn for every query, and stays open for {seconds} s")
    } else {
        format!("is drawn for every flow, and kept until it was idle for {seconds} s")
    }
}
