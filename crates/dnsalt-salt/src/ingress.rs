//! What comes in: only the right reply passes, and only once.
//!
//! 1. No query waits at the port: dropped. No ICMP error leaves, which would tell an attacker that the
//!    port is closed (SAD DNS).
//! 2. One waits, but for another server, ID or question: a near miss. Dropped, and the query is
//!    tainted.
//! 3. All is right: port and ID are put back, and the slot is closed.
//! 4. All is right but the query is tainted, or its server locked down since: cut down to TC=1, so that
//!    the client asks over TCP, which nobody off the path can forge. However fast an attacker is, a query
//!    gives him one guess.

use crate::case::Nonce;
use crate::edns::{Added, Brought};
use crate::habits::{self, What};
use crate::layout::{Counter, Event, PORT_BITS, Slot, WAYS, flags};
use crate::question::Question;
use crate::slot::{self, DONE, LIVE, State, TAINTED, is_client, is_server, is_source, is_still};
use crate::tables::is_let_through;
use crate::{Address, Tables, taken};
use crate::{cookies, servers};

/// A reply that comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// Who sent it.
    pub server: Address,
    /// Whom it is for: the client, or the address that its query left with.
    pub to: Address,
    /// From which port.
    pub server_port: u16,
    /// To which port.
    pub port: u16,
    /// The query ID.
    pub id: u16,
    /// What it answers.
    pub question: Question,
    /// Whether it is an error without question and records.
    pub bare_error: bool,
    /// Whether it is a question with TC=1 and no more: there is nothing in it to believe.
    pub bare_tc: bool,
    /// Whether it comes in fragments.
    pub fragmented: bool,
    /// What stands at its end.
    pub brought: &'a Brought,
}

/// What to put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Who asked.
    pub client: Address,
    /// The port that the client chose.
    pub port: u16,
    /// The query ID that the client chose.
    pub id: u16,
    /// What was added to the query.
    pub added: Added,
}

/// What to do with a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it in as it is.
    Pass,
    /// Let it in to this port, with this ID.
    Restore(Origin),
    /// Let in its question alone, with TC=1, to this port, with this ID.
    Truncate(Origin),
    /// Do not let it in.
    Drop,
}

/// Decides on a reply to somebody whose queries are salted. `restore` changes the letters of its question
/// back, and says whether they have the case then that the client chose, whose hash is given.
#[inline(always)]
pub fn reply<T: Tables>(
    tables: &T,
    reply: &Reply<'_>,
    restore: impl FnOnce(Nonce, u32) -> bool,
) -> Verdict {
    let config = tables.config();
    let place = taken::place(config.key[0], reply.to, reply.server, reply.port);
    let Some(word) = tables.taken(place) else { return Verdict::Pass };
    let now = tables.now();
    let Some((taken, slot, state)) = taken::find(tables, word, reply.port, now) else {
        return unasked(tables, reply);
    };
    if state.is_outstanding(now) && is_still(slot, state) && is_asked(tables, slot, state, reply) {
        let id = slot.id.load();
        if id != reply.id {
            return near_miss(tables, reply, Counter::WrongId, id);
        }
        let question = slot.question.load();
        if question != reply.question.hash && !reply.bare_error {
            return near_miss(tables, reply, Counter::WrongQuestion, id);
        }
        let verdict = right(tables, reply, slot, state, restore);
        taken::leave(word, taken);
        return verdict;
    }
    if is_asked(tables, slot, state, reply)
        && slot.id.load() == reply.id
        && slot.question.load() == reply.question.hash
        && is_still(slot, state)
    {
        if state.phase() == DONE && !state.is_over(now) {
            return drop(tables, Counter::Duplicate);
        }
        if state.phase() == LIVE || state.phase() == TAINTED {
            return drop(tables, Counter::Late);
        }
    }
    unasked(tables, reply)
}

#[inline(always)]
fn is_asked<T: Tables>(tables: &T, slot: &Slot, state: State, reply: &Reply<'_>) -> bool {
    slot.port.load() == reply.port
        && is_server(slot, reply.server, reply.server_port)
        && is_source(tables, slot, state, reply.to, reply.server)
}

#[inline(always)]
fn drop<T: Tables>(tables: &T, counter: Counter) -> Verdict {
    tables.count(counter);
    Verdict::Drop
}

#[inline(always)]
fn right<T: Tables>(
    tables: &T,
    reply: &Reply<'_>,
    slot: &Slot,
    state: State,
    restore: impl FnOnce(Nonce, u32) -> bool,
) -> Verdict {
    let config = tables.config();
    let client = Address::of(&slot.client);
    let added = slot::added(slot);
    let origin = Origin { client, port: slot.client_port.load(), id: slot.client_id.load(), added };
    let nonce = state.case((reply.port, reply.id));
    let case = slot.case.load();
    let same_case = reply.question.length == 0
        || match nonce {
            Some(nonce) => restore(nonce, case),
            None => case == reply.question.case,
        };
    // A near miss may come at this very moment.
    let missed = !slot::close(slot, state);
    if missed && !slot::close_tainted(slot, state) {
        return drop(tables, Counter::Duplicate);
    }
    let tainted = (missed || state.phase() == TAINTED) && !config.has(flags::BELIEVE_AFTER_MISS);
    // What was asked before the lockdown began must not be raced either.
    let doubtful = !reply.bare_tc && (tainted || servers::is_locked(tables, reply.server));
    let fine = added == Added::Nothing || reply.bare_tc || {
        let event = event_of(reply, Counter::CookieMissing, reply.id);
        cookies::is_fine(tables, reply, added, &event)
    };
    if added == Added::Nothing && config.has(flags::COOKIES) && !doubtful {
        habits::plain(tables, reply.server, What::Cookies);
    }
    let in_pieces = reply.fragmented && config.has(flags::NO_FRAGMENTS);
    if !same_case {
        tables.count(Counter::WrongCase);
        tables.tell(&event_of(reply, Counter::WrongCase, reply.id));
    }
    if config.has(flags::LEARN_CASE) && reply.question.length != 0 && !doubtful {
        match (nonce, same_case) {
            (Some(_), true) => habits::kept(tables, reply.server, What::Case),
            (Some(_), false) => habits::broken(tables, reply.server, What::Case),
            (None, _) => habits::plain(tables, reply.server, What::Case),
        }
    }
    if (doubtful || in_pieces || !same_case || !fine) && !tables.without_tcp(client) {
        tables.count(Counter::Truncated);
        return Verdict::Truncate(origin);
    }
    tables.count(Counter::Restored);
    Verdict::Restore(origin)
}

/// A reply to a port at which nobody waits for this server.
#[inline(always)]
fn unasked<T: Tables>(tables: &T, reply: &Reply<'_>) -> Verdict {
    if is_let_through(tables, reply.to, reply.port) {
        tables.count(Counter::Passed);
        return Verdict::Pass;
    }
    if taint_all(tables, reply) {
        return near_miss_of(tables, reply, Counter::WrongServer, 0);
    }
    servers::unsolicited(tables, reply.server);
    drop(tables, Counter::Forged)
}

#[inline(always)]
fn near_miss<T: Tables>(
    tables: &T,
    reply: &Reply<'_>,
    counter: Counter,
    wanted_id: u16,
) -> Verdict {
    taint_all(tables, reply);
    near_miss_of(tables, reply, counter, wanted_id)
}

#[inline(always)]
fn near_miss_of<T: Tables>(
    tables: &T,
    reply: &Reply<'_>,
    counter: Counter,
    wanted: u16,
) -> Verdict {
    servers::missed(tables, reply.server, counter);
    tables.tell(&event_of(reply, counter, wanted));
    drop(tables, counter)
}

#[inline(always)]
fn event_of(reply: &Reply<'_>, counter: Counter, wanted_id: u16) -> Event {
    Event {
        client: reply.to,
        server: reply.server,
        counter: counter as u32,
        port: reply.port,
        id: reply.id,
        wanted_id,
        server_port: reply.server_port,
        ..Event::default()
    }
}

/// Taints whatever waits at the port that was hit; whether anything does. Where source addresses are drawn,
/// a hit is one with any of them: the one guess that an attacker has is one for all.
#[inline(always)]
fn taint_all<T: Tables>(tables: &T, reply: &Reply<'_>) -> bool {
    let now = tables.now();
    let any_address = tables.config().has_pool_for(reply.server);
    let mut any = false;
    for way in 0..WAYS {
        let place = way << PORT_BITS | u32::from(reply.port);
        let Some(word) = tables.taken(place) else { continue };
        let Some((_, slot, state)) = taken::find(tables, word, reply.port, now) else { continue };
        if state.is_outstanding(now)
            && is_still(slot, state)
            && (any_address || is_client(slot, reply.to))
        {
            slot::taint(slot, state);
            any = true;
        }
    }
    any
}
