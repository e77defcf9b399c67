//! What the salt engine does and what it is worth, for `status`.

use std::collections::BTreeMap;

use dnsalt_bpf::{Installed, counter_name};
use dnsalt_policy::{OnNearMiss, Policy};
use dnsalt_salt::layout::Counter;
use serde::Serialize;

/// Bits of the query ID.
const ID_BITS: f64 = 16.0;

/// The engine as it is.
#[derive(Debug, Serialize)]
pub(crate) struct SaltReport {
    /// The interfaces that it is on.
    pub(crate) interfaces: Vec<String>,
    /// log2 of the ports that are drawn from.
    pub(crate) port_bits: f64,
    /// Bits of the query ID.
    pub(crate) id_bits: f64,
    /// What a forged reply has to match, in bits, in the worst case.
    pub(crate) worst: f64,
    /// Whether a single near miss sends the client to TCP.
    pub(crate) one_guess: bool,
    /// Seconds that a query waits for its reply.
    pub(crate) lifetime: u8,
    /// By their names.
    counters: BTreeMap<&'static str, u64>,
}

impl SaltReport {
    pub(crate) fn of(policy: &Policy, installed: &Installed) -> Self {
        let port_bits = policy.ports().bits();
        let counters =
            Counter::ALL.map(|counter| (counter_name(counter), installed.count(counter)));
        SaltReport {
            interfaces: installed.interfaces.iter().map(|(name, _)| name.clone()).collect(),
            port_bits,
            id_bits: ID_BITS,
            worst: port_bits + ID_BITS,
            one_guess: policy.salt().on_near_miss == OnNearMiss::Tcp,
            lifetime: policy.salt().lifetime,
            counters: counters.into(),
        }
    }

    /// What was counted of one kind.
    pub(crate) fn count(&self, counter: Counter) -> u64 {
        self.counters[counter_name(counter)]
    }

    /// Line by line.
    pub(crate) fn lines(&self) -> Vec<(&'static str, String)> {
        let sum = |counters: &[Counter]| counters.iter().map(|c| self.count(*c)).sum::<u64>();
        let near = sum(&[Counter::WrongId, Counter::WrongQuestion, Counter::WrongServer]);
        let late = sum(&[Counter::Late, Counter::Duplicate]);
        let to_tcp = sum(&[Counter::AnsweredTc, Counter::Truncated]);
        let mut lines = vec![
            ("on", self.interfaces.join(", ")),
            ("replies", format!("{} right ones let in, once each", self.count(Counter::Restored))),
            (
                "dropped",
                format!(
                    "{} forged to ports where none waits, {near} near misses, {late} late or twice",
                    self.count(Counter::Forged)
                ),
            ),
        ];
        if to_tcp > 0 || self.count(Counter::Lockdowns) > 0 {
            let lockdowns = self.count(Counter::Lockdowns);
            lines.push(("to TCP", format!("{to_tcp} queries; {lockdowns} lockdowns began")));
        }
        let open = sum(&[Counter::Full, Counter::Unsalted, Counter::Passed]);
        if open > 0 {
            lines.push((
                "open",
                format!(
                    "{} queries left unsalted; {} replies came to such, or to ones from before `up`",
                    sum(&[Counter::Full, Counter::Unsalted]),
                    self.count(Counter::Passed)
                ),
            ));
        }
        let guess = if self.one_guess {
            "one near miss, and it is asked over TCP"
        } else {
            "no limit to guesses once the port is known"
        };
        lines.push((
            "bits now",
            format!(
                "{:.1} for every query: log2(ports) = {:.1}, ID {:.0};\n{:11}{guess}",
                self.worst, self.port_bits, self.id_bits, ""
            ),
        ));
        lines
    }
}
