//! What the salt engine does and what it is worth, for `status`.

use std::collections::BTreeMap;

use dnsalt_bpf::{Installed, counter_name};
use dnsalt_policy::{Case, Family, OnNearMiss, Policy};
use dnsalt_salt::layout::Counter;
use dnsalt_salt::slot::GENERATION_BITS;
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
    /// Bits of the source address in the family that has the fewest; 0 if it is not drawn.
    pub(crate) address_bits: f64,
    /// Letters of random case in a query, on the mean of those that had some; none if none had.
    pub(crate) case_bits: Option<f64>,
    /// What a forged reply has to match, in bits, in the worst case: a name without letters.
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
        let drawn = policy.families().into_iter().map(|family| address_bits(policy, family));
        let address_bits = drawn.fold(f64::INFINITY, f64::min);
        let counters =
            Counter::ALL.map(|counter| (counter_name(counter), installed.count(counter)));
        SaltReport {
            interfaces: installed.interfaces.iter().map(|(name, _)| name.clone()).collect(),
            port_bits,
            id_bits: ID_BITS,
            case_bits: case_bits(policy, installed),
            address_bits,
            worst: port_bits + ID_BITS + address_bits,
            one_guess: policy.salt().on_near_miss == OnNearMiss::Tcp,
            lifetime: policy.salt().lifetime,
            counters: counters.into(),
        }
    }

    /// What was counted of one kind.
    pub(crate) fn count(&self, counter: Counter) -> u64 {
        self.counters[counter_name(counter)]
    }

    fn case_line(&self, letters: f64) -> String {
        let cased = self.count(Counter::Cased);
        let mut line = format!("{cased} queries with {letters:.1} random letters on the mean");
        let learned = self.count(Counter::CaseLearned);
        if learned > 0 {
            line += &format!("; {learned} times a server was\n{:11}found not to keep it", "");
        }
        line
    }

    fn cookie_line(&self) -> String {
        let count = |counter| self.count(counter);
        let mut line = format!(
            "{} queries with one, {} replies brought it back",
            count(Counter::Cookied),
            count(Counter::CookieReturned)
        );
        let missing = count(Counter::CookieMissing);
        if missing > 0 {
            line += &format!(";\n{:11}{missing} that should have did not", "");
        }
        line
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
        let some = |bits: f64| {
            if bits > 0.0 { format!(", address {bits:.1}") } else { String::new() }
        };
        let guess = if self.one_guess {
            "one near miss, and it is asked over TCP"
        } else {
            "no limit to guesses once the port is known"
        };
        if let Some(letters) = self.case_bits {
            lines.push(("case", self.case_line(letters)));
        }
        if self.count(Counter::Cookied) > 0 {
            lines.push(("cookies", self.cookie_line()));
        }
        lines.push((
            "bits now",
            format!(
                "{:.1} for every query: port {:.1}, ID {:.0}{}{};\n{:11}{guess}",
                self.worst,
                self.port_bits,
                self.id_bits,
                some(self.address_bits),
                self.case_bits.map_or_else(String::new, |bits| format!(", case {bits:.1} more")),
                ""
            ),
        ));
        lines
    }
}

/// Bits that source addresses of a family give.
pub(crate) fn address_bits(policy: &Policy, family: Family) -> f64 {
    policy.source().bits(family).min(f64::from(GENERATION_BITS))
}

/// Bits that the case of letters gave to those queries that had it; none where it is off.
#[allow(clippy::cast_precision_loss)] // counts stay far below 2^52
fn case_bits(policy: &Policy, installed: &Installed) -> Option<f64> {
    let cased = installed.count(Counter::Cased);
    let letters = installed.count(Counter::CasedLetters);
    (policy.salt().case != Case::Off && cased > 0).then(|| letters as f64 / cased as f64)
}
