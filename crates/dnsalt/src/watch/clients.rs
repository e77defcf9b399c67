//! Whose query it is that leaves: behind NAT its source is this machine, whoever asked.
//!
//! A query that is forwarded came in first, to the same server with the same question. So those that come
//! in are kept for a moment, in a table that may forget: each has one place, by a hash.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use dnsalt_audit::event::{Address, Event};

use super::history::SECOND;

/// Places.
const PLACES: usize = 1 << 12;

/// For how long what came in may leave again.
const MOMENT: u64 = 2 * SECOND;

/// What came in.
#[derive(Clone, Copy, Debug)]
struct Arrived {
    client: Address,
    server: Address,
    question: u32,
    time: u64,
}

/// Queries that came in a moment ago.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    arrived: Vec<Option<Arrived>>,
}

impl Clients {
    pub(crate) fn new() -> Self {
        Clients { arrived: vec![None; PLACES] }
    }

    /// A query comes in.
    pub(crate) fn came(&mut self, event: &Event) {
        let Event { client, server, question, time, .. } = *event;
        self.arrived[place(event)] = Some(Arrived { client, server, question, time });
    }

    /// Who asked a query that leaves: whoever it came from, or else its source.
    pub(crate) fn of(&self, event: &Event) -> Address {
        let same = |arrived: &Arrived| {
            arrived.server == event.server
                && arrived.question == event.question
                // Each interface is read on its own: one may be a little ahead.
                && arrived.time.abs_diff(event.time) < MOMENT
        };
        self.arrived[place(event)].filter(same).map_or(event.client, |arrived| arrived.client)
    }
}

fn place(event: &Event) -> usize {
    let mut hasher = DefaultHasher::new();
    (event.server, event.question).hash(&mut hasher);
    usize::try_from(hasher.finish() % PLACES as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dnsalt_audit::event::{Kind, QueryTraits};

    fn event(time: u64, client: u128, server: u128, question: u32) -> Event {
        let kind = Kind::Query(QueryTraits::default());
        let (client, server) = (Address(client), Address(server));
        Event { time, client, server, port: 1, id: 1, question, kind }
    }

    #[test]
    fn a_query_that_came_in_is_of_whom_it_came_from() {
        let mut clients = Clients::new();
        clients.came(&event(10, 77, 53, 5));
        assert_eq!(clients.of(&event(11, 1, 53, 5)), Address(77));
        assert_eq!(clients.of(&event(11, 1, 54, 5)), Address(1), "another server");
        assert_eq!(clients.of(&event(11, 1, 53, 6)), Address(1), "another question");
        assert_eq!(clients.of(&event(11 + MOMENT, 1, 53, 5)), Address(1), "long ago");
    }
}
