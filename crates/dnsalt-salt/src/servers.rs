//! Near misses by server, and lockdown: while somebody forges replies of a server as fast as the wire
//! goes, no query leaves for it over UDP.

use crate::Address;
use crate::Tables;
use crate::layout::{Counter, Event, SERVERS, Server, TIME_SHIFT};
use crate::slot::lasts;

/// A second in units of time.
const SECOND: u32 = (1_000_000_000_u64 >> TIME_SHIFT) as u32;

#[inline(always)]
fn place<T: Tables>(tables: &T, server: Address) -> Option<&Server> {
    let hash = server.mixed(Address::default(), tables.config().key[1]);
    tables.server(hash as u32 & (SERVERS - 1))
}

#[inline(always)]
fn is_of(place: &Server, server: Address) -> bool {
    place.address[0].load() == server.high && place.address[1].load() == server.low
}

#[inline(always)]
fn is_locked_until(until: u32, now: u32) -> bool {
    until != 0 && lasts(until, now)
}

/// Whether no UDP is to leave for a server.
#[inline(always)]
pub(crate) fn is_locked<T: Tables>(tables: &T, server: Address) -> bool {
    if tables.config().lockdown_after == 0 {
        return false;
    }
    let Some(place) = place(tables, server) else { return false };
    is_locked_until(place.locked_until.load(), tables.now()) && is_of(place, server)
}

/// Counts a near miss; enough of them within a second begin a lockdown, or make it last.
#[inline(always)]
pub(crate) fn missed<T: Tables>(tables: &T, server: Address) {
    let config = tables.config();
    if config.lockdown_after == 0 {
        return;
    }
    let Some(place) = place(tables, server) else { return };
    let now = tables.now();
    let until = place.locked_until.load();
    let locked = is_locked_until(until, now);
    if !is_of(place, server) {
        // Who is locked down stays; who has only had near misses gives way.
        if locked {
            return;
        }
        place.address[0].store(server.high);
        place.address[1].store(server.low);
        place.locked_until.store(0);
        place.since.store(now);
        place.misses.store(0);
    }
    if now.wrapping_sub(place.since.load()) >= SECOND {
        place.since.store(now);
        place.misses.store(0);
    }
    let misses = place.misses.increment() + 1;
    if misses < config.lockdown_after {
        return;
    }
    // 0 means never.
    place.locked_until.store(now.wrapping_add(config.lockdown) | 1);
    if !locked && misses == config.lockdown_after {
        tables.count(Counter::Lockdowns);
        tables.tell(&Event { server, counter: Counter::Lockdowns as u32, ..Event::default() });
    }
}

/// A reply that no query waits for: while a lockdown lasts, it shows that the attack does too.
#[inline(always)]
pub(crate) fn forged<T: Tables>(tables: &T, server: Address) {
    if is_locked(tables, server) {
        missed(tables, server);
    }
}
