//! Which ports and query IDs the attacker tries, in which order. None twice in a window, unless
//! the ID is foreseen.
// Remainders and quotients that are below 2^16 by what they were divided by.
#![allow(clippy::cast_possible_truncation)]

use std::hash::{BuildHasher as _, RandomState};
use std::ops::RangeInclusive;

use super::attacker::Lesson;
use super::scenario::{Attack, Kind, Told};

/// Query IDs that there are.
const IDS: u64 = 1 << 16;
/// A prime beyond any number of pairs of a port and an ID: steps of it come by every pair before they
/// come by one again.
const STEP: u64 = 4_294_967_311;
/// IDs around the expected one.
const NEAR: u64 = 64;
/// One port in so many is left to a NAT that is steered: the kernel looks at so many in a row before it
/// tries elsewhere.
const FREE: usize = 128;

/// The ports that are left to a NAT that is steered.
pub(super) fn left_free(all: &RangeInclusive<u16>) -> Vec<u16> {
    all.clone().step_by(FREE).collect()
}

/// The pairs to try.
#[derive(Debug)]
pub(super) struct Guesses {
    ports: Vec<u16>,
    at: u64,
    /// The ID that is expected next, where they count.
    expected: Option<u16>,
    told: Option<(Told, u16)>,
    tried: u64,
}

impl Guesses {
    pub(super) fn new(attack: &Attack, lesson: &Lesson, found: Option<u16>) -> Self {
        let ports = match attack.kind {
            // The last one seen, also where they change: there is nothing better to go by.
            Kind::KnownPort => lesson.ports.last().copied().into_iter().collect(),
            Kind::Scan => found.into_iter().collect(),
            Kind::Spray => attack.ports.clone().collect(),
            Kind::Steer => left_free(&attack.ports),
        };
        let expected = lesson.ids.last().filter(|_| lesson.ids_count()).copied();
        let at = RandomState::new().hash_one(0);
        Guesses { ports, at, expected, told: None, tried: 0 }
    }

    /// Every window begins somewhere else.
    pub(super) fn next_window(&mut self, told: Option<(Told, u16)>) {
        self.told = told;
        self.expected = self.expected.map(|id| id.wrapping_add(1));
        self.at = RandomState::new().hash_one(self.at);
        self.tried = 0;
    }

    /// The next few.
    pub(super) fn take(&mut self, count: usize) -> Vec<(u16, u16)> {
        (0..count).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> (u16, u16) {
        let ports = self.ports.len().max(1) as u64;
        let tried = self.tried;
        self.tried += 1;
        // One after the other through all there are, from anywhere.
        let mut step = |pairs: u64| {
            self.at = (self.at % pairs + STEP) % pairs;
            self.at
        };
        let port = |place: u64| self.ports.get(place as usize).copied().unwrap_or(1);
        match (self.told, self.expected) {
            (Some((Told::Port, port)), _) => (port, step(IDS) as u16),
            (Some((Told::Id, id)), _) => (port(step(ports)), id),
            (None, Some(expected)) => {
                // Near what is expected, as others ask too: 0, 1, -1, 2, -2 ... of all ports. Again and
                // again: the first may come before the query has left.
                let (round, first) = (tried / ports % NEAR, tried % ports);
                let away = round.div_ceil(2) as u16;
                let id = if round % 2 == 1 {
                    expected.wrapping_add(away)
                } else {
                    expected.wrapping_sub(away)
                };
                (port(first), id)
            }
            (None, None) => {
                let pair = step(ports * IDS);
                (port(pair % ports), (pair / ports) as u16)
            }
        }
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
            told: None,
            rate: 1e5,
            lasts: Duration::ZERO,
            windows: None,
            packets: None,
            goes_on: false,
        };
        let lesson = Lesson {
            addresses: vec![Ipv4Addr::LOCALHOST],
            ports: vec![7; ids.len()],
            ids: ids.to_vec(),
        };
        let mut guesses = Guesses::new(&attack, &lesson, None);
        guesses.next_window(None);
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
        let mut known = guesses(Kind::KnownPort, 1..=9, &[65_533, 65_534, 65_535]);
        assert_eq!(known.take(4), [(7, 0), (7, 1), (7, 65_535), (7, 2)]);
        assert_eq!(known.take(1000).into_iter().collect::<HashSet<_>>().len(), 64);
        let mut spray = guesses(Kind::Spray, 5..=6, &[65_533, 65_534, 65_535]);
        assert_eq!(spray.take(4), [(5, 0), (6, 0), (5, 1), (6, 1)]);
    }

    #[test]
    fn what_it_is_told_is_not_guessed() {
        let mut guesses = guesses(Kind::Spray, 1..=256, &[1, 2, 3]);
        guesses.next_window(Some((Told::Id, 77)));
        let all: HashSet<_> = guesses.take(256).into_iter().collect();
        assert!(all.len() == 256 && all.iter().all(|(_, id)| *id == 77));
        guesses.next_window(Some((Told::Port, 99)));
        let all: HashSet<_> = guesses.take(1000).into_iter().collect();
        assert!(all.len() == 1000 && all.iter().all(|(port, _)| *port == 99));
    }
}
