//! Which slot a port is taken by, in one word: the one place that depends on a port that nobody can
//! foresee. Slots themselves are used in turn, so that few of them are in use and stay in caches.
//!
//! ```text
//!   31           13   12   11           0
//!   +--------------+-------+------------+
//!   |     slot     | waits |  deadline  |
//!   +--------------+-------+------------+
//! ```
//!
//! It tells where to look, and whether that is worth while; what is true stands in the slot, with the port
//! and the addresses that it was taken for. A word that names a slot that is used otherwise by now is
//! nothing.

use crate::layout::{LONGEST, PORT_BITS, SLOTS, Slot, WAYS};
use crate::slot::State;
use crate::word::Word32;
use crate::{Address, Tables};

const DEADLINE_BITS: u32 = 12;
const DEADLINE: u32 = (1 << DEADLINE_BITS) - 1;
const WAITS: u32 = 1 << DEADLINE_BITS;
/// Deadlines are kept in double units, rounded up; they wrap after 137 seconds.
const UNITS: u32 = 1;
/// Farther ahead than this nothing ends: a deadline that seems to has passed.
const AHEAD: u32 = LONGEST >> UNITS >> 1;
/// So long after its deadline a query is still worth a look, so that a late reply is told from a forged
/// one: 8.6 seconds.
const BEHIND: u32 = 1 << 8;

/// The word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken(pub u32);

impl Taken {
    /// By a query that waits at a slot until a deadline.
    #[inline(always)]
    pub fn by(slot: u32, deadline: u32) -> Self {
        let deadline = ((deadline >> UNITS) + 1) & DEADLINE;
        Taken(slot << (DEADLINE_BITS + 1) | WAITS | deadline)
    }

    /// Of the port at this place, now.
    #[inline(always)]
    pub(crate) fn of(word: &Word32) -> Self {
        Taken(word.load())
    }

    #[inline(always)]
    fn slot(self) -> u32 {
        self.0 >> (DEADLINE_BITS + 1)
    }

    /// How long its deadline is ahead.
    #[inline(always)]
    fn ahead(self, now: u32) -> u32 {
        self.0.wrapping_sub(now >> UNITS) & DEADLINE
    }

    /// Whether a query waits there, if all wait so long at most. Once in a while one that was never
    /// answered seems to: its deadline is that of another time. The slot is not asked: a port that cannot be
    /// drawn for a moment is cheaper.
    #[inline(always)]
    pub(crate) fn waits(self, now: u32, lifetime: u32) -> bool {
        self.0 & WAITS != 0 && self.ahead(now) <= (lifetime >> UNITS) + 2
    }

    /// Whether one waits there, or did until just now.
    #[inline(always)]
    fn is_of_interest(self, now: u32) -> bool {
        self.0 != 0 && self.ahead(now).wrapping_add(BEHIND) & DEADLINE <= AHEAD + BEHIND
    }
}

/// Where a port of a client and a server is noted.
#[inline(always)]
pub(crate) fn place(key: u64, client: Address, server: Address, port: u16) -> u32 {
    way(key, client, server) << PORT_BITS | u32::from(port)
}

/// Which of the [`WAYS`] a client and a server have: each port can be taken once in it.
#[inline(always)]
pub fn way(key: u64, client: Address, server: Address) -> u32 {
    client.mixed(server, key) as u32 & (WAYS - 1)
}

/// What a port is, or just was, taken by: the word, the slot, and the slot's state before it was looked at.
#[inline(always)]
pub(crate) fn find<'a, T: Tables>(
    tables: &'a T,
    word: &Word32,
    port: u16,
    now: u32,
) -> Option<(Taken, &'a Slot, State)> {
    let taken = Taken::of(word);
    if !taken.is_of_interest(now) {
        return None;
    }
    let slot = tables.slot(taken.slot())?;
    let state = State::of(slot);
    (slot.port.load() == port).then_some((taken, slot, state))
}

/// Takes a port that was seen in this state; whether it could be had.
#[inline(always)]
pub(crate) fn take(word: &Word32, seen: Taken, slot: u32, deadline: u32) -> bool {
    word.replace(seen.0, Taken::by(slot, deadline).0)
}

/// Notes that nobody waits any more.
#[inline(always)]
pub(crate) fn leave(word: &Word32, taken: Taken) {
    // Where somebody else took it meanwhile it is his.
    word.replace(taken.0, taken.0 & !WAITS);
}

/// Notes that a query waits longer.
#[inline(always)]
pub(crate) fn renew(word: &Word32, slot: u32, deadline: u32) {
    let taken = Taken::of(word);
    if taken.slot() == slot {
        word.replace(taken.0, Taken::by(slot, deadline).0);
    }
}

const _: () = {
    assert!(SLOTS == 1 << (32 - DEADLINE_BITS - 1));
    assert!(LONGEST >> UNITS == DEADLINE + 1);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_wrap() {
        // A minute is the longest that a query may wait.
        for now in (0..1 << 15).step_by(7) {
            for lifetime in [1, 60, 298, 3576] {
                let taken = Taken::by(1, now + lifetime);
                for at in [now, now + lifetime / 2, now + lifetime] {
                    assert!(
                        taken.waits(at, lifetime) && taken.is_of_interest(at),
                        "{now} {lifetime}"
                    );
                }
                let after = now + lifetime + 4;
                assert!(!taken.waits(after, lifetime) && taken.is_of_interest(after));
                assert!(!taken.is_of_interest(now + lifetime + 2 * BEHIND + 4));
            }
        }
        assert!(!Taken(0).is_of_interest(0));
    }
}
