//! Where a key was seen last: a hash table for one pass over a list.

use crate::event::mix;

/// Keys and the place of each in the list; open addressing, at most half full.
pub(crate) struct Last {
    slots: Vec<(u64, u32)>,
}

const FREE: u32 = u32::MAX;

impl Last {
    /// For a list of so many.
    pub(crate) fn of(count: usize) -> Self {
        Last { slots: vec![(0, FREE); (2 * count).next_power_of_two().max(16)] }
    }

    /// Notes that a key stands at a place, and tells where it stood before.
    pub(crate) fn replace(&mut self, key: u64, place: usize) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let mut at = mix(key) as usize & mask;
        loop {
            let slot = &mut self.slots[at];
            if slot.1 == FREE {
                *slot = (key, u32::try_from(place).unwrap_or(0));
                return None;
            }
            if slot.0 == key {
                return Some(
                    std::mem::replace(&mut slot.1, u32::try_from(place).unwrap_or(0)) as usize
                );
            }
            at = (at + 1) & mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_place_is_told() {
        let mut last = Last::of(100);
        for i in 0..100 {
            assert_eq!(last.replace(i as u64 % 7, i), i.checked_sub(7));
        }
    }
}
