//! What is shown: a state that samples change and that nothing else does.

use std::collections::BTreeMap;

use super::history::SECOND;
use super::sample::{Protection, Room, Sample};
use super::traffic::Traffic;

/// All that is known.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    /// The name of this machine.
    pub(crate) host: String,
    /// The interfaces that are watched, each with what is wrong with it.
    pub(crate) interfaces: BTreeMap<String, Option<String>>,
    /// What is installed, as it was told last.
    pub(crate) protection: Option<Protection>,
    /// Why what is installed cannot be told.
    pub(crate) trouble: Option<String>,
    pub(crate) traffic: Traffic,
    /// Packets that were lost on the way to us.
    pub(crate) missed: u64,
    /// The fewest bits that were told since the last reset.
    pub(crate) least_bits: Option<f64>,
    /// The fullest that [`Model::room`] was since the last reset.
    pub(crate) most_taken: u64,
    /// When the number of lockdowns last went up; nanoseconds since 1970.
    pub(crate) last_lockdown: Option<u64>,
    /// The time of the last tick; nanoseconds since 1970.
    pub(crate) now: u64,
    /// Since when lists and peaks count; nanoseconds since 1970.
    pub(crate) since: u64,
    /// Seconds that rates are of.
    pub(crate) interval: u64,
}

impl Model {
    /// Knows nothing yet; `now` in nanoseconds since 1970, `interval` in seconds.
    pub(crate) fn new(host: String, interfaces: &[String], now: u64, interval: u64) -> Self {
        Model {
            host,
            interfaces: interfaces.iter().map(|name| (name.clone(), None)).collect(),
            protection: None,
            trouble: None,
            traffic: Traffic::new(now),
            missed: 0,
            least_bits: None,
            most_taken: 0,
            last_lockdown: None,
            now,
            since: now,
            interval: interval.max(1),
        }
    }

    /// Takes in a sample.
    pub(crate) fn feed(&mut self, sample: Sample) {
        match sample {
            Sample::Packets(packets) => packets.iter().for_each(|seen| self.traffic.feed(seen)),
            Sample::Missed(count) => {
                self.missed += count;
                self.traffic.missed(self.now);
            }
            Sample::Interface(name, wrong) => {
                self.interfaces.insert(name, wrong);
                self.traffic.missed(self.now);
            }
            Sample::Protection(Ok(protection)) => self.protection(*protection),
            Sample::Protection(Err(why)) => self.trouble = Some(why),
        }
    }

    fn protection(&mut self, protection: Protection) {
        self.traffic.set_lifetime(protection.lifetime);
        if let Some(bits) = &protection.bits {
            self.least_bits = Some(self.least_bits.map_or(bits.now, |least| least.min(bits.now)));
        }
        let before = self.protection.as_ref().and_then(|protection| protection.lockdowns);
        if before.is_some_and(|before| protection.lockdowns > Some(before)) {
            self.last_lockdown = Some(self.now);
        }
        self.trouble = None;
        self.protection = Some(protection);
    }

    /// Works out what changes with time; `now` in nanoseconds since 1970.
    pub(crate) fn tick(&mut self, now: u64) {
        let passed = now.saturating_sub(self.now) as f64 / SECOND as f64;
        // A clock that was set back, or two ticks at once.
        self.traffic.tick(now, if passed > 0.0 { passed } else { 1.0 });
        self.now = now;
        self.most_taken = self.most_taken.max(self.room().map_or(0, |(taken, _)| taken));
    }

    /// Begins lists and peaks anew.
    pub(crate) fn reset(&mut self) {
        self.traffic.reset();
        self.least_bits = self.protection.as_ref().and_then(|p| p.bits.as_ref()).map(|b| b.now);
        self.most_taken = self.room().map_or(0, |(taken, _)| taken);
        self.since = self.now;
    }

    /// Places that are taken, and all there are, of what the engine needs for each query.
    pub(crate) fn room(&self) -> Option<(u64, u64)> {
        match self.protection.as_ref()?.room? {
            Room::Slots(all) => Some((self.traffic.outstanding as u64, all)),
            Room::Conntrack { max: 0, .. } => None,
            Room::Conntrack { entries, max } => Some((entries, max)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::sample::Bits;

    fn model() -> Model {
        Model::new("gateway".to_owned(), &["wan0".to_owned()], 100 * SECOND, 1)
    }

    fn told(now: f64, lockdowns: u64, entries: u64) -> Sample {
        Sample::Protection(Ok(Box::new(Protection {
            bits: Some(Bits { now, worst: 0.0, note: "" }),
            lockdowns: Some(lockdowns),
            room: Some(Room::Conntrack { entries, max: 100 }),
            ..Protection::default()
        })))
    }

    #[test]
    fn peaks_are_kept_until_reset() {
        let mut model = model();
        for (bits, entries) in [(16.0, 10), (12.0, 90), (15.0, 20)] {
            model.feed(told(bits, 0, entries));
            model.tick(model.now + SECOND);
        }
        assert_eq!((model.least_bits, model.most_taken), (Some(12.0), 90));
        assert_eq!(model.room(), Some((20, 100)));
        model.reset();
        assert_eq!((model.least_bits, model.most_taken), (Some(15.0), 20));
        assert_eq!(model.since, model.now);
    }

    #[test]
    fn a_lockdown_has_its_time_if_we_were_there() {
        let mut model = model();
        model.feed(told(16.0, 3, 0));
        assert_eq!(model.last_lockdown, None, "those were before us");
        model.tick(105 * SECOND);
        model.feed(told(16.0, 4, 0));
        assert_eq!(model.last_lockdown, Some(105 * SECOND));
    }

    #[test]
    fn what_is_wrong_comes_and_goes() {
        let mut model = model();
        model.feed(Sample::Interface("wan0".to_owned(), Some("is down".to_owned())));
        model.feed(Sample::Protection(Err("no rights".to_owned())));
        assert_eq!(model.interfaces["wan0"].as_deref(), Some("is down"));
        assert!(model.trouble.is_some());
        model.feed(Sample::Interface("wan0".to_owned(), None));
        model.feed(told(16.0, 0, 0));
        assert_eq!((&model.interfaces["wan0"], &model.trouble), (&None, &None));
    }

    #[test]
    fn a_clock_that_goes_back_is_survived() {
        let mut model = model();
        model.tick(50 * SECOND);
        model.tick(50 * SECOND);
        assert_eq!(model.now, 50 * SECOND);
    }
}
