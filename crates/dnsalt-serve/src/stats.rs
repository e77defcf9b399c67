//! What is counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Queries over UDP.
    Udp,
    /// Queries over TCP.
    Tcp,
    /// What is no query.
    Malformed,
    /// Queries for names that are not ours, refused.
    Refused,
    /// Replies that were cut short: they would have been larger than an unknown sender may cause, or came too
    /// fast.
    Truncated,
    /// Queries without a reply, as the network asked too fast.
    Dropped,
    /// Connections that found no room.
    Full,
    /// Queries with a token, kept for a judgement.
    Sampled,
    /// Tests that began.
    Begun,
    /// Tests that were forgotten before their hour for want of room.
    Forgotten,
    /// Tests whose result was asked for by name.
    Judged,
    /// Pages that were sent.
    Page,
}

impl Count {
    /// All of them, in this order.
    pub const ALL: [Count; 12] = [
        Count::Udp,
        Count::Tcp,
        Count::Malformed,
        Count::Refused,
        Count::Truncated,
        Count::Dropped,
        Count::Full,
        Count::Sampled,
        Count::Begun,
        Count::Forgotten,
        Count::Judged,
        Count::Page,
    ];
}

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    counts: [AtomicU64; Count::ALL.len()],
}

impl Stats {
    /// One more.
    pub(crate) fn add(&self, count: Count) {
        self.counts[count as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many.
    pub(crate) fn get(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_place() {
        for (place, count) in Count::ALL.into_iter().enumerate() {
            assert_eq!(count as usize, place);
        }
    }
}
