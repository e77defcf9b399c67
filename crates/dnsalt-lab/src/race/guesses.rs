//! Which ports and query IDs the attacker tries, in which order. None twice in a window.
// Remainders and quotients that are below 2^16 by what they were divided by.
#![allow(clippy::cast_possible_truncation)]

use std::hash::{BuildHasher as _, RandomState};
use std::ops::RangeInclusive;

use super::attacker::Lesson;
use super::scenario::{Attack, Kind};

/// Query IDs that there are.
const IDS: u64 = 1 << 16;
/// A prime beyond any number of pairs of a port and an ID: steps of it come by every pair before they
/// come by one again.
const STEP: u64 = 4_294_967_311;

/// The pairs to try.
#[derive(Debug)]
pub(super) struct Guesses {
    first_port: u64,
    ports: u64,
    at: u64,
    /// The ID that is expected next, where they count.
    expected: Option<u16>,
    tried: u64,
}

impl Guesses {
    pub(super) fn new(attack: &Attack, lesson: &Lesson, found: Option<u16>) -> Self {
        let range: RangeInclusive<u16> = match attack.kind {
            // The last one seen, also where they change: there is nothing better to go by.
            Kind::KnownPort => lesson.ports.last().map_or(1..=1, |port| *port..=*port),
            Kind::Scan => found.map_or(1..=1, |port| port..=port),
            Kind::Spray => attack.ports.clone(),
        };
        let expected =
            lesson.ids.last().filter(|_| lesson.ids_count() && attack.kind != Kind::Spray);
        Guesses {
            first_port: u64::from(*range.start()),
            ports: u64::from(range.end().saturating_sub(*range.start())) + 1,
            at: RandomState::new().hash_one(0),
            expected: expected.copied(),
            tried: 0,
        }
    }

    /// Every window begins somewhere else.
    pub(super) fn next_window(&mut self) {
        self.at = RandomState::new().hash_one(self.at) % self.pairs();
        self.expected = self.expected.map(|id| id.wrapping_add(1));
        self.tried = 0;
    }

    fn pairs(&self) -> u64 {
        self.ports * IDS
    }

    /// The next few.
    pub(super) fn take(&mut self, count: usize) -> Vec<(u16, u16)> {
        (0..count).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> (u16, u16) {
        let tried = self.tried;
        self.tried += 1;
        if let Some(expected) = self.expected {
            // Near what is expected first: others ask as well. 0, 1, -1, 2, -2 ...
            let away = (tried.div_ceil(2) % IDS) as u16;
            let id = if tried % 2 == 1 {
                expected.wrapping_add(away)
            } else {
                expected.wrapping_sub(away)
            };
            return (self.first_port as u16, id);
        }
        self.at = (self.at + STEP) % self.pairs();
        let (port, id) = (self.at % self.ports, self.at / self.ports);
        ((self.first_port + port) as u16, id as u16)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    fn guesses(kind: Kind, ports: RangeInclusive<u16>, ids: &[u16]) -> Guesses {
        let attack = Attack {
            kind,
            ports,
            rate: 1e5,
            lasts: Duration::ZERO,
            windows: None,
            packets: None,
            goes_on: false,
        };
        let lesson =
            Lesson { address: Ipv4Addr::LOCALHOST, ports: vec![7; ids.len()], ids: ids.to_vec() };
        let mut guesses = Guesses::new(&attack, &lesson, None);
        guesses.next_window();
        guesses
    }

    #[test]
    fn all_pairs_come_once() {
        for ports in [1..=1, 40_000..=40_002, 1024..=1056] {
            let count = usize::from(ports.end() - ports.start() + 1) << 16;
            let mut guesses = guesses(Kind::Spray, ports.clone(), &[9, 500, 77]);
            let all: HashSet<_> = guesses.take(count).into_iter().collect();
            assert_eq!(all.len(), count);
            assert!(all.iter().all(|(port, _)| ports.contains(port)));
        }
    }

    #[test]
    fn where_ids_count_the_next_one_comes_first() {
        let mut guesses = guesses(Kind::KnownPort, 1..=9, &[65_533, 65_534, 65_535]);
        assert_eq!(guesses.take(4), [(7, 0), (7, 1), (7, 65_535), (7, 2)]);
        assert_eq!(guesses.take(65_532).into_iter().collect::<HashSet<_>>().len(), 65_532);
    }
}
