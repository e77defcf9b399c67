//! The contract of the salt engine: queries that wait, and what may come of each packet.
//!
//! ```text
//!   judge ──┬── out       queries: new ones, the same again, answers on the spot ──┐
//!           └── inward    replies, near misses, errors of ICMP ──── servers        ├──> check: bytes and sums
//!                                                              (lockdowns) ────────┘
//! ```

mod check;
mod inward;
mod out;
mod servers;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use dnsalt_salt::layout::{Counter, RECENT_ENTRIES};
use dnsalt_salt::taken::way;

use crate::{DROP, Done, PASS, Terms, Way};
use check::expect;

/// So long after its time a reply is still told from a forged one.
const REMEMBERED: u64 = 514;
/// A second.
const SECOND: u64 = 59;
/// Queries of one question behind which an earlier one may be forgotten: the engine has 7 places for them, which
/// another question may share.
const SURE: usize = RECENT_ENTRIES - 2;

/// A query that left.
#[derive(Clone, Debug)]
struct Waiting {
    client: (IpAddr, u16),
    server: (IpAddr, u16),
    id: u16,
    /// As the client asked: name, type, class.
    question: Option<Vec<u8>>,
    /// As it left.
    asked: Option<Vec<u8>>,
    /// Port and ID that it left with; none where nobody has seen them.
    salt: Option<(u16, u16)>,
    until: u64,
    tainted: bool,
    done: bool,
}

/// What was forged in the name of a server.
#[derive(Clone, Debug, Default)]
struct Server {
    since: Option<u64>,
    misses: u32,
    unsolicited: u32,
    locked_until: Option<u64>,
}

/// What became of a packet, by the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It is none of the engine's business.
    Nothing,
    /// A query left with salt of its own; its number.
    Salted(usize),
    /// The same, sent again.
    Again(usize),
    /// It is to be sent to TCP: an answer came back.
    Answered(usize),
    /// The client got its answer.
    Restored(usize),
    /// The client was sent to TCP.
    Truncated(usize),
    /// It was dropped, and counted so.
    Dropped(Option<Counter>),
    /// An error of ICMP was put right.
    Translated(usize),
}

/// Everything that has happened.
#[derive(Clone, Debug)]
pub struct Model {
    terms: Terms,
    key: u64,
    now: u64,
    queries: Vec<Waiting>,
    /// By way and port, the last query that took it.
    taken: HashMap<(u32, u16), usize>,
    /// By question and server, the last queries.
    recent: HashMap<(Option<Vec<u8>>, IpAddr), VecDeque<usize>>,
    servers: HashMap<IpAddr, Server>,
    counts: HashMap<u32, u64>,
    partial: bool,
    /// Queries whose salt is what they came with: by chance, one of four thousand million.
    unsalted: u32,
}

/// What is wrong.
pub type Wrong = String;

impl Model {
    /// Nothing has happened. `key` is the engine's, for the ways that ports are taken in.
    pub fn new(terms: Terms, key: u64) -> Self {
        Model {
            terms,
            key,
            now: 0,
            queries: Vec::new(),
            taken: HashMap::new(),
            recent: HashMap::new(),
            servers: HashMap::new(),
            counts: HashMap::new(),
            partial: false,
            unsalted: 0,
        }
    }

    /// The checksums of UDP are still to be finished, by cards: those in packets have the pseudo header alone.
    #[must_use]
    pub fn with_partial(mut self, partial: bool) -> Self {
        self.partial = partial;
        self
    }

    /// Lets time pass.
    pub fn wait(&mut self, units: u64) {
        self.now += units;
    }

    /// Queries that left.
    pub fn queries(&self) -> usize {
        self.queries.len()
    }

    /// How often something is to have been counted.
    pub fn count(&self, counter: Counter) -> u64 {
        self.counts.get(&(counter as u32)).copied().unwrap_or(0)
    }

    /// Judges what became of a packet.
    ///
    /// # Errors
    /// When that breaks the contract; in words.
    pub fn judge(&mut self, way: Way, before: &[u8], done: &Done) -> Result<Happened, Wrong> {
        let happened = match way {
            Way::Out => self.out(before, done)?,
            Way::In => self.inward(before, done)?,
        };
        if done.verdict == PASS && happened == Happened::Nothing && done.packet != before {
            return Err("what is none of its business was changed".to_owned());
        }
        Ok(happened)
    }

    fn tally(&mut self, counter: Counter) {
        *self.counts.entry(counter as u32).or_default() += 1;
    }

    fn dropped(&mut self, done: &Done, counter: Counter) -> Result<Happened, Wrong> {
        expect(done, DROP, counter)?;
        self.tally(counter);
        Ok(Happened::Dropped(Some(counter)))
    }

    fn is_outstanding(&self, one: &Waiting) -> bool {
        !one.done && self.now <= one.until
    }

    fn way(&self, client: IpAddr, server: IpAddr) -> u32 {
        way(self.key, client.into(), server.into())
    }

    fn found(&self, client: IpAddr, server: IpAddr, port: u16) -> Option<usize> {
        self.found_in(self.way(client, server), port)
    }

    fn found_in(&self, way: u32, port: u16) -> Option<usize> {
        let n = *self.taken.get(&(way, port))?;
        (self.now <= self.queries[n].until + REMEMBERED).then_some(n)
    }
}
