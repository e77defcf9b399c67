//! Where a key was seen last: a hash table for one pass over a list, used again for the next.

use crate::event::mix;

/// Keys and the place of each in the list; open addressing, at most half full.
#[derive(Debug, Default)]
pub(crate) struct Last {
    slots: Vec<Slot>,
    mask: usize,
    /// Slots of earlier passes are free.
    pass: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    key: u64,
    pass: u32,
    place: u32,
}

impl Last {
    /// Begins a pass over a list of so many; all is forgotten.
    pub(crate) fn begin(&mut self, count: usize) -> &mut Self {
        let size = (2 * count).next_power_of_two().max(16);
        if self.slots.len() < size || self.pass == u32::MAX {
            self.slots = vec![Slot::default(); size];
            self.pass = 0;
        }
        self.mask = size - 1;
        self.pass += 1;
        self
    }

    /// The slot of a key, or the one where it is to go.
    fn slot(&mut self, key: u64) -> &mut Slot {
        let mut at = mix(key) as usize & self.mask;
        while self.slots[at].pass == self.pass && self.slots[at].key != key {
            at = (at + 1) & self.mask;
        }
        &mut self.slots[at]
    }

    /// Notes that a key stands at a place, and tells where it stood before.
    pub(crate) fn replace(&mut self, key: u64, place: usize) -> Option<usize> {
        let pass = self.pass;
        let slot = self.slot(key);
        let before = (slot.pass == pass).then_some(slot.place as usize);
        *slot = Slot { key, pass, place: place as u32 };
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_place_is_told_and_the_next_pass_begins_anew() {
        let mut last = Last::default();
        for count in [100, 30, 200] {
            last.begin(count);
            for i in 0..count {
                assert_eq!(last.replace(i as u64 % 7, i), i.checked_sub(7));
            }
        }
    }
}
