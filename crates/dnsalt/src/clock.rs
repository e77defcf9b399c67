//! Moments that outlast a clock that is set: routers without a battery begin in another decade.
//!
//! ```text
//!   kept:   milliseconds since the boot, also while the machine slept   (CLOCK_BOOTTIME)
//!   shown:  seconds since 1970, by the machine's clock as it goes now
//! ```

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A moment of this boot; nothing to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Moment {
    milliseconds: u64,
}

impl Moment {
    pub(crate) fn now() -> Self {
        let time = clock_gettime(ClockId::Boottime);
        let whole = u64::try_from(time.tv_sec).unwrap_or(0) * 1000;
        Moment { milliseconds: whole + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000 }
    }

    /// As a number that is never 0.
    pub(crate) fn number(self) -> u64 {
        self.milliseconds.max(1)
    }

    /// Of [`Moment::number`]; none of 0.
    pub(crate) fn of_number(milliseconds: u64) -> Option<Self> {
        (milliseconds != 0).then_some(Moment { milliseconds })
    }

    pub(crate) fn after(self, time: Duration) -> Self {
        let more = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Moment { milliseconds: self.milliseconds.saturating_add(more) }
    }

    /// In seconds since 1970.
    pub(crate) fn shown(self) -> u64 {
        let of = |moment: Moment| Duration::from_millis(moment.milliseconds);
        (since_1970() + of(self)).saturating_sub(of(Self::now())).as_secs()
    }
}

/// What the machine's clock shows.
pub(crate) fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_by_the_clock() {
        let (now, clock) = (Moment::now(), since_1970().as_secs());
        assert!(now.shown().abs_diff(clock) <= 1);
        let later = now.after(Duration::from_secs(3600));
        assert!(later > now && later.shown().abs_diff(clock + 3600) <= 1);
        assert!(Moment::default().shown() < clock);
        assert_eq!(Moment::of_number(later.number()), Some(later));
        assert_eq!(Moment::of_number(0), None);
        let text = serde_json::to_string(&later).unwrap();
        assert_eq!(serde_json::from_str::<Moment>(&text).unwrap(), later);
    }
}
