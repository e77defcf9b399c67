//! Which slots have the same question: for retransmissions, which keep their salt, and for the cap on
//! identical queries (CERT VU#800113, the third fault: a birthday attack).

use crate::Tables;
use crate::address::mix;
use crate::egress::Query;
use crate::habits::PATIENCE;
use crate::layout::{RECENT, RECENT_ENTRIES, Recent, SLOTS};
use crate::slot::{self, State, is_client, is_link, is_server, is_still};

const SLOT_BITS: u32 = SLOTS.trailing_zeros();

/// Where a question is noted, and with which tag.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) index: u32,
    tag: u32,
}

impl Place {
    #[inline(always)]
    pub(crate) fn of(query: &Query) -> Self {
        let server = query.server.high ^ query.server.low ^ u64::from(query.link) << 20;
        let hash = mix(query.question.hash ^ mix(server));
        Place { index: hash as u32 & (RECENT - 1), tag: (hash >> 51) as u32 }
    }
}

/// What is outstanding with the same question, to the same server, by the same interface.
pub(crate) struct Same {
    /// How many.
    pub(crate) count: u32,
    /// Whether one of them left with its letters in another case, and could long be answered.
    pub(crate) silent: u32,
    /// The same with a cookie.
    pub(crate) silent_cookie: u32,
    /// The slot of the very same query, asked before, and its state then.
    pub(crate) itself: Option<(u32, State)>,
}

#[inline(always)]
pub(crate) fn find<T: Tables>(tables: &T, recent: &Recent, place: Place, query: &Query) -> Same {
    let now = tables.now();
    let mut same = Same { count: 0, silent: 0, silent_cookie: 0, itself: None };
    for entry in &recent.entries {
        let entry = entry.load();
        if entry == 0 || entry >> SLOT_BITS != place.tag {
            continue;
        }
        let index = entry & (SLOTS - 1);
        let Some(slot) = tables.slot(index) else { continue };
        let state = State::of(slot);
        if !state.is_outstanding(now)
            || !is_still(slot, state)
            || slot.question.load() != query.question.hash
            || !is_link(slot, query.link)
            || !is_server(slot, query.server, query.server_port)
        {
            continue;
        }
        same.count += 1;
        let lifetime = tables.config().lifetime;
        same.silent |= state.is_cased_for(PATIENCE, now, lifetime);
        same.silent_cookie |= slot::has_cookie(slot) & state.has_waited(PATIENCE, now, lifetime);
        if slot.client_id.load() == query.id
            && slot.client_port.load() == query.client_port
            && slot.case.load() == query.question.case
            && is_client(slot, query.client)
        {
            same.itself = Some((index, state));
        }
    }
    same
}

/// Notes a slot; the oldest of its place is forgotten.
#[inline(always)]
pub(crate) fn note(recent: &Recent, place: Place, slot: u32) {
    let cursor = recent.cursor.load();
    let next = if cursor as usize + 1 >= RECENT_ENTRIES { 0 } else { cursor + 1 };
    recent.cursor.store(next);
    let entry = place.tag << SLOT_BITS | slot;
    for (at, place) in (0..).zip(&recent.entries) {
        if at == cursor {
            place.store(entry);
        }
    }
}
