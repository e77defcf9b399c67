//! The race: an off-path attacker against a real resolver, with dnsalt in between or without.
//!
//! **It attacks nothing but the lab.** The network is made in the same run, out of namespaces that have
//! no link to the machine's ([`crate::Host`]); names end in `.test`; nothing here takes an address: the
//! attacker sends to what its own name server saw, and only if that is one of the lab's
//! ([`LabError::NotOurs`]); and before it starts, it is checked that it stands in another network
//! namespace than this process, with no way but the lab's ([`LabError::Outside`]).
//!
//! ```text
//!   Scenario ─▶ Race::build ─▶ (dnsalt up on the gateway) ─▶ Race::attack ─▶ Raced
//! ```

mod attacker;
mod client;
mod flood;
mod guesses;
mod legacy;
mod network;
mod scan;
mod scenario;
mod statistics;
mod victim;
mod zones;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use serde::Serialize;

pub use attacker::{Attacked, Lesson, Poisoned};
pub use network::{Network, ROUTED};
pub use scan::{ScanEnd, Scanned};
pub use scenario::{
    Attack, Engine, Expect, Kind, NetworkOptions, Protection, Scenario, Told, VictimOptions,
};
pub use statistics::Datagrams;
pub use victim::Victim;
pub use zones::LETTERS;

use crate::actor::DnsServer;
use crate::{Host, LabError};
use attacker::Attacker;
use victim::Resolver;
use zones::{ATTACK, BANK, FALSE, REAL};

/// What happens while it happens.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A window is over.
    Progress(&'a Attacked),
    /// Ports were looked at.
    Scanning(&'a Scanned),
}

/// Who is told.
pub(crate) type Tell<'a> = &'a dyn Fn(Event<'_>);

/// Network, servers and resolver, ready.
#[derive(Debug)]
pub struct Race {
    scenario: Scenario,
    _resolver: Resolver,
    _root: DnsServer,
    /// Those of the attacked zone.
    bank: DnsServer,
    /// The attacker's own.
    own: DnsServer,
    network: Network,
}

/// What came of a race.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Raced {
    /// What the attacker did, and what came of it.
    pub attacked: Attacked,
    /// What the resolver's host had to do with datagrams.
    pub resolver: Datagrams,
    /// The same of the gateway.
    pub gateway: Datagrams,
}

impl Raced {
    /// Errors of ICMP that told somebody outside which ports are closed.
    pub fn icmp_errors(&self) -> u64 {
        self.resolver.icmp_errors + self.gateway.icmp_errors
    }
}

impl Race {
    /// Builds the network of a scenario and starts servers and resolver.
    ///
    /// # Errors
    /// When the system refuses, or the resolver does not resolve.
    pub fn build(scenario: Scenario) -> Result<Self, LabError> {
        let network = Network::build()?;
        check_that_it_is_ours(&network.attacker)?;
        if let Some(limit) = scenario.network.icmp_ratelimit {
            for host in [&network.resolver, &network.gateway] {
                host.sysctl("net/ipv4/icmp_ratelimit", &limit.to_string())?;
            }
        }
        let count = scenario.network.servers;
        let root = DnsServer::start_with(
            &network.authority,
            &[network::ROOT.into()],
            &zones::root(count),
            Duration::ZERO,
        )?;
        let own: Vec<_> = (1..)
            .zip(network::servers(count))
            .map(|(i, address)| (format!("ns{i}.{BANK}"), address))
            .collect();
        let bank = DnsServer::start_with(
            &network.authority,
            &network::servers(count).map(Into::into).collect::<Vec<_>>(),
            &zones::leaf(&[BANK], REAL, &own, scenario.network.cookies),
            scenario.network.delay,
        )?;
        let attackers = [(format!("ns.{ATTACK}"), network::ATTACKER)];
        let own = DnsServer::start_with(
            &network.attacker,
            &[network::ATTACKER.into()],
            &zones::leaf(&[ATTACK, BANK], FALSE, &attackers, false),
            Duration::ZERO,
        )?;
        let resolver = scenario.victim.resolver.start(&network, count)?;
        Ok(Race { scenario, _resolver: resolver, _root: root, bank, own, network })
    }

    /// Where dnsalt can be installed.
    pub fn gateway(&self) -> &Host {
        &self.network.gateway
    }

    /// What it was made from.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Runs the attack to its end; `tell` hears of it meanwhile.
    ///
    /// # Errors
    /// When the attacker cannot send.
    pub fn attack(&self, tell: &dyn Fn(Event<'_>)) -> Result<Raced, LabError> {
        let hosts = [&self.network.resolver, &self.network.gateway];
        let before = hosts.map(statistics::read);
        let attacked = Attacker::new(self, tell)?.run()?;
        let [resolver, gateway] = hosts.map(statistics::read);
        let [resolver_before, gateway_before] = before;
        Ok(Raced {
            attacked,
            resolver: resolver?.since(&resolver_before?),
            gateway: gateway?.since(&gateway_before?),
        })
    }
}

/// An attacker in this machine's own network, or with a way out of the lab, must not start.
fn check_that_it_is_ours(attacker: &Host) -> Result<(), LabError> {
    let failed = |cause: io::Error| LabError::Host {
        host: attacker.name().to_owned(),
        operation: "looking where the attacker stands",
        cause,
    };
    let namespace = |path| Ok(fs::metadata(path)?.ino());
    let machine = namespace("/proc/self/ns/net").map_err(failed)?;
    let lab = attacker.run(move || namespace("/proc/thread-self/ns/net")).map_err(failed)?;
    // All its interfaces, and where they lead: lo, and one to another host of the lab.
    let links = attacker.sh("ip -o -br link show")?;
    let ours = links.lines().all(|link| link.starts_with("lo ") || link.starts_with("eth0@"));
    if machine == lab || !ours { Err(LabError::Outside) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::require_root;

    #[test]
    fn nothing_but_the_lab_is_attacked() {
        if let Err(why) = require_root() {
            eprintln!("skipped: {why}");
            return;
        }
        let network = Network::build().unwrap();
        check_that_it_is_ours(&network.attacker).unwrap();
        let mut flood = flood::Flood::new(&network.attacker).unwrap();
        let server = network::servers(1).next().unwrap();
        for outside in ["10.54.0.1", "192.0.2.1", "127.0.0.1", "11.53.1.2"] {
            let refused = flood.load(server, outside.parse().unwrap(), b"");
            assert!(matches!(refused, Err(LabError::NotOurs(_))), "{outside}");
        }
        assert_eq!(flood.send(&[(1, 1)]).unwrap(), 0, "nothing was loaded");
        flood.load(server, network::RESOLVER, &scan::NOTHING).unwrap();
        // A link to anywhere else.
        network.attacker.sh("ip link add out0 type veth peer name out1").unwrap();
        assert!(matches!(check_that_it_is_ours(&network.attacker), Err(LabError::Outside)));
    }
}
