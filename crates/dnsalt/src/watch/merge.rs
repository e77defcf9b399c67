//! Packets of several interfaces in the order of time.
//!
//! Each interface is read on its own, and its packets come in batches. A query that is forwarded must be
//! seen coming in before it is seen leaving, so packets are held back until those of the others are here.

use super::sample::Seen;

/// For how long packets are held back, in nanoseconds: longer than a reader holds its batch.
const HOLD: u64 = 200_000_000;

/// Packets that are held back at most: a clock that is set back must not keep them for hours.
const MOST: usize = 1 << 19;

/// Packets that are held back.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    held: Vec<Seen>,
}

impl Merge {
    /// Takes in a batch.
    pub(crate) fn push(&mut self, batch: Vec<Seen>) {
        self.held.extend(batch);
    }

    /// Those that no earlier one can come before any more, in their order; `now` in nanoseconds since
    /// 1970.
    pub(crate) fn release(&mut self, now: u64) -> Vec<Seen> {
        // Stable: what one interface saw at one time stays as it saw it.
        self.held.sort_by_key(|seen| seen.event.time);
        if self.held.len() > MOST {
            return std::mem::take(&mut self.held);
        }
        let due = self.held.partition_point(|seen| seen.event.time.saturating_add(HOLD) <= now);
        self.held.drain(..due).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dnsalt_audit::event::{Address, Event, Kind};

    fn seen(time: u64) -> Seen {
        let (client, server) = (Address(1), Address(2));
        let (port, id, question, kind) = (0, 0, 0, Kind::TcpOpened);
        Seen { event: Event { time, client, server, port, id, question, kind }, outgoing: true }
    }

    #[test]
    fn what_was_first_comes_first() {
        let mut merge = Merge::default();
        merge.push(vec![seen(20), seen(40)]);
        merge.push(vec![seen(10), seen(30)]);
        let times = |seen: Vec<Seen>| seen.iter().map(|s| s.event.time).collect::<Vec<_>>();
        assert_eq!(times(merge.release(HOLD + 30)), [10, 20, 30]);
        assert_eq!(times(merge.release(HOLD + 30)), [0_u64; 0]);
        assert_eq!(times(merge.release(HOLD + 40)), [40]);
    }

    #[test]
    fn a_clock_that_goes_back_holds_nothing_for_ever() {
        let mut merge = Merge::default();
        merge.push(vec![seen(u64::MAX); MOST]);
        assert_eq!(merge.release(0).len(), 0);
        merge.push(vec![seen(1)]);
        assert_eq!(merge.release(0).len(), MOST + 1);
    }
}
