//! Which queries wait for their reply: two small direct-mapped tables that may forget.
//!
//! ```text
//!   exact:   hash(client, server, port, ID) -> question, time, sample       is it the right reply?
//!   by_port: hash(client, port)             -> server, ID, time             if not, what is wrong?
//! ```
//!
//! A later query takes the place of an earlier one with the same hash. Thousands of outstanding
//! queries fit; what is forgotten counts neither as answered nor as forged. Entries are small, so that
//! the tables of all shards stay in the cache: addresses are kept as hashes, times in units that wrap
//! after three days.

use super::mark::Mismatch;
use crate::event::{Event, mix};

/// Places in each table of a shard: a power of two.
pub(crate) const PLACES: usize = 1 << 12;
/// Bits of a nanosecond that a time does without: units of 66 µs.
const TIME_SHIFT: u32 = 16;
/// After so many units a query is a new one even if it looks like the last, and a reply is a late
/// one: 30 seconds.
const PATIENCE: u32 = (PATIENCE_NANOS >> TIME_SHIFT) as u32;
/// The same in nanoseconds.
pub(crate) const PATIENCE_NANOS: u64 = 30_000_000_000;
/// So long after it was asked first, an answered query may be asked again because its reply got
/// lost: 10 seconds.
const LOST_REPLY: u32 = (10_000_000_000_u64 >> TIME_SHIFT) as u32;
/// No sample was kept.
pub(crate) const NO_SAMPLE: u32 = u32::MAX;

/// A query that was asked. All zero: none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    tag: u32,
    time: u32,
    pub(crate) question: u32,
    /// Where its sample is.
    pub(crate) sample: u32,
    /// A hash of the client cookie; 0 without one.
    pub(crate) cookie: u32,
    pub(crate) answered: bool,
}

impl Asked {
    /// Microseconds since it was asked.
    pub(crate) fn micros(&self, time: u64) -> u64 {
        (u64::from(units(time).wrapping_sub(self.time)) << TIME_SHIFT) / 1000
    }
}

/// The last query from a port. All zero: none.
#[derive(Clone, Copy, Debug, Default)]
struct FromPort {
    tag: u32,
    time: u32,
    server: u32,
    id: u16,
    answered: bool,
}

/// The tables of one shard.
#[derive(Clone, Debug)]
pub(crate) struct Outstanding {
    exact: Vec<Asked>,
    by_port: Vec<FromPort>,
}

impl Default for Outstanding {
    fn default() -> Self {
        Outstanding {
            exact: vec![Asked::default(); PLACES],
            by_port: vec![FromPort::default(); PLACES],
        }
    }
}

fn units(time: u64) -> u32 {
    (time >> TIME_SHIFT) as u32
}

/// Place and tag of a hash; no tag is 0.
fn split(hash: u64) -> (usize, u32) {
    ((hash & (PLACES as u64 - 1)) as usize, (hash >> 32) as u32 | 1)
}

/// Where a query or reply belongs in the tables.
#[derive(Clone, Copy)]
pub(crate) struct Keyed {
    exact: (usize, u32),
    by_port: (usize, u32),
    server: u32,
}

impl Keyed {
    /// The place of a query that waits: its number in the table.
    pub(crate) fn place(&self) -> usize {
        self.exact.0
    }

    /// Given the hashes of client and server.
    pub(crate) fn of(event: &Event, client: u64, server: u64) -> Self {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let ports = u64::from(event.port) << 16 | u64::from(event.id);
        Keyed {
            exact: split(mix(client ^ server.rotate_left(17) ^ ports.wrapping_mul(ODD))),
            by_port: split((client ^ u64::from(event.port).wrapping_mul(ODD)).wrapping_mul(ODD)),
            server: server as u32,
        }
    }
}

impl Outstanding {
    /// Reads the tables from end to end, which the memory does at full speed: they are in the cache then,
    /// and many packets that want one place each need not wait for it.
    pub(crate) fn warm(&self) {
        // One of each line of 64 bytes.
        let exact = self.exact.iter().step_by(2).fold(0, |sum, asked| sum ^ asked.tag);
        let by_port = self.by_port.iter().step_by(4).fold(0, |sum, from| sum ^ from.tag);
        std::hint::black_box((exact, by_port));
    }

    /// Looks at the places of a packet, so that they are in the cache when it is its turn.
    pub(crate) fn touch(&self, packet: Keyed) {
        std::hint::black_box((self.exact[packet.exact.0].tag, self.by_port[packet.by_port.0].tag));
    }

    /// Whether it is the same query again: while it is outstanding, or soon after its reply, which
    /// may not have reached the client.
    pub(crate) fn is_retransmission(&mut self, query: Keyed, event: &Event) -> bool {
        let (place, tag) = query.exact;
        let asked = &mut self.exact[place];
        if asked.tag != tag || asked.question != event.question {
            return false;
        }
        let now = units(event.time);
        let since = now.wrapping_sub(asked.time);
        if asked.answered {
            return since < LOST_REPLY;
        }
        if since < PATIENCE {
            asked.time = now;
        }
        since < PATIENCE
    }

    pub(crate) fn ask(&mut self, query: Keyed, event: &Event, sample: u32, cookie: u32) {
        let time = units(event.time);
        let (place, tag) = query.exact;
        let question = event.question;
        self.exact[place] = Asked { tag, time, question, sample, cookie, answered: false };
        let (place, tag) = query.by_port;
        let (server, id) = (query.server, event.id);
        self.by_port[place] = FromPort { tag, time, server, id, answered: false };
    }

    /// The query that a reply names by server, port and ID.
    pub(crate) fn asked(&mut self, reply: Keyed, event: &Event) -> Option<&mut Asked> {
        let (place, tag) = reply.exact;
        let now = units(event.time);
        let asked = &mut self.exact[place];
        (asked.tag == tag && now.wrapping_sub(asked.time) < PATIENCE).then_some(asked)
    }

    /// Notes that the last query from a port was answered.
    pub(crate) fn answer(&mut self, reply: Keyed, event: &Event) {
        let (place, tag) = reply.by_port;
        let from = &mut self.by_port[place];
        if from.tag == tag && from.id == event.id {
            from.answered = true;
        }
    }

    /// What a reply got wrong that names no query by server, port and ID.
    pub(crate) fn miss(&self, reply: Keyed, event: &Event) -> Mismatch {
        let (place, tag) = reply.by_port;
        let from = &self.by_port[place];
        if from.tag == 0 {
            return Mismatch::Port;
        }
        if from.tag != tag {
            return Mismatch::Late; // another port took the place: nothing is known of this one
        }
        if units(event.time).wrapping_sub(from.time) >= PATIENCE {
            Mismatch::Port
        } else if from.answered {
            Mismatch::Late
        } else if from.server == reply.server {
            Mismatch::Id
        } else {
            Mismatch::Server
        }
    }
}

/// A hash of a cookie; never 0.
pub(crate) fn cookie_hash(cookie: Option<[u8; 8]>) -> u32 {
    cookie.map_or(0, |cookie| mix(u64::from_le_bytes(cookie)) as u32 | 1)
}
