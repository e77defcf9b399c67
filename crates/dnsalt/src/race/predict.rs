//! What should come of a race (RFC 5452 section 7).
//!
//! In one window an attacker who sends K different guesses is right with the chance K / (N P I): N servers
//! that the reply may have to come from, P ports and I query IDs that it has to choose among. Where the
//! first near miss sends the query to TCP, only the first packet that meets the port counts: its chance is
//! that to meet the port, min(1, K / (N P)), times 1 / I. Where the letters of names get a random case, each
//! of them halves it; where the source address is drawn, its chance is that of one among A; where queries
//! get a DNS cookie and the servers have some, it is one among 2^64.

use dnsalt_lab::race::{Attacked, Engine, Kind, Scenario, Told};
use dnsalt_policy::{Case, Cookies, Family, OnNearMiss, Settings};
use serde::Serialize;

/// One in so many ports is left free by who steers a NAT.
const STEERED: f64 = 128.0;
/// Query IDs that there are.
const IDS: f64 = 65_536.0;

/// The formula with its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Prediction {
    /// P: ports that the attacker has to choose among.
    pub(crate) ports: f64,
    /// I: query IDs that it has to choose among.
    pub(crate) ids: f64,
    /// L: letters of the name whose case it has to guess.
    pub(crate) letters: u32,
    /// Bits of the cookie that it has to guess.
    pub(crate) cookie_bits: u32,
    /// A: source addresses that it has to choose among.
    pub(crate) addresses: f64,
    /// K: guesses in a window, on average.
    pub(crate) guesses: f64,
    /// Whether the first near miss ends the window.
    pub(crate) one_guess: bool,
    /// The chance to win a window.
    pub(crate) window: f64,
    /// The chance to have won one in as many as there were.
    pub(crate) chance: f64,
    /// Seconds until the chance is one half, if it went on like this.
    pub(crate) even_odds: Option<f64>,
}

impl Prediction {
    /// For what an attacker did.
    pub(crate) fn of(scenario: &Scenario, attacked: &Attacked) -> Self {
        let (attack, policy) = (&scenario.attack, &scenario.protection.policy);
        let engine = scenario.protection.engine;
        let sprayed = f64::from(attack.ports.end() - attack.ports.start()) + 1.0;
        // Who takes one port for the right one chooses among all that it may be.
        let drawn = match engine {
            Engine::None => scenario.victim.resolver.ports().len() as f64,
            Engine::Recipe => sprayed,
            Engine::Nat | Engine::Salt => policy_ports(policy),
        };
        let ports = match (attack.told, attack.kind) {
            (Some(Told::Port), _) => 1.0,
            (_, Kind::Scan) if attacked.scan.as_ref().is_some_and(|scan| scan.port.is_some()) => {
                1.0
            }
            (_, Kind::Scan | Kind::Spray) => sprayed,
            (_, Kind::Steer) if engine == Engine::Recipe => (sprayed / STEERED).ceil(),
            // It goes for one, or for a few, and the query may leave from any.
            (_, Kind::KnownPort | Kind::Steer) => drawn,
        };
        // Only the salt engine changes IDs that count.
        let counted = attacked.lesson.ids_count() && engine != Engine::Salt;
        let ids = if attack.told == Some(Told::Id) || counted { 1.0 } else { IDS };
        // One that was won was open, even if it was over before the name server had seen the query.
        let won = u64::from(attacked.poisoned.is_some());
        let windows = attacked.windows.max(won) as f64;
        let guesses = attacked.forged as f64 / windows.max(1.0);
        let one_guess = engine == Engine::Salt
            && policy.on_near_miss.unwrap_or(OnNearMiss::Tcp) == OnNearMiss::Tcp;
        let ports = ports * f64::from(scenario.network.servers);
        let window = if one_guess {
            (guesses / ports).min(1.0) / ids
        } else if attack.kind == Kind::KnownPort {
            // All of them at one port: more than there are IDs are in vain.
            (guesses / ids).min(1.0) / ports
        } else {
            (guesses / (ports * ids)).min(1.0)
        };
        let letters = letters(engine, policy);
        let addresses = addresses(engine, policy);
        let cookie_bits = cookie_bits(scenario);
        let window = window / 2_f64.powf(f64::from(letters + cookie_bits)) / addresses;
        // A window that never opened, as the query went over TCP at once, cannot be won.
        let window = window * attacked.open.max(won) as f64 / windows.max(1.0);
        let chance = 1.0 - (1.0 - window).powf(windows);
        let even_odds = (window > 0.0 && attacked.seconds > 0.0).then(|| {
            let each = attacked.seconds / windows;
            // Windows until the chance is one half; at least one.
            (std::f64::consts::LN_2 / -(-window).ln_1p()).max(1.0) * each
        });
        Prediction {
            ports,
            ids,
            letters,
            cookie_bits,
            addresses,
            guesses,
            one_guess,
            window,
            chance,
            even_odds,
        }
    }
}

/// Letters of the names that the attacker has asked.
fn letters(engine: Engine, policy: &Settings) -> u32 {
    let changes = engine == Engine::Salt && policy.case.unwrap_or(Case::Learn) != Case::Off;
    if changes { dnsalt_lab::race::LETTERS } else { 0 }
}

/// Bits of the client cookie, if both have some: the engine and the servers.
fn cookie_bits(scenario: &Scenario) -> u32 {
    let added = scenario.protection.engine == Engine::Salt
        && scenario.protection.policy.cookies == Some(Cookies::On)
        && !scenario.victim.resolver.has_cookies();
    if added && scenario.network.cookies { 64 } else { 0 }
}

/// Addresses that queries may leave from. It goes for one of them in each window.
fn addresses(engine: Engine, policy: &Settings) -> f64 {
    match &policy.source {
        Some(source) if matches!(engine, Engine::Nat | Engine::Salt) => {
            2_f64.powf(source.bits(Family::V4))
        }
        _ => 1.0,
    }
}

fn policy_ports(settings: &Settings) -> f64 {
    settings.clone().resolve().map_or(0.0, |policy| f64::from(policy.ports().count()))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use dnsalt_lab::race::{Lesson, Poisoned};

    use super::*;

    fn scenario(protection: &str, attack: &str) -> Scenario {
        let text = format!(
            "title = 't'\nvictim.resolver = 'bind-fixed'\nprotection = {{ {protection} }}\n\
             attack = {{ {attack}, for = '1s' }}"
        );
        Scenario::parse(&text).unwrap()
    }

    fn attacked(ids: &[u16]) -> Attacked {
        let lesson = Lesson {
            addresses: vec![Ipv4Addr::LOCALHOST],
            ports: vec![1; ids.len()],
            ids: ids.to_vec(),
        };
        Attacked {
            lesson,
            scan: None,
            windows: 10,
            open: 10,
            hits: 0,
            failures: 0,
            forged: 65_536,
            seconds: 2.0,
            poisoned: None,
        }
    }

    fn predicted(protection: &str, attack: &str, ids: &[u16]) -> Prediction {
        Prediction::of(&scenario(protection, attack), &attacked(ids))
    }

    #[test]
    fn what_was_won_at_once_was_open() {
        let won = Poisoned {
            after: 0.001,
            window: 1,
            name: "r0.bank.test".to_owned(),
            cached: true,
            whole_zone: true,
        };
        let mut attacked = Attacked { windows: 1, open: 0, ..attacked(&[4, 5, 6]) };
        let scenario = scenario("engine = 'none'", "kind = 'known-port'");
        assert_eq!(Prediction::of(&scenario, &attacked).even_odds, None);
        attacked.poisoned = Some(won);
        assert_eq!(Prediction::of(&scenario, &attacked).even_odds, Some(2.0));
    }

    #[test]
    fn the_formula() {
        let known = "kind = 'known-port'";
        let random = [9, 4000, 77];
        let p = predicted("engine = 'none'", known, &random);
        assert!((p.ports, p.ids) == (1.0, 65_536.0) && (p.window - 0.1).abs() < 1e-9);
        // ln 2 / -ln 0.9 = 6.58 windows of 0.2 s.
        assert!((p.even_odds.unwrap() - 1.316).abs() < 0.001 && (p.chance - 0.651).abs() < 0.001);
        let p = predicted("engine = 'none'", known, &[4, 5, 6]);
        assert!((p.window - 1.0).abs() < 1e-9 && p.even_odds == Some(0.2));
        let p = predicted("engine = 'nat'", known, &[4, 5, 6]);
        assert!((p.window * 64_508.0 - 1.0).abs() < 1e-9, "{p:?}");
        let p = predicted("engine = 'nat'", "kind = 'spray'", &random);
        assert!((p.window * 64_512.0 - 0.1).abs() < 1e-9);
        let p = predicted("engine = 'recipe'", "kind = 'steer', ports = '1024-2047'", &random);
        assert!((p.window * 8.0 - 0.1).abs() < 1e-9);
        // One guess: the port is met by each tenth window at best, and the ID must be right.
        let p = predicted("engine = 'salt'", "kind = 'spray'", &[4, 5, 6]);
        let all = 64_512.0 * 65_536.0 * 512.0;
        assert!(p.one_guess && p.letters == 9 && (p.window * all - 6553.6).abs() < 1e-6);
        let few = "engine = 'salt', policy.case = 'off', policy.on-near-miss = 'drop', policy.ports = '40000-40255'";
        let p = predicted(few, "kind = 'spray', told = 'id', ports = '40000-40255'", &random);
        assert!((p.ports, p.ids, p.window) == (256.0, 1.0, 1.0));
        let drawn = format!("{few}, policy.source = '10.53.5.0/28'");
        let p = predicted(&drawn, "kind = 'spray', told = 'id', ports = '40000-40255'", &random);
        assert!((p.addresses, p.window) == (16.0, 1.0 / 16.0));
    }
}
