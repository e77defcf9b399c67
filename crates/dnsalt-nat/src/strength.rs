//! What the rules are worth, in bits, with the formulae.
//!
//! An off-path attacker has to hit an open port: a mapping that leads to the program that asks.
//! With `P` ports (times addresses of a pool) and `D` open mappings between one client's socket
//! and one server, a forged packet has a chance of `D / P`: log2(`P` / `D`) bits. RFC 5452 section
//! 7 has the same `D` and `P`; the query ID adds 16 bits if it is random, and that is not ours.
//!
//! - Per flow, `D` is 1, but a program that goes on asking from one socket goes on using one port.
//! - Per query, every mapping stays open for its lifetime `L` after the query: `D` = rate * `L`.

use std::collections::HashMap;

use dnsalt_policy::{Family, Policy};

use crate::conntrack::{self, Entry};

/// What a policy's rules are worth to one address family.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Strength {
    /// Ports times source addresses to draw from.
    pub choices: u32,
    /// Seconds that a mapping stays open after the last packet.
    pub lifetime: u64,
    /// Whether every query has a mapping of its own.
    pub per_query: bool,
}

impl Strength {
    /// For rules whose UDP flows live for `lifetime` seconds.
    pub fn new(policy: &Policy, family: Family, lifetime: u64) -> Self {
        let addresses = u32::try_from(policy.source().pool(family).len()).unwrap_or(1).max(1);
        Strength {
            choices: policy.ports().count() * addresses,
            lifetime,
            per_query: policy.per_query(),
        }
    }

    /// For a policy whose timeouts are in force.
    pub fn of(policy: &Policy, family: Family) -> Self {
        let lifetime = policy.timeout().map_or_else(conntrack::default_timeout, u64::from);
        Self::new(policy, family, lifetime)
    }

    /// For the family that has the fewest choices: the same in both, but for a pool that has more
    /// addresses in one.
    pub fn weakest(policy: &Policy) -> Self {
        let covered = policy.families().into_iter().map(|family| Self::of(policy, family));
        let weakest = covered.min_by_key(|strength| strength.choices);
        // A policy covers a family at least.
        weakest.unwrap_or_else(|| Self::of(policy, Family::V4))
    }

    /// Bits against one open mapping: log2(P).
    pub fn fresh_bits(&self) -> f64 {
        f64::from(self.choices).log2()
    }

    /// Bits left with `open` mappings between one socket and one server: log2(P / D), 0 at least.
    pub fn bits_with(&self, open: f64) -> f64 {
        (f64::from(self.choices) / open.max(1.0)).log2().max(0.0)
    }

    /// Bits left at a rate of queries a second from one socket to one server.
    pub fn bits_at(&self, rate: f64) -> f64 {
        let lifetime = self.lifetime as f64;
        self.bits_with(if self.per_query { rate * lifetime } else { 1.0 })
    }

    /// Queries a second to one server at which all ports are taken and queries get lost: P / L.
    /// None for per-flow ports, where a client's queries share one.
    pub fn cap(&self) -> Option<u64> {
        self.per_query.then(|| u64::from(self.choices) / self.lifetime.max(1))
    }
}

/// The most mappings that are open between one socket of a client and one server, now: `D`.
pub fn most_open(entries: &[Entry]) -> usize {
    let mut open = HashMap::<_, usize>::new();
    for entry in entries.iter().filter(|entry| entry.udp) {
        *open.entry((entry.client, entry.server)).or_default() += 1;
    }
    open.into_values().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dnsalt_policy::Settings;

    fn strength(per_query: bool, source: &str, lifetime: u64) -> Strength {
        let settings = Settings {
            per_query: Some(per_query),
            source: Some(source.parse().unwrap()),
            avoid: Some(Vec::new()),
            ..Settings::default()
        };
        Strength::new(&settings.resolve().unwrap(), Family::V4, lifetime)
    }

    #[test]
    fn per_query_bits_fall_with_rate_and_lifetime() {
        let short = strength(true, "masquerade", 1);
        let long = strength(true, "masquerade", 30);
        assert!((short.bits_at(100.0) - 9.33).abs() < 0.01);
        assert!((long.bits_at(100.0) - 4.43).abs() < 0.01);
        assert_eq!(long.cap(), Some(2150));
        assert!(long.bits_at(1e9).abs() < f64::EPSILON, "never below 0");
    }

    #[test]
    fn per_flow_bits_do_not_depend_on_the_rate() {
        let flow = strength(false, "masquerade", 2);
        assert!((flow.bits_at(1e6) - 15.977).abs() < 0.001);
        assert_eq!(flow.cap(), None);
    }

    #[test]
    fn a_pool_adds_its_logarithm() {
        let pool = strength(false, "192.0.2.1-192.0.2.4", 2);
        assert!((pool.fresh_bits() - 17.977).abs() < 0.001);
    }
}
