//! Who has most, in bounded memory: the space-saving algorithm (Metwally, Agrawal, El Abbadi: Efficient
//! computation of frequent and top-k elements in data streams, 2005).
//!
//! Addresses can be spoofed, each packet with another one. So there is a fixed number of places. Who has
//! none takes the place of whoever counts least, and its count, as an error: the newcomer may have been
//! counted there before. What is shown is what is certain, the count without the error. Of `n` packets
//! nobody loses more than `n / places`, so whoever has more than that is always found.

use std::collections::HashMap;

use dnsalt_audit::event::Address;

/// Counts by address, with what else is known of each.
#[derive(Clone, Debug)]
pub(crate) struct Top<V> {
    places: usize,
    entries: Vec<Entry<V>>,
    index: HashMap<Address, usize>,
}

/// What is known of an address.
#[derive(Clone, Debug)]
pub(crate) struct Entry<V> {
    pub(crate) address: Address,
    /// With what whoever was here before had.
    count: u64,
    error: u64,
    /// What was certain at the last tick.
    before: u64,
    /// Counted a second between the last two ticks.
    pub(crate) rate: f64,
    /// What else is kept of it; lost with the place.
    pub(crate) detail: V,
}

impl<V> Entry<V> {
    /// How often it was counted for certain.
    pub(crate) fn certain(&self) -> u64 {
        self.count - self.error
    }
}

impl<V: Default> Top<V> {
    /// With so many places, one at least.
    pub(crate) fn new(places: usize) -> Self {
        Top { places: places.max(1), entries: Vec::new(), index: HashMap::new() }
    }

    /// Counts an address once; what else is known of it.
    pub(crate) fn count(&mut self, address: Address) -> &mut V {
        let at = match self.index.get(&address) {
            Some(at) => *at,
            None => self.place(address),
        };
        let entry = &mut self.entries[at];
        entry.count += 1;
        &mut entry.detail
    }

    /// A place for an address that has none.
    fn place(&mut self, address: Address) -> usize {
        let fresh = |error| {
            let detail = V::default();
            Entry { address, count: error, error, before: 0, rate: 0.0, detail }
        };
        if self.entries.len() < self.places {
            self.entries.push(fresh(0));
            self.index.insert(address, self.entries.len() - 1);
            return self.entries.len() - 1;
        }
        let least = self.entries.iter().enumerate().min_by_key(|(_, entry)| entry.count);
        let at = least.map_or(0, |(at, _)| at);
        self.index.remove(&self.entries[at].address);
        self.index.insert(address, at);
        self.entries[at] = fresh(self.entries[at].count);
        at
    }

    /// Works out the rates: so many seconds went by since the last time.
    pub(crate) fn tick(&mut self, seconds: f64) {
        for entry in &mut self.entries {
            entry.rate = (entry.certain() - entry.before) as f64 / seconds;
            entry.before = entry.certain();
        }
    }

    /// Those that have most, at most so many; who has the same in the order of addresses.
    pub(crate) fn most(&self, limit: usize) -> Vec<&Entry<V>> {
        let mut all: Vec<_> = self.entries.iter().collect();
        all.sort_by_key(|entry| (std::cmp::Reverse(entry.certain()), entry.address));
        all.truncate(limit);
        all
    }

    /// Addresses that have a place.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there may be more than have a place.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() == self.places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_counted_exactly() {
        let mut top = Top::<u64>::new(4);
        for address in [1, 2, 1, 3, 1, 2] {
            *top.count(Address(address)) += 10;
        }
        top.tick(2.0);
        let most = top.most(2);
        let seen: Vec<_> = most.iter().map(|e| (e.address.0, e.certain(), e.detail)).collect();
        assert_eq!(seen, [(1, 3, 30), (2, 2, 20)]);
        assert!((most[0].rate - 1.5).abs() < 1e-9);
        assert!(!top.is_full());
    }

    #[test]
    fn spoofed_addresses_take_no_memory_and_hide_nobody() {
        let mut top = Top::<()>::new(64);
        for n in 0..100_000_u32 {
            top.count(Address(u128::from(n) + 1000));
            if n % 10 == 0 {
                top.count(Address(7));
            }
        }
        assert_eq!((top.len(), top.index.len()), (64, 64));
        assert!(top.is_full());
        let first = top.most(1)[0];
        assert_eq!(first.address, Address(7));
        // One in 11 packets: not more than a 64th of all may be missing.
        assert!(first.certain() > 10_000 - 110_000 / 64, "{}", first.certain());
        top.tick(1.0);
    }
}
