//! A policy, as far as the model knows it.

use std::net::IpAddr;

use dnsalt_policy::{Case, Family, Fragments, OnNearMiss, Policy, Prefix};

/// Units of time in a second: 2^24 ns each, as in the kernel half.
const UNITS_A_SECOND: f64 = 1e9 / 16_777_216.0;

/// A policy. Times are in the units of the engine.
#[derive(Clone, Debug)]
pub struct Terms {
    pub(crate) dns_ports: Vec<u16>,
    pub(crate) ports: Vec<(u16, u16)>,
    pub(crate) lifetime: u64,
    pub(crate) max_identical: usize,
    pub(crate) lockdown_after: u32,
    pub(crate) lockdown_unsolicited: u32,
    pub(crate) lockdown: u64,
    pub(crate) believes_after_miss: bool,
    pub(crate) no_fragments: bool,
    pub(crate) case: bool,
    from: Vec<Prefix>,
    to: Vec<Prefix>,
    no_tcp: Vec<Prefix>,
}

impl Terms {
    /// Of a policy without source addresses, cookies and learning, which the model leaves out.
    ///
    /// # Panics
    /// With a policy that learns.
    pub fn of(policy: &Policy) -> Self {
        let options = policy.salt();
        let both = |list: fn(&Policy, Family) -> Vec<Prefix>| {
            Family::BOTH.into_iter().flat_map(|family| list(policy, family)).collect()
        };
        assert!(options.case != Case::Learn, "the model does not learn");
        Terms {
            dns_ports: policy.dns_ports().to_vec(),
            ports: policy.ports().ranges().iter().map(|one| (one.low(), one.high())).collect(),
            lifetime: units(f64::from(options.lifetime)),
            max_identical: options.max_identical.into(),
            lockdown_after: options.lockdown_after.into(),
            lockdown_unsolicited: options.lockdown_unsolicited,
            lockdown: units(30.0),
            believes_after_miss: options.on_near_miss == OnNearMiss::Drop,
            no_fragments: options.fragments == Fragments::Drop,
            case: options.case != Case::Off,
            from: both(Policy::from),
            to: both(Policy::to),
            no_tcp: options.no_tcp.clone(),
        }
    }

    pub(crate) fn is_dns_port(&self, port: u16) -> bool {
        port != 0 && self.dns_ports.contains(&port)
    }

    pub(crate) fn may_leave_from(&self, port: u16) -> bool {
        self.ports.iter().any(|(low, high)| (*low..=*high).contains(&port))
    }

    pub(crate) fn in_scope(&self, client: IpAddr, server: IpAddr) -> bool {
        named(&self.from, client) && named(&self.to, server)
    }

    pub(crate) fn has_tcp(&self, client: IpAddr) -> bool {
        !self.no_tcp.iter().any(|prefix| prefix.contains(client))
    }
}

/// All are meant where none is named.
fn named(prefixes: &[Prefix], address: IpAddr) -> bool {
    prefixes.is_empty() || prefixes.iter().any(|prefix| prefix.contains(address))
}

fn units(seconds: f64) -> u64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let units = (seconds * UNITS_A_SECOND).ceil() as u64;
    units
}
