//! What is known of every resolver: bounded, mergeable, and written to files.
//!
//! Of each resolver there are counters over all packets, and its earliest queries, so many as there
//! is room for: "the earliest n of a set" is the same whichever way the set was put together, so that
//! states merge in any order with the same result.

mod counters;
mod file;
mod mark;
mod outstanding;
mod resolver;
mod rows;
mod sample;
mod shard;

use std::net::IpAddr;

pub use counters::Counters;
pub use file::StateError;
pub use mark::Mismatch;
pub use rows::{Answer, Asked, Collected, Extractor, Row, What};
pub use sample::Sample;
pub use shard::Shard;

use crate::event::{Address, Event};
use resolver::Resolver;

/// Shards of a state: fixed, so that the result does not depend on the number of threads.
pub const SHARDS: usize = 16;

impl Shard {
    /// Every resolver of the shard.
    fn observed(&self) -> impl Iterator<Item = Observed<'_>> {
        self.resolvers().iter().map(|resolver| self.one(resolver))
    }

    /// Shows every resolver, with its samples in order. Unless `keep`, they are forgotten right
    /// after, so that what is made of them has room.
    pub fn each(&mut self, keep: bool, mut see: impl FnMut(&Observed<'_>)) {
        self.settle();
        for at in 0..self.resolvers().len() {
            see(&self.one(&self.resolvers()[at]));
            if !keep {
                self.forget(at);
            }
        }
    }

    fn one<'a>(&'a self, resolver: &'a Resolver) -> Observed<'a> {
        Observed {
            address: resolver.address.into(),
            counters: &resolver.counters,
            span: resolver.span,
            samples: &resolver.samples,
            servers: self.servers(),
        }
    }
}

/// All that was observed.
#[derive(Clone, Debug)]
pub struct State {
    shards: Vec<Shard>,
}

impl Default for State {
    fn default() -> Self {
        State { shards: vec![Shard::default(); SHARDS] }
    }
}

/// One resolver, to be judged.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// Its address.
    pub address: IpAddr,
    /// Over all its packets.
    pub counters: &'a Counters,
    /// The first and the last query, in nanoseconds since 1970.
    pub span: Option<(u64, u64)>,
    /// Its earliest queries in order, without retransmissions.
    pub samples: &'a [Sample],
    pub(crate) servers: &'a [Address],
}

impl<'a> Observed<'a> {
    /// One whose samples are in order, as the only server saw it: `servers` has its address.
    pub fn by_one_server(
        address: IpAddr,
        counters: &'a Counters,
        samples: &'a [Sample],
        servers: &'a [Address; 1],
    ) -> Self {
        let span = samples.first().zip(samples.last()).map(|(first, last)| (first.time, last.time));
        Observed { address, counters, span, samples, servers }
    }

    /// The address of the server of a sample.
    pub fn server(&self, sample: &Sample) -> IpAddr {
        self.servers[sample.server as usize].into()
    }
}

impl State {
    /// Takes notice of a packet.
    pub fn observe(&mut self, event: &Event) {
        self.shards[event.shard()].observe_all(std::slice::from_ref(event));
    }

    /// The shards, for threads that work on some of them each.
    pub fn shards_mut(&mut self) -> &mut [Shard] {
        &mut self.shards
    }

    /// Adds what another state knows. The order of merging does not matter.
    pub fn merge(&mut self, mut other: State) {
        for (mine, theirs) in self.shards.iter_mut().zip(&mut other.shards) {
            theirs.settle();
            for resolver in theirs.resolvers() {
                mine.absorb(resolver.clone(), theirs.servers());
            }
        }
    }

    /// Puts the samples in order; to be called before [`State::resolvers`].
    pub fn settle(&mut self) {
        for shard in &mut self.shards {
            shard.settle();
        }
    }

    /// Every resolver that was seen, in no particular order.
    pub fn resolvers(&self) -> impl Iterator<Item = Observed<'_>> {
        self.shards.iter().flat_map(Shard::observed)
    }

    fn absorb(&mut self, resolver: Resolver, servers: &[Address]) {
        let shard = shard_of(resolver.address.hash());
        self.shards[shard].absorb(resolver, servers);
    }
}

impl Event {
    /// The shard of a state that it belongs to.
    pub fn shard(&self) -> usize {
        shard_of(self.client.hash())
    }
}

fn shard_of(hash: u64) -> usize {
    // The upper bits: the lower ones place it in the tables of the shard.
    (hash >> 60) as usize & (SHARDS - 1)
}
