//! Queries that wait for their replies, as they were seen leaving; and what replies are worth by that.
//!
//! ```text
//!   reply ─ to an address and port that a query left from, and waits? ─ no ──> NoQuery
//!            └ from the server that was asked? ─ no ──> WrongServer ┐
//!               └ with the ID that left? ─ no ──> WrongId           ├ near misses
//!                  └ with the question? ─ no ──> WrongQuestion      ┘
//!                     └ for the first time? ─ no ──> Again, else Right
//! ```

use std::collections::HashMap;

use dnsalt_audit::event::{Address, Event};

use super::history::SECOND;

/// Queries that are kept track of.
const MOST: usize = 1 << 17;

/// Looks are no more than seconds apart, in nanoseconds, unless the clock is set.
const JUMP: u64 = 60 * SECOND;

/// Queries that are kept for one address and port: whoever asks from a fixed port has all on one.
const MOST_A_PORT: usize = 256;

/// What a reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// What was waited for.
    Right,
    /// The same once more, or after its time.
    Again,
    /// A near miss: another query ID.
    WrongId,
    /// A near miss: another question.
    WrongQuestion,
    /// A near miss: from a server that was not asked from this port.
    WrongServer,
    /// To a port that no query waits at.
    NoQuery,
    /// Not to be told: not all queries before it were seen.
    Unknown,
}

/// A query that left.
#[derive(Clone, Copy, Debug)]
struct Query {
    server: Address,
    question: u32,
    id: u16,
    answered: bool,
    /// Until when it waits; nanoseconds since 1970.
    until: u64,
}

/// The queries that left a short while ago.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    /// By where the reply goes.
    queries: HashMap<(Address, u16), Vec<Query>>,
    kept: usize,
    /// How long a query waits, in nanoseconds.
    lifetime: u64,
    /// Until then a query may have left that is not here.
    blind_until: u64,
    /// When it was looked at last.
    looked: u64,
}

impl Waiting {
    /// None so far: those that left before `now` are not known.
    pub(crate) fn new(now: u64, lifetime: u64) -> Self {
        let queries = HashMap::new();
        Waiting { queries, kept: 0, lifetime, blind_until: now + lifetime, looked: now }
    }

    /// Sets how long queries wait from now on.
    pub(crate) fn set_lifetime(&mut self, lifetime: u64) {
        self.lifetime = lifetime;
    }

    /// Queries may have been missed just now.
    pub(crate) fn missed(&mut self, now: u64) {
        self.blind_until = now + self.lifetime;
    }

    /// A query leaves.
    pub(crate) fn asked(&mut self, event: &Event) {
        if self.kept >= MOST {
            self.missed(event.time);
            return;
        }
        let queries = self.queries.entry((event.client, event.port)).or_default();
        if queries.len() >= MOST_A_PORT {
            // One that was answered, if there is one; else one that waits, and may be missed.
            let answered = queries.iter().position(|query| query.answered);
            if answered.is_none() {
                self.blind_until = event.time + self.lifetime;
            }
            queries.remove(answered.unwrap_or(0));
            self.kept -= 1;
        }
        let Event { server, question, id, time, .. } = *event;
        queries.push(Query { server, question, id, answered: false, until: time + self.lifetime });
        self.kept += 1;
    }

    /// A reply comes; `questionless` if it does not repeat the question.
    pub(crate) fn replied(&mut self, event: &Event, questionless: bool) -> Reply {
        let none = if event.time < self.blind_until { Reply::Unknown } else { Reply::NoQuery };
        let Some(queries) = self.queries.get_mut(&(event.client, event.port)) else { return none };
        let fits = |query: &Query| {
            query.server == event.server
                && query.id == event.id
                && (questionless || query.question == event.question)
        };
        // The one that waits, should there be another that was answered.
        if let Some(query) = queries.iter_mut().filter(|q| fits(q)).min_by_key(|q| q.answered) {
            let again = query.answered || query.until < event.time;
            query.answered = true;
            return if again { Reply::Again } else { Reply::Right };
        }
        let waits = |query: &&Query| !query.answered && event.time <= query.until;
        let open: Vec<_> = queries.iter().filter(waits).collect();
        let asked: Vec<_> = open.iter().filter(|query| query.server == event.server).collect();
        match (open.is_empty(), asked.is_empty()) {
            (true, _) => none,
            (_, true) => Reply::WrongServer,
            _ if asked.iter().any(|query| query.id == event.id) => Reply::WrongQuestion,
            _ => Reply::WrongId,
        }
    }

    /// Forgets what is over; how many queries wait. Those over are kept for as long again, to tell what
    /// is late from what is forged.
    pub(crate) fn tick(&mut self, now: u64) -> usize {
        // The clock was set: nothing that was written down says any more when it is over.
        if now < self.looked || now - self.looked > JUMP {
            *self = Waiting::new(now, self.lifetime);
        }
        self.looked = now;
        let mut waiting = 0;
        let lifetime = self.lifetime;
        self.queries.retain(|_, queries| {
            queries.retain(|query| now < query.until + lifetime);
            waiting += queries.iter().filter(|query| !query.answered && now < query.until).count();
            !queries.is_empty()
        });
        self.kept = self.queries.values().map(Vec::len).sum();
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dnsalt_audit::event::{Kind, QueryTraits};

    const LIFETIME: u64 = 5;

    fn event(time: u64, server: u128, port: u16, id: u16, question: u32) -> Event {
        let kind = Kind::Query(QueryTraits::default());
        Event { time, client: Address(1), server: Address(server), port, id, question, kind }
    }

    fn waiting() -> Waiting {
        let mut waiting = Waiting::new(0, LIFETIME);
        waiting.asked(&event(10, 53, 4000, 7, 99));
        waiting
    }

    #[test]
    fn replies_are_told_apart() {
        let mut waiting = waiting();
        let mut reply = |server, port, id, question| {
            waiting.replied(&event(11, server, port, id, question), false)
        };
        assert_eq!(reply(53, 4001, 7, 99), Reply::NoQuery);
        assert_eq!(reply(54, 4000, 7, 99), Reply::WrongServer);
        assert_eq!(reply(53, 4000, 8, 99), Reply::WrongId);
        assert_eq!(reply(53, 4000, 7, 98), Reply::WrongQuestion);
        assert_eq!(reply(53, 4000, 7, 99), Reply::Right);
        assert_eq!(reply(53, 4000, 7, 99), Reply::Again);
        // Nobody waits there any more.
        assert_eq!(reply(53, 4000, 8, 99), Reply::NoQuery);
    }

    #[test]
    fn an_error_without_a_question_is_right() {
        assert_eq!(waiting().replied(&event(11, 53, 4000, 7, 0), true), Reply::Right);
    }

    #[test]
    fn what_comes_late_is_no_forgery() {
        let mut waiting = waiting();
        assert_eq!(waiting.tick(12), 1);
        assert_eq!(waiting.tick(16), 0);
        assert_eq!(waiting.replied(&event(17, 53, 4000, 7, 99), false), Reply::Again);
        assert_eq!(waiting.tick(21), 0);
        assert_eq!(waiting.replied(&event(22, 53, 4000, 7, 99), false), Reply::NoQuery);
    }

    #[test]
    fn what_was_asked_before_we_looked_is_not_known() {
        let mut waiting = Waiting::new(0, LIFETIME);
        assert_eq!(waiting.replied(&event(4, 53, 4000, 7, 99), false), Reply::Unknown);
        assert_eq!(waiting.replied(&event(5, 53, 4000, 7, 99), false), Reply::NoQuery);
    }

    #[test]
    fn a_clock_that_is_set_makes_it_begin_anew() {
        for set in [3, 1000 * JUMP] {
            let mut waiting = waiting();
            assert_eq!(waiting.tick(12), 1);
            assert_eq!(waiting.tick(set), 0);
            // What was asked before is not known any more, for as long as that may take.
            let mut reply = |after| waiting.replied(&event(set + after, 53, 4000, 7, 99), false);
            assert_eq!(reply(1), Reply::Unknown);
            assert_eq!(reply(LIFETIME), Reply::NoQuery);
            assert_eq!(waiting.kept, 0);
        }
    }

    #[test]
    fn there_are_never_more_than_so_many() {
        let mut waiting = Waiting::new(0, LIFETIME);
        for n in 0..MOST as u64 + 100 {
            let port = u16::try_from(n % 50_000).unwrap();
            waiting.asked(&event(10, 53, port, 7, 99));
        }
        assert_eq!(waiting.kept, MOST);
        // Some were not noted: nothing can be said of what fits none.
        assert_eq!(waiting.replied(&event(11, 53, 60_000, 7, 99), false), Reply::Unknown);
        assert_eq!(waiting.tick(100), 0);
        for id in 0..1000 {
            waiting.asked(&event(100, 53, 1, id, 99));
        }
        assert_eq!(waiting.kept, MOST_A_PORT);
    }
}
