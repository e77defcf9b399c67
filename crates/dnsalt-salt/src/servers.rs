//! What is forged in the names of servers, and lockdown: while somebody forges replies of a server as
//! fast as the wire goes, no query leaves for it over UDP, and nothing that UDP brings is believed.
//!
//! A lockdown begins with many near misses within a second, or with many more replies that no query waits
//! for: whoever guesses ports as well meets the right one too seldom for the former.
//!
//! Servers share places, by a hash with a key. Everybody can send in any name, so a count that gave way to
//! another address could be made to. It is kept for the place instead: the sum of a few servers, all but
//! one of which are silent but for an attack. What is locked down is one address; where a second one of the
//! place would be as well, all of the place.

use crate::Address;
use crate::Tables;
use crate::layout::{Counter, Event, SERVERS, Server, TIME_SHIFT};
use crate::slot::lasts;
use crate::word::Word32;

/// A second in units of time.
const SECOND: u32 = (1_000_000_000_u64 >> TIME_SHIFT) as u32;

/// Whether no UDP is to leave for a server, and none from it to be believed.
#[inline(always)]
pub(crate) fn is_locked<T: Tables>(tables: &T, server: Address) -> bool {
    let config = tables.config();
    if config.lockdown_after == 0 && config.lockdown_unsolicited == 0 {
        return false;
    }
    place(tables, server).is_some_and(|place| is_locked_at(place, server, tables.now()))
}

/// Counts a near miss; enough of them within a second begin a lockdown, or make it last.
#[inline(always)]
pub(crate) fn missed<T: Tables>(tables: &T, server: Address, cause: Counter) {
    let enough = tables.config().lockdown_after;
    if enough == 0 {
        return;
    }
    let Some(place) = place(tables, server) else { return };
    let now = tables.now();
    begin_second(place, now);
    if is_reached(&place.misses, enough) {
        lock(tables, place, server, now, cause);
    }
}

/// Counts a reply that no query waits for; too many of them within a second begin a lockdown. While one
/// lasts each counts as a near miss, too: as few as those show that the attack goes on.
#[inline(always)]
pub(crate) fn unsolicited<T: Tables>(tables: &T, server: Address) {
    let config = tables.config();
    let (enough, most) = (config.lockdown_after, config.lockdown_unsolicited);
    if enough == 0 && most == 0 {
        return;
    }
    let Some(place) = place(tables, server) else { return };
    let now = tables.now();
    begin_second(place, now);
    let too_many = most != 0 && is_reached(&place.unsolicited, most.saturating_add(1));
    if too_many
        || enough != 0 && is_locked_at(place, server, now) && is_reached(&place.misses, enough)
    {
        lock(tables, place, server, now, Counter::Forged);
    }
}

#[inline(always)]
fn place<T: Tables>(tables: &T, server: Address) -> Option<&Server> {
    tables.server(server.place(tables.config().key[1]) & (SERVERS - 1))
}

#[inline(always)]
fn is_locked_until(until: u32, now: u32) -> bool {
    until != 0 && lasts(until, now)
}

#[inline(always)]
fn is_locked_at(place: &Server, server: Address, now: u32) -> bool {
    is_locked_until(place.locked_until.load(), now) && server.is(&place.address)
        || is_locked_until(place.all_locked_until.load(), now)
}

/// Counts anew if a second has passed.
#[inline(always)]
fn begin_second(place: &Server, now: u32) {
    if now.wrapping_sub(place.since.load()) >= SECOND {
        place.since.store(now);
        place.misses.store(0);
        place.unsolicited.store(0);
    }
}

/// Adds one, unless there are enough already; whether there are now. In a flood processors do not
/// wait for each other.
#[inline(always)]
fn is_reached(count: &Word32, enough: u32) -> bool {
    count.load() >= enough || count.increment() + 1 >= enough
}

/// Begins a lockdown, or makes it last.
#[inline(always)]
fn lock<T: Tables>(tables: &T, place: &Server, server: Address, now: u32, cause: Counter) {
    // 0 means never.
    let until = now.wrapping_add(tables.config().lockdown) | 1;
    // In this order, as another processor may be at it: it writes the address first.
    let locked = is_locked_until(place.locked_until.load(), now);
    let is_of = server.is(&place.address);
    let begun = if locked && !is_of {
        prolong(&place.all_locked_until, until, now)
    } else {
        if !is_of {
            server.store(&place.address);
        }
        prolong(&place.locked_until, until, now)
    };
    if begun {
        tables.count(Counter::Lockdowns);
        tables.tell(&Event {
            server,
            counter: Counter::Lockdowns as u32,
            cause: cause as u32,
            ..Event::default()
        });
    }
}

/// Whether it begins with that: of several processors, one is told so.
#[inline(always)]
fn prolong(end: &Word32, until: u32, now: u32) -> bool {
    end.load() != until && !is_locked_until(end.swap(until), now)
}
