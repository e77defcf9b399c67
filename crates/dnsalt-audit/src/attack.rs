//! How long an attacker needs (RFC 5452 section 7).
//!
//! One window, the time until the right reply comes, succeeds with P = D R W / (N P I): D identical
//! queries outstanding, R forged packets a second, W seconds, N servers that the reply may have to
//! come from, P ports, I query IDs. Who can have a new query asked at once (Kaminsky) never waits, so
//! that after t seconds the chance is 1 - exp(-D R t / (N P I)): even after ln 2 N P I / (D R).

use serde::{Deserialize, Serialize};

/// Somebody who forges replies without seeing the queries.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Attacker {
    /// Forged packets a second.
    pub rate: f64,
    /// Servers that the right reply may come from.
    pub servers: f64,
}

/// Bytes of a forged packet: a reply with one record, as the sums of RFC 5452 have it, and its frame.
pub const PACKET: f64 = 100.0;

impl Default for Attacker {
    /// 100 Mbit/s of packets of 100 bytes, against one server.
    fn default() -> Self {
        Attacker { rate: 100e6 / 8.0 / PACKET, servers: 1.0 }
    }
}

/// What a forged reply has to match.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// P: 1 / (chance of the best guess at the port).
    pub ports: f64,
    /// I: the same of the query ID.
    pub ids: f64,
    /// Bits that random case of letters adds.
    pub case_bits: f64,
    /// Bits that cookies add: 64 where every server enforces them.
    pub cookie_bits: f64,
    /// D: the largest number of identical queries outstanding at a time.
    pub identical: f64,
    /// Where the resolver leaves UDP after so many near misses: how many, and how long a window
    /// takes in seconds.
    pub gives_up: Option<(f64, f64)>,
}

impl Target {
    /// All that has to be guessed, in bits, less what identical queries give away.
    pub fn bits(&self) -> f64 {
        (self.ports * self.ids / self.identical).log2() + self.case_bits + self.cookie_bits
    }

    /// Seconds until the attack has succeeded with a chance of one half.
    pub fn t50(&self, attacker: Attacker) -> f64 {
        let ln2 = std::f64::consts::LN_2;
        let guesses = attacker.servers * self.bits().exp2();
        let racing = ln2 * guesses / attacker.rate;
        // A resolver that gives up lets at most k guesses at the ID through in each window.
        let patient = self.gives_up.map_or(0.0, |(misses, window)| {
            ln2 * self.ids * (self.case_bits + self.cookie_bits).exp2() * window
                / (misses * self.identical)
        });
        racing.max(patient)
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The next value is known, or the attack takes under a minute.
    Broken,
    /// Under an hour.
    Weak,
    /// Too few queries to tell.
    Unknown,
    /// Under a year.
    Fair,
    /// A year or more.
    Strong,
}

impl Verdict {
    /// By the time that the attack takes.
    pub fn of(t50: f64) -> Self {
        match t50 {
            t if t < 60.0 => Verdict::Broken,
            t if t < 3600.0 => Verdict::Weak,
            t if t < 365.25 * 86_400.0 => Verdict::Fair,
            _ => Verdict::Strong,
        }
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Broken => "broken",
            Verdict::Weak => "weak",
            Verdict::Unknown => "unknown",
            Verdict::Fair => "fair",
            Verdict::Strong => "strong",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(ports: f64) -> Target {
        Target {
            ports,
            ids: 65_536.0,
            case_bits: 0.0,
            cookie_bits: 0.0,
            identical: 1.0,
            gives_up: None,
        }
    }

    #[test]
    fn the_figures_of_rfc_5452() {
        // Section 8.1: at 7,000 packets a second, 7 s with one port, 116 h with 64,000.
        let attacker = Attacker { rate: 7000.0, servers: 1.0 };
        assert!((target(1.0).t50(attacker) - 6.5).abs() < 0.05);
        assert!((target(64_000.0).t50(attacker) / 3600.0 - 115.3).abs() < 0.2);
    }

    #[test]
    fn identical_queries_help_and_more_bits_hinder() {
        let attacker = Attacker::default();
        let plain = target(64_512.0);
        let birthday = Target { identical: 64.0, ..plain };
        assert!((plain.t50(attacker) / birthday.t50(attacker) - 64.0).abs() < 1e-6);
        let case = Target { case_bits: 10.0, ..plain };
        assert!((case.t50(attacker) / plain.t50(attacker) - 1024.0).abs() < 1e-6);
    }

    #[test]
    fn who_gives_up_is_attacked_once_a_window() {
        // One guess in 0.1 s at 65,536 IDs: 75 minutes, not half a second.
        let wary = Target { gives_up: Some((1.0, 0.1)), ..target(1.0) };
        assert!((wary.t50(Attacker::default()) / 60.0 - 75.7).abs() < 0.1);
    }

    #[test]
    fn verdicts_from_worst_to_best() {
        assert_eq!(Verdict::of(59.9), Verdict::Broken);
        assert_eq!(Verdict::of(60.0), Verdict::Weak);
        assert_eq!(Verdict::of(3600.0), Verdict::Fair);
        assert_eq!(Verdict::of(4e7), Verdict::Strong);
        assert!(Verdict::Broken < Verdict::Weak && Verdict::Unknown < Verdict::Fair);
    }
}
