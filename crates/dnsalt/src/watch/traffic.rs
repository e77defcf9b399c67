//! What is seen on the wire: packets in, counts out. Pure, and of bounded memory whatever comes.

use std::collections::VecDeque;

use dnsalt_audit::event::{Address, Event, Kind};

use super::clients::Clients;
use super::history::{History, SECOND};
use super::sample::Seen;
use super::top::Top;
use super::waiting::{Reply, Waiting};

/// Addresses that are kept in each list.
const PLACES: usize = 512;

/// Queries whose ports and IDs are kept: enough for the widest terminal.
const POINTS: usize = 4096;

/// How long a query waits for its reply, where no engine says otherwise.
const LIFETIME: u64 = 5 * SECOND;

/// What a query left with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) port: u16,
    pub(crate) id: u16,
}

/// What came in a server's name and was no right reply.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Misses {
    pub(crate) wrong_id: u64,
    pub(crate) wrong_question: u64,
    pub(crate) wrong_server: u64,
    /// To ports that no query waited at.
    pub(crate) no_query: u64,
    /// When the last one came; nanoseconds since 1970.
    pub(crate) last: u64,
}

impl Misses {
    /// Those to a port that a query waited at.
    pub(crate) fn near(&self) -> u64 {
        self.wrong_id + self.wrong_question + self.wrong_server
    }
}

/// What was seen since the start, or since the last reset.
#[derive(Clone, Debug)]
pub(crate) struct Traffic {
    pub(crate) queries: History,
    /// Replies that fit no query, or not quite.
    pub(crate) forged: History,
    /// Who asks, by queries.
    pub(crate) clients: Top<()>,
    /// Who is asked, by queries.
    pub(crate) servers: Top<()>,
    /// In whose name replies are forged.
    pub(crate) attacked: Top<Misses>,
    /// Port and ID of the last queries, the newest last.
    pub(crate) points: VecDeque<Point>,
    /// Queries over UDP that left.
    pub(crate) asked: u64,
    /// Right replies to them.
    pub(crate) answered: u64,
    /// TCP connections to servers that were opened.
    pub(crate) tcp: u64,
    /// Queries that wait for their replies.
    pub(crate) outstanding: usize,
    waiting: Waiting,
    came_from: Clients,
}

impl Traffic {
    /// Nothing so far; `now` in nanoseconds since 1970.
    pub(crate) fn new(now: u64) -> Self {
        Traffic {
            queries: History::new(now),
            forged: History::new(now),
            clients: Top::new(PLACES),
            servers: Top::new(PLACES),
            attacked: Top::new(PLACES),
            points: VecDeque::new(),
            asked: 0,
            answered: 0,
            tcp: 0,
            outstanding: 0,
            waiting: Waiting::new(now, LIFETIME),
            came_from: Clients::new(),
        }
    }

    /// How long queries wait for their replies, if an engine says so.
    pub(crate) fn set_lifetime(&mut self, seconds: Option<u64>) {
        self.waiting.set_lifetime(seconds.map_or(LIFETIME, |seconds| seconds * SECOND));
    }

    /// Packets were lost on the way to us: for a while not all can be told.
    pub(crate) fn missed(&mut self, now: u64) {
        self.waiting.missed(now);
    }

    /// A packet. What counts is how queries leave and replies come in; queries that come in only tell
    /// for whom they are forwarded, and replies that leave are those that came in.
    pub(crate) fn feed(&mut self, seen: &Seen) {
        let event = &seen.event;
        match (event.kind, seen.outgoing) {
            (Kind::Query(_), true) => self.query(event),
            (Kind::Query(_), false) => self.came_from.came(event),
            (Kind::Reply(traits, _), false) => {
                let reply = self.waiting.replied(event, traits.questionless);
                self.reply(event, reply);
            }
            (Kind::TcpOpened, true) => self.tcp += 1,
            _ => {}
        }
    }

    fn query(&mut self, event: &Event) {
        self.asked += 1;
        self.queries.count(event.time);
        self.waiting.asked(event);
        self.clients.count(self.came_from.of(event));
        self.servers.count(event.server);
        if self.points.len() == POINTS {
            self.points.pop_front();
        }
        self.points.push_back(Point { port: event.port, id: event.id });
    }

    fn reply(&mut self, event: &Event, reply: Reply) {
        let field: fn(&mut Misses) -> &mut u64 = match reply {
            Reply::Right => {
                self.answered += 1;
                return;
            }
            Reply::Again | Reply::Unknown => return,
            Reply::WrongId => |misses| &mut misses.wrong_id,
            Reply::WrongQuestion => |misses| &mut misses.wrong_question,
            Reply::WrongServer => |misses| &mut misses.wrong_server,
            Reply::NoQuery => |misses| &mut misses.no_query,
        };
        self.forged.count(event.time);
        let misses = self.attacked.count(event.server);
        *field(misses) += 1;
        misses.last = misses.last.max(event.time);
    }

    /// Works out rates; so many seconds went by since the last time.
    pub(crate) fn tick(&mut self, now: u64, seconds: f64) {
        self.outstanding = self.waiting.tick(now);
        self.queries.tick(now);
        self.forged.tick(now);
        self.clients.tick(seconds);
        self.servers.tick(seconds);
        self.attacked.tick(seconds);
    }

    /// Begins the lists and the peaks anew.
    pub(crate) fn reset(&mut self) {
        self.clients = Top::new(PLACES);
        self.servers = Top::new(PLACES);
        self.attacked = Top::new(PLACES);
        self.queries.reset();
        self.forged.reset();
    }

    /// Port and ID of the last `count` queries, the oldest first.
    pub(crate) fn last(&self, count: usize) -> impl Iterator<Item = Point> + '_ {
        self.points.iter().skip(self.points.len().saturating_sub(count)).copied()
    }
}

/// An address as it is shown.
pub(crate) fn shown(address: Address) -> String {
    std::net::IpAddr::from(address).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dnsalt_audit::event::{QueryTraits, ReplyTraits};

    fn seen(outgoing: bool, reply: bool, client: u128, port: u16, id: u16) -> Seen {
        let kind = if reply {
            Kind::Reply(ReplyTraits::default(), false)
        } else {
            Kind::Query(QueryTraits::default())
        };
        let (client, server) = (Address(client), Address(53));
        let event = Event { time: 10 * SECOND, client, server, port, id, question: 3, kind };
        Seen { event, outgoing }
    }

    #[test]
    fn a_forwarded_query_counts_once_and_for_whoever_asked() {
        let mut traffic = Traffic::new(0);
        // In on one side, out by NAT on the other; the reply the other way.
        for (outgoing, reply, client, port, id) in [
            (false, false, 77, 44444, 1),
            (true, false, 1, 9374, 8),
            (false, true, 1, 9374, 8),
            (true, true, 77, 44444, 1),
        ] {
            traffic.feed(&seen(outgoing, reply, client, port, id));
        }
        traffic.tick(12 * SECOND, 1.0);
        assert_eq!((traffic.asked, traffic.answered, traffic.outstanding), (1, 1, 0));
        assert_eq!(traffic.clients.most(9)[0].address, Address(77));
        assert_eq!(traffic.servers.most(9).len(), 1);
        assert!(traffic.last(10).eq([Point { port: 9374, id: 8 }]));
        assert_eq!(traffic.queries.peak(), 1);
        assert_eq!(traffic.attacked.len(), 0);
    }

    #[test]
    fn forged_replies_count_for_the_server_that_they_pretend_to_be_of() {
        let mut traffic = Traffic::new(0);
        traffic.feed(&seen(true, false, 1, 9374, 8));
        traffic.feed(&seen(false, true, 1, 9374, 9));
        traffic.feed(&seen(false, true, 1, 9375, 8));
        traffic.tick(12 * SECOND, 1.0);
        let most = traffic.attacked.most(1);
        assert_eq!((most[0].detail.near(), most[0].detail.no_query), (1, 1));
        assert_eq!((traffic.outstanding, traffic.forged.peak()), (1, 2));
        traffic.reset();
        assert_eq!((traffic.attacked.len(), traffic.forged.peak()), (0, 0));
    }

    #[test]
    fn points_are_the_last_ones() {
        let mut traffic = Traffic::new(0);
        for port in 0..5000 {
            traffic.feed(&seen(true, false, 1, port, port));
        }
        assert_eq!(traffic.points.len(), POINTS);
        let ports: Vec<_> = traffic.last(2).map(|point| point.port).collect();
        assert_eq!(ports, [4998, 4999]);
    }
}
