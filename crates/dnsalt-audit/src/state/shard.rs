//! A part of the resolvers, with all that is needed to observe them: parts do not share anything, so
//! that threads can work on them side by side.

use hashbrown::HashTable;

use super::mark::{Mark, Mismatch};
use super::outstanding::{Keyed, NO_SAMPLE, Outstanding, cookie_hash};
use super::resolver::Resolver;
use super::rows::{Asked, Row, What};
use super::sample::Sample;
use crate::event::{Address, Event, Kind, QueryTraits, ReplyTraits};

/// Samples that one shard keeps of all its resolvers together: 6 MB.
const BUDGET: usize = 4 << 16;
/// The most that it keeps of one resolver: enough for a Mersenne Twister.
const MOST: usize = 1 << 16;
/// The fewest, however many resolvers there are: enough for a first judgement.
const FEWEST: usize = 32;

/// Replies within so long after the first packet may answer what was asked before it.
const WARM_UP: u64 = 5_000_000_000;
/// So long after a near miss, a connection over TCP is taken for its consequence.
const MOVE_TO_TCP: u64 = 3_000_000_000;

/// For so many packets it pays to read all that they may want before: other shards have pushed it
/// out of the cache.
const WORTH_WARMING: usize = 512;
/// Packets that are looked up together.
const AHEAD: usize = 16;

/// Where a packet belongs.
#[derive(Clone, Copy)]
struct Found {
    keyed: Keyed,
    /// None if it was not seen before.
    resolver: Option<usize>,
    /// The server of a query.
    server: u32,
}

/// Resolvers whose addresses have the same hash in the lowest bits.
#[derive(Clone, Debug)]
pub struct Shard {
    resolvers: Vec<Resolver>,
    index: HashTable<u32>,
    servers: Vec<Address>,
    server_index: HashTable<u32>,
    outstanding: Outstanding,
    start: u64,
    capacity: usize,
}

impl Default for Shard {
    fn default() -> Self {
        Shard {
            resolvers: Vec::new(),
            index: HashTable::new(),
            servers: Vec::new(),
            server_index: HashTable::new(),
            outstanding: Outstanding::default(),
            start: u64::MAX,
            capacity: MOST,
        }
    }
}

/// The place of an address in a list, with a new place for a new one; whether it is new.
fn place(
    index: &mut HashTable<u32>,
    list: &[Address],
    address: Address,
    hash: u64,
) -> (usize, bool) {
    use hashbrown::hash_table::Entry;
    let at = |place: u32| list[place as usize];
    match index.entry(hash, |i| at(*i) == address, |i| at(*i).hash()) {
        Entry::Occupied(entry) => (*entry.get() as usize, false),
        Entry::Vacant(entry) => {
            entry.insert(u32::try_from(list.len()).unwrap_or(u32::MAX));
            (list.len(), true)
        }
    }
}

impl Shard {
    /// One that keeps no samples, only what is needed to tell what becomes of packets.
    pub(super) fn without_samples() -> Self {
        Shard { capacity: 0, ..Shard::default() }
    }

    /// Forgets every resolver, but not which queries wait.
    pub(super) fn forget_all(&mut self) {
        self.resolvers.clear();
        self.index.clear();
        self.servers.clear();
        self.server_index.clear();
    }

    /// Takes notice of packets, in this order, whose clients belong to this shard, see
    /// [`Event::shard`].
    pub fn observe_all(&mut self, events: &[Event]) {
        self.observe_and_mark(events, |_, _| ());
    }

    /// The same, and tells what became of each: given its place among `events`.
    pub fn observe_and_mark(&mut self, events: &[Event], mut see: impl FnMut(usize, Mark)) {
        if events.len() >= WORTH_WARMING {
            self.outstanding.warm();
            if self.servers.len() / 4 <= events.len() {
                // Four in a line of the cache.
                let servers = self.servers.iter().step_by(4).fold(0, |sum, server| sum ^ server.0);
                let index = self.server_index.iter().fold(0, |sum, at| sum ^ at);
                std::hint::black_box((servers, index));
            }
        }
        let mut found = [None; AHEAD];
        for (chunk, events) in events.chunks(AHEAD).enumerate() {
            // Everything is looked up before anything is used: one wait for the memory serves all.
            for (found, event) in found.iter_mut().zip(events) {
                *found = Some(self.look_up(event));
            }
            for (i, (found, event)) in found.iter().zip(events).enumerate() {
                if let Some(found) = found {
                    see(chunk * AHEAD + i, self.observe(event, found));
                }
            }
        }
    }

    fn look_up(&mut self, event: &Event) -> Found {
        let (hash, server_hash) = (event.client.hash(), event.server.hash());
        let keyed = Keyed::of(event, hash, server_hash);
        self.outstanding.touch(keyed);
        let server = match event.kind {
            Kind::Query(_) => self.server(event.server, server_hash),
            _ => 0,
        };
        Found { keyed, resolver: self.known(event.client, hash), server }
    }

    #[inline]
    fn observe(&mut self, event: &Event, found: &Found) -> Mark {
        self.start = self.start.min(event.time);
        // Of those that were new to the look-up, some may be there by now.
        match &event.kind {
            Kind::Query(traits) => {
                let at = self.place(event, found);
                self.query(event, traits, found, at)
            }
            Kind::Reply(traits, fragmented) => {
                let at = found.resolver.or_else(|| self.known(event.client, event.client.hash()));
                if let Some(at) = at
                    && *fragmented
                {
                    self.resolvers[at].counters.fragments += 1;
                }
                self.reply(event, traits, found.keyed, at)
            }
            Kind::TcpOpened => {
                let at = self.place(event, found);
                Mark::TcpOpened(self.resolvers[at].tcp_opened(event.time))
            }
            Kind::TcpQuery => {
                let at = self.place(event, found);
                self.resolvers[at].counters.tcp_queries += 1;
                Mark::TcpQuery
            }
        }
    }

    fn query(&mut self, event: &Event, traits: &QueryTraits, found: &Found, at: usize) -> Mark {
        let again = self.outstanding.is_retransmission(found.keyed, event);
        let resolver = &mut self.resolvers[at];
        resolver.widen(event.time, event.time);
        let counters = &mut resolver.counters;
        counters.queries += 1;
        if again {
            counters.retransmissions += 1;
            return Mark::AskedAgain(found.keyed.place());
        }
        counters.asked(traits.edns, traits.dnssec_ok, traits.cookie.is_some());
        let sample = Sample {
            time: event.time,
            server: found.server,
            question: event.question,
            port: event.port,
            id: event.id,
            delay: 0,
            letters: traits.letters,
            upper: traits.upper,
        };
        let kept = resolver.keep(sample, self.capacity, &self.servers);
        let (sample, cookie) = (kept.unwrap_or(NO_SAMPLE), cookie_hash(traits.cookie));
        self.outstanding.ask(found.keyed, event, sample, cookie);
        Mark::Asked(found.keyed.place())
    }

    /// Counts what somebody saw and marked, see [`super::Extractor`].
    pub(super) fn recollect(&mut self, row: &Row) {
        let at = self.resolver_at(row.resolver, row.resolver.hash());
        let counters = &mut self.resolvers[at].counters;
        match row.what {
            What::Query(asked) => self.recollect_query(row, &asked, at),
            What::Reply { mismatch, fragmented } => {
                if let Some(mismatch) = mismatch {
                    *counters.of_mismatch(mismatch) += 1;
                }
                counters.fragments += u64::from(fragmented);
            }
            What::TcpOpened { after_mismatch } => counters.opened(after_mismatch),
            What::TcpQuery => counters.tcp_queries += 1,
        }
    }

    fn recollect_query(&mut self, row: &Row, asked: &Asked, at: usize) {
        let server = self.server(row.server, row.server.hash());
        let resolver = &mut self.resolvers[at];
        resolver.widen(row.time, row.time);
        let counters = &mut resolver.counters;
        counters.queries += 1;
        if asked.retransmission {
            counters.retransmissions += 1;
            return;
        }
        counters.asked(asked.edns, asked.dnssec_ok, asked.cookie);
        let mut sample = Sample {
            time: row.time,
            server,
            question: row.question,
            port: row.port,
            id: row.id,
            delay: 0,
            letters: asked.letters,
            upper: asked.upper,
        };
        if let Some(answer) = asked.answer {
            sample.answer_at(row.time.saturating_add(answer.delay));
            counters.answered(answer.micros, answer.truncated, answer.cookie);
            counters.fragments += u64::from(answer.fragmented);
        }
        resolver.keep(sample, self.capacity, &self.servers);
    }

    fn reply(
        &mut self,
        event: &Event,
        traits: &ReplyTraits,
        keyed: Keyed,
        at: Option<usize>,
    ) -> Mark {
        let warm = event.time >= self.start.saturating_add(WARM_UP);
        let known = at.is_some();
        let resolver = at.map(|at| &mut self.resolvers[at]);
        let Some(asked) = self.outstanding.asked(keyed, event) else {
            let miss = self.outstanding.miss(keyed, event);
            let Some(resolver) = resolver.filter(|_| warm) else { return Mark::Untold { known } };
            return resolver.missed(event, miss);
        };
        let right = traits.questionless || asked.question == event.question;
        let (sample, again) = (asked.sample, asked.answered);
        let cookie = (asked.cookie != 0).then(|| cookie_hash(traits.cookie) == asked.cookie);
        let micros = asked.micros(event.time);
        asked.answered |= right;
        if right && !again {
            self.outstanding.answer(keyed, event);
        }
        let Some(resolver) = resolver else { return Mark::Untold { known } };
        if !right {
            return resolver.missed(event, Mismatch::Question);
        }
        if again {
            return resolver.missed(event, Mismatch::Late);
        }
        resolver.counters.answered(micros, traits.truncated, cookie);
        // Samples may have moved since; this one is known by what it is.
        if let Some(sample) = resolver.samples.get_mut(sample as usize)
            && (sample.port, sample.id, sample.delay) == (event.port, event.id, 0)
        {
            sample.answer_at(event.time);
        }
        Mark::Answered(keyed.place(), micros, cookie)
    }

    /// The index of a server, which is new to the list if need be.
    fn server(&mut self, address: Address, hash: u64) -> u32 {
        let (at, new) = place(&mut self.server_index, &self.servers, address, hash);
        if new {
            self.servers.push(address);
        }
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    fn known(&self, address: Address, hash: u64) -> Option<usize> {
        let at = self.index.find(hash, |at| self.resolvers[*at as usize].address == address)?;
        Some(*at as usize)
    }

    /// Where the resolver of a packet is that was looked up; a new place for a new one.
    fn place(&mut self, event: &Event, found: &Found) -> usize {
        let new = || self.resolver_at(event.client, event.client.hash());
        found.resolver.unwrap_or_else(new)
    }

    fn resolver_at(&mut self, address: Address, hash: u64) -> usize {
        if let Some(at) = self.known(address, hash) {
            return at;
        }
        let at = self.resolvers.len();
        self.resolvers.push(Resolver::new(address));
        let hash_of = |at: &u32| self.resolvers[*at as usize].address.hash();
        self.index.insert_unique(hash, u32::try_from(at).unwrap_or(u32::MAX), hash_of);
        self.fit();
        at
    }

    /// Makes room for more resolvers by keeping less of each.
    fn fit(&mut self) {
        // In steps, so that this is done rarely.
        let capacity = (BUDGET / self.resolvers.len().max(1)).clamp(FEWEST, MOST);
        let capacity = capacity & !(capacity.next_power_of_two() / 8 - 1);
        if capacity < self.capacity {
            self.capacity = capacity;
            for resolver in &mut self.resolvers {
                if resolver.samples.len() > capacity {
                    resolver.settle(capacity, &self.servers);
                }
            }
        }
    }

    /// Takes over a resolver from elsewhere, whose samples name servers by an index into `servers`.
    pub(super) fn absorb(&mut self, other: Resolver, servers: &[Address]) {
        let table: Vec<u32> =
            servers.iter().map(|address| self.server(*address, address.hash())).collect();
        let at = self.resolver_at(other.address, other.address.hash());
        let resolver = &mut self.resolvers[at];
        resolver.counters.add(&other.counters);
        if let Some((first, last)) = other.span {
            resolver.widen(first, last);
        }
        let moved = other
            .samples
            .into_iter()
            .map(|sample| Sample { server: table[sample.server as usize], ..sample });
        resolver.samples.extend(moved);
        resolver.sorted = false;
        resolver.settle(self.capacity, &self.servers);
    }

    /// Puts everything in order, for judging and writing.
    pub(super) fn settle(&mut self) {
        for resolver in &mut self.resolvers {
            resolver.settle(self.capacity, &self.servers);
        }
    }

    /// Gives up the samples of one.
    pub(super) fn forget(&mut self, at: usize) {
        self.resolvers[at].samples = Vec::new();
    }

    pub(super) fn resolvers(&self) -> &[Resolver] {
        &self.resolvers
    }

    pub(super) fn servers(&self) -> &[Address] {
        &self.servers
    }
}

impl Resolver {
    /// Whether a near miss was the cause.
    fn tcp_opened(&mut self, time: u64) -> bool {
        let moved = self.near_miss > 0 && time < self.near_miss.saturating_add(MOVE_TO_TCP);
        self.counters.opened(moved);
        if moved {
            self.near_miss = 0;
        }
        moved
    }

    fn missed(&mut self, event: &Event, mismatch: Mismatch) -> Mark {
        *self.counters.of_mismatch(mismatch) += 1;
        if matches!(mismatch, Mismatch::Id | Mismatch::Question) {
            self.near_miss = event.time;
        }
        Mark::Mismatch(mismatch)
    }
}
