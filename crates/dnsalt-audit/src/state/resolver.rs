//! What is kept of one resolver: counters over everything, and the earliest of its queries.

use super::counters::Counters;
use super::sample::Sample;
use crate::event::Address;

/// A resolver, or a stub: whoever asks from one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolver {
    /// Its address.
    pub(crate) address: Address,
    /// Over all packets.
    pub(crate) counters: Counters,
    /// The first and the last query, in nanoseconds since 1970.
    pub(crate) span: Option<(u64, u64)>,
    /// The earliest queries that were no retransmissions. Those beyond the capacity of the shard may
    /// wait to be thrown out, and order may wait to be made: see `settle`.
    pub(crate) samples: Vec<Sample>,
    /// The time of the last of them: beside the rest, so that keeping one more need not wait for the
    /// memory where the last one is.
    latest: u64,
    /// Whether `samples` is in order.
    pub(crate) sorted: bool,
    /// When the last near miss came; 0 before the first.
    pub(crate) near_miss: u64,
}

impl Resolver {
    pub(crate) fn new(address: Address) -> Self {
        Resolver {
            address,
            counters: Counters::default(),
            span: None,
            samples: Vec::new(),
            latest: 0,
            sorted: true,
            near_miss: 0,
        }
    }

    pub(crate) fn widen(&mut self, first: u64, last: u64) {
        self.span = Some(match self.span {
            Some((from, to)) => (from.min(first), to.max(last)),
            None => (first, last),
        });
    }

    /// Keeps a sample if it is among the earliest; where, if it went to the end.
    pub(crate) fn keep(
        &mut self,
        sample: Sample,
        capacity: usize,
        servers: &[Address],
    ) -> Option<u32> {
        if capacity == 0 {
            return None;
        }
        let in_order = self.latest < sample.time;
        if self.samples.len() >= capacity {
            if self.sorted && in_order {
                return None;
            }
            if self.samples.len() >= capacity + capacity / 2 {
                self.settle(capacity, servers);
            }
        }
        if self.samples.len() == self.samples.capacity() {
            // In few steps, as each leaves a hole behind, and not beyond what will ever be kept: the
            // sum over many resolvers counts.
            let room = capacity.saturating_sub(self.samples.len()).max(4);
            let more = if self.samples.is_empty() { 8 } else { self.samples.len().max(56) };
            let more = more.min(room);
            self.samples.reserve_exact(more);
        }
        self.sorted &= in_order || self.follows(&sample, servers);
        self.latest = sample.time;
        self.samples.push(sample);
        u32::try_from(self.samples.len() - 1).ok()
    }

    /// Whether a sample of the same time, or an earlier one, still comes after the last.
    fn follows(&self, sample: &Sample, servers: &[Address]) -> bool {
        self.samples.last().is_none_or(|last| last.order(sample, servers).is_lt())
    }

    /// Brings the samples in order and throws out those beyond the capacity.
    pub(crate) fn settle(&mut self, capacity: usize, servers: &[Address]) {
        if !self.sorted {
            self.samples.sort_unstable_by(|a, b| a.order(b, servers));
            self.sorted = true;
        }
        if self.samples.len() > capacity {
            self.samples.truncate(capacity);
            self.samples.shrink_to_fit();
        }
        self.latest = self.samples.last().map_or(0, |last| last.time);
    }
}
