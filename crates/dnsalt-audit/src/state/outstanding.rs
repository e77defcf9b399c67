//! Which queries wait for their reply: two small direct-mapped tables that may forget.
//!
//! ```text
//!   exact:   hash(client, server, port, ID) -> question, time, sample       is it the right reply?
//!   by_port: hash(client, port)             -> server, ID, time             if not, what is wrong?
//! ```
//!
//! A later query takes the place of an earlier one with the same hash. Thousands of outstanding
//! queries fit; what is forgotten counts neither as answered nor as forged.

use crate::event::{Address, Event, mix};

/// Places in each table of a shard: a power of two.
const PLACES: usize = 1 << 13;
/// After so long a query is a new one even if it looks like the last, and a reply is a late one.
pub(crate) const PATIENCE: u64 = 30_000_000_000;
/// So long after it was asked first, an answered query may be asked again because its reply got lost.
const LOST_REPLY: u64 = 10_000_000_000;

/// A query that was asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    key: u64,
    pub(crate) time: u64,
    pub(crate) question: u32,
    /// Where its sample is.
    pub(crate) sample: Option<u32>,
    pub(crate) answered: bool,
    pub(crate) cookie: Option<[u8; 8]>,
}

/// The last query from a port.
#[derive(Clone, Copy, Debug)]
struct FromPort {
    key: u64,
    time: u64,
    server: Address,
    id: u16,
    answered: bool,
}

/// What a reply that matches no query got wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    Id,
    Server,
    Port,
    /// It may answer a query that was forgotten, or given up.
    Late,
}

/// The tables of one shard.
#[derive(Clone, Debug)]
pub(crate) struct Outstanding {
    exact: Vec<Option<Asked>>,
    by_port: Vec<Option<FromPort>>,
}

impl Default for Outstanding {
    fn default() -> Self {
        Outstanding { exact: vec![None; PLACES], by_port: vec![None; PLACES] }
    }
}

fn exact_key(client: u64, event: &Event) -> u64 {
    let ports = u64::from(event.port) << 16 | u64::from(event.id);
    mix(client ^ event.server.hash().rotate_left(17) ^ ports.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn port_key(client: u64, event: &Event) -> u64 {
    mix(client ^ u64::from(event.port).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn place(key: u64) -> usize {
    (key & (PLACES as u64 - 1)) as usize
}

impl Outstanding {
    /// Whether it is the same query again: while it is outstanding, or soon after its reply, which
    /// may not have reached the client.
    pub(crate) fn is_retransmission(&mut self, client: u64, event: &Event) -> bool {
        let key = exact_key(client, event);
        let Some(asked) = &mut self.exact[place(key)] else { return false };
        if asked.key != key || asked.question != event.question {
            return false;
        }
        let since = event.time.saturating_sub(asked.time);
        if asked.answered {
            return since < LOST_REPLY;
        }
        if since < PATIENCE {
            asked.time = event.time;
        }
        since < PATIENCE
    }

    pub(crate) fn ask(
        &mut self,
        client: u64,
        event: &Event,
        sample: Option<u32>,
        cookie: Option<[u8; 8]>,
    ) {
        let key = exact_key(client, event);
        self.exact[place(key)] = Some(Asked {
            key,
            time: event.time,
            question: event.question,
            sample,
            answered: false,
            cookie,
        });
        let key = port_key(client, event);
        let Event { time, server, id, .. } = *event;
        self.by_port[place(key)] = Some(FromPort { key, time, server, id, answered: false });
    }

    /// The query that a reply names by server, port and ID.
    pub(crate) fn asked(&mut self, client: u64, event: &Event) -> Option<&mut Asked> {
        let key = exact_key(client, event);
        self.exact[place(key)].as_mut().filter(|asked| {
            asked.key == key && event.time.saturating_sub(asked.time) < PATIENCE
        })
    }

    /// Notes that the last query from a port was answered.
    pub(crate) fn answer(&mut self, client: u64, event: &Event) {
        let key = port_key(client, event);
        if let Some(from) = &mut self.by_port[place(key)]
            && from.key == key
            && from.id == event.id
        {
            from.answered = true;
        }
    }

    /// What a reply got wrong that names no query by server, port and ID.
    pub(crate) fn miss(&self, client: u64, event: &Event) -> Miss {
        let key = port_key(client, event);
        match &self.by_port[place(key)] {
            Some(from) if from.key == key => {
                if event.time.saturating_sub(from.time) >= PATIENCE {
                    Miss::Port
                } else if from.answered {
                    Miss::Late
                } else if from.server == event.server {
                    Miss::Id
                } else {
                    Miss::Server
                }
            }
            // Another port took the place: nothing is known of this one.
            Some(_) => Miss::Late,
            None => Miss::Port,
        }
    }
}
