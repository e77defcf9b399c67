//! One query, as much of it as the tests of a series need.

use std::cmp::Ordering;

use crate::event::Address;

/// Units of a delay: small enough for a LAN, large enough that 16 bits reach 4 seconds.
const DELAY_UNIT: u64 = 64_000;

/// A query that was no retransmission, in 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Which server, as an index into the servers of its shard.
    pub server: u32,
    /// A hash of the question.
    pub question: u32,
    /// The source port.
    pub port: u16,
    /// The query ID.
    pub id: u16,
    /// Time until the right reply, in units of 64 µs, at least one; 0 if none was seen.
    pub(crate) delay: u16,
    /// Letters in the name.
    pub letters: u8,
    /// Upper-case letters among them.
    pub upper: u8,
}

impl Sample {
    /// A query as its server sees it: answered at once.
    pub fn answered_at_once(time: u64, [port, id]: [u16; 2], question: u32) -> Self {
        Sample { time, server: 0, question, port, id, delay: 1, letters: 0, upper: 0 }
    }

    /// Nanoseconds until the right reply; none if none was seen.
    pub fn delay(&self) -> Option<u64> {
        (self.delay > 0).then(|| u64::from(self.delay) * DELAY_UNIT)
    }

    pub(crate) fn answer_at(&mut self, time: u64) {
        let units = time.saturating_sub(self.time) / DELAY_UNIT;
        self.delay = u16::try_from(units.max(1)).unwrap_or(u16::MAX);
    }

    /// The order of samples, which is the order of time, and total: what is the same in it is the
    /// same sample.
    pub(crate) fn order(&self, other: &Self, servers: &[Address]) -> Ordering {
        let key = |s: &Self| (s.time, s.port, s.id, s.question);
        key(self).cmp(&key(other)).then_with(|| {
            let rest = |s: &Self| (servers[s.server as usize], s.delay, s.letters, s.upper);
            rest(self).cmp(&rest(other))
        })
    }
}
