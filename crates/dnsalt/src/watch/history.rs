//! What happened in each of the last seconds, for rates and the lines of bars.

/// Seconds that are kept.
const SECONDS: usize = 600;

/// Nanoseconds in a second.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// A second counts as over a little later: the capture hands packets over a fraction of a second late.
const LATE: u64 = 500_000_000;

/// One second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bin {
    /// Since 1970.
    second: u64,
    count: u64,
}

/// How many in each second.
#[derive(Clone, Debug)]
pub(crate) struct History {
    ring: Vec<Bin>,
    /// The most in a second that is over, since the last reset.
    peak: u64,
    /// The first second that may still become a peak.
    open: u64,
}

impl History {
    /// Nothing so far; `now` in nanoseconds since 1970.
    pub(crate) fn new(now: u64) -> Self {
        History { ring: vec![Bin::default(); SECONDS], peak: 0, open: now / SECOND }
    }

    /// Counts one at this time.
    pub(crate) fn count(&mut self, time: u64) {
        let second = time / SECOND;
        let bin = &mut self.ring[place(second)];
        // Or from a time that the clock was set back from.
        if bin.second < second || bin.second > second + SECONDS as u64 {
            *bin = Bin { second, count: 0 };
        }
        // What is older than all that is kept is told of by nobody any more.
        if bin.second == second {
            bin.count += 1;
        }
    }

    fn at(&self, second: u64) -> u64 {
        let bin = self.ring[place(second)];
        if bin.second == second { bin.count } else { 0 }
    }

    /// Looks for a new peak in the seconds that are over.
    pub(crate) fn tick(&mut self, now: u64) {
        let end = over(now);
        // After a long sleep only what is kept can be looked at; and a clock may be set back.
        self.open = self.open.min(end).max(end.saturating_sub(SECONDS as u64 - 1));
        while self.open < end {
            self.peak = self.peak.max(self.at(self.open));
            self.open += 1;
        }
    }

    /// The most in a second.
    pub(crate) fn peak(&self) -> u64 {
        self.peak
    }

    /// Forgets the peak.
    pub(crate) fn reset(&mut self) {
        self.peak = 0;
    }

    /// How many a second, over the last whole seconds.
    pub(crate) fn rate(&self, now: u64, seconds: u64) -> f64 {
        let (end, seconds) = (over(now), seconds.clamp(1, SECONDS as u64 - 2));
        let sum: u64 = (end.saturating_sub(seconds)..end).map(|second| self.at(second)).sum();
        sum as f64 / seconds as f64
    }

    /// So many columns of so many seconds each, the newest last: the most in a second of each column.
    /// Columns stand still: they begin at multiples of their width.
    pub(crate) fn columns(&self, now: u64, columns: usize, width: u64) -> Vec<u64> {
        let newest = over(now).saturating_sub(1) / width;
        let column = |back: usize| {
            let first = newest.checked_sub(back as u64)? * width;
            (first..first + width).map(|second| self.at(second)).max()
        };
        let kept = SECONDS / usize::try_from(width).unwrap_or(SECONDS).max(1) - 1;
        (0..columns)
            .rev()
            .map(|back| if back < kept { column(back).unwrap_or(0) } else { 0 })
            .collect()
    }
}

/// The first second that is not over.
fn over(now: u64) -> u64 {
    now.saturating_sub(LATE) / SECOND
}

fn place(second: u64) -> usize {
    usize::try_from(second % SECONDS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(counts: &[u64]) -> History {
        let mut history = History::new(0);
        for (second, count) in (0..).zip(counts) {
            for n in 0..*count {
                history.count(second * SECOND + n);
            }
        }
        history
    }

    #[test]
    fn rates_are_of_whole_seconds() {
        let history = filled(&[10, 20, 30, 99]);
        // The fourth second is under way, and the third over only when its last packets are here.
        let soon = 3 * SECOND + LATE;
        assert!((history.rate(soon, 1) - 30.0).abs() < 1e-9);
        assert!((history.rate(soon - 1, 1) - 20.0).abs() < 1e-9);
        assert!((history.rate(soon, 2) - 25.0).abs() < 1e-9);
        assert!(history.rate(soon, u64::MAX) < 1.0);
    }

    #[test]
    fn peaks_are_of_seconds_that_are_over() {
        let mut history = filled(&[10, 20, 5, 99]);
        history.tick(3 * SECOND + LATE);
        assert_eq!(history.peak(), 20);
        history.reset();
        history.tick(3 * SECOND + LATE);
        assert_eq!(history.peak(), 0);
        history.tick(90 * SECOND);
        assert_eq!(history.peak(), 99);
    }

    #[test]
    fn columns_have_the_newest_last_and_the_ring_forgets() {
        let mut history = filled(&[1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(history.columns(6 * SECOND + LATE, 4, 2), [0, 2, 4, 6]);
        assert_eq!(history.columns(7 * SECOND + LATE, 3, 2), [4, 6, 7]);
        assert_eq!(history.columns(700 * SECOND, 1000, 1).iter().sum::<u64>(), 0);
        history.count(700 * SECOND);
        history.count(100 * SECOND);
        assert_eq!((history.at(100), history.at(700)), (0, 1));
        // A clock that was set back by more than is kept.
        history.count(1300 * SECOND);
        history.count(100 * SECOND);
        assert_eq!(history.at(100), 1);
    }

    #[test]
    fn a_sleep_of_years_costs_nothing() {
        let mut history = filled(&[3]);
        history.tick(u64::MAX);
        assert_eq!(history.peak(), 0);
    }
}
