//! What leaves: a query gets a port and an ID that nobody can foresee.
//!
//! 1. Sent again while it is outstanding, it keeps its salt: it must not give an attacker a second
//!    target.
//! 2. Too many identical ones outstanding: dropped.
//! 3. Its server is under attack, or a near miss came: answered on the spot with TC=1.
//! 4. Otherwise a slot is drawn, and remembers what it was.

use crate::case::Nonce;
use crate::edns::Added;
use crate::habits::{self, What};
use crate::layout::{Counter, PORT_BITS, SLOTS, Slot, flags};
use crate::question::Question;
use crate::recent::{self, Place};
use crate::servers;
use crate::slot::{self, Entry, State, TAINTED};
use crate::tables::{Draw, pass};
use crate::taken::{self, Taken};
use crate::{Address, Tables, pool};

/// Draws before the ports count as full. Where half of them are taken, all fail for one query of 65,536.
const DRAWS: u32 = 16;
/// Slots that are looked at before all count as taken. Where three of four are, all fail for one query of
/// 10,000.
const PROBES: u32 = 32;

/// A query that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Who asks.
    pub client: Address,
    /// Who is asked.
    pub server: Address,
    /// From which port.
    pub client_port: u16,
    /// On which port.
    pub server_port: u16,
    /// The query ID.
    pub id: u16,
    /// The interface.
    pub link: u32,
    /// What is asked.
    pub question: Question,
    /// Whether its letters change their case: see [`is_cased`].
    pub cased: bool,
    /// What is added to it: see [`crate::cookies::added`].
    pub added: Added,
}

/// What to leave with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salt {
    /// The source port.
    pub port: u16,
    /// The query ID.
    pub id: u16,
    /// What letters change by, if they do.
    pub case: Option<Nonce>,
    /// The source address.
    pub source: Address,
    /// What is added.
    pub added: Added,
}

/// What to do with a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it go as it is.
    Pass,
    /// Let it go with this port and ID.
    Salt(Salt),
    /// Answer it with TC=1, as if by the server, to this port and ID.
    Answer(Salt),
    /// Do not let it go.
    Drop,
}

/// Whether the letters of a query change their case. Those of clients that cannot do TCP do not: a server
/// that does not keep it could not be asked again.
#[inline(always)]
pub fn is_cased<T: Tables>(tables: &T, client: Address, server: Address) -> bool {
    let config = tables.config();
    if !config.has(flags::CASE) || tables.without_tcp(client) || tables.without_case(server) {
        return false;
    }
    !config.has(flags::LEARN_CASE) || !habits::is_left_alone(tables, server, What::Case)
}

/// Decides on a query.
#[inline(always)]
pub fn query<T: Tables>(tables: &T, query: &Query) -> Verdict {
    let config = tables.config();
    let place = Place::of(query);
    let Some(recent) = tables.recent(place.index) else { return Verdict::Pass };
    let same = recent::find(tables, recent, place, query);
    let may_tcp = !tables.without_tcp(query.client);
    if same.silent != 0 && config.has(flags::LEARN_CASE) {
        habits::unanswered(tables, query.server, What::Case);
    }
    if same.silent_cookie != 0 {
        habits::unanswered(tables, query.server, What::Cookies);
    }
    if let Some((index, state)) = same.itself
        && let Some(slot) = tables.slot(index)
    {
        let (port, id) = (slot.port.load(), slot.id.load());
        let source = pool::source(tables, query.client, query.server, state.generation());
        let added = slot::added(slot);
        let salt = Salt { port, id, case: state.case((port, id)), source, added };
        let now = tables.now();
        if slot::renew(slot, state, now, config.lifetime) {
            let place = taken::place(config.key[0], source, query.server, salt.port);
            if let Some(word) = tables.taken(place) {
                taken::renew(word, index, now.wrapping_add(config.lifetime));
            }
            tables.count(Counter::Retransmitted);
            let tainted = state.phase() == TAINTED && !config.has(flags::BELIEVE_AFTER_MISS);
            let answer = may_tcp && (tainted || servers::is_locked(tables, query.server));
            return left(tables, answer, salt);
        }
    }
    if config.max_identical != 0 && same.count >= config.max_identical {
        tables.count(Counter::Identical);
        return Verdict::Drop;
    }
    let Some((index, salt)) = drawn(tables, query) else {
        return full(tables, query);
    };
    recent::note(recent, place, index);
    left(tables, may_tcp && servers::is_locked(tables, query.server), salt)
}

#[inline(always)]
fn left<T: Tables>(tables: &T, answer: bool, salt: Salt) -> Verdict {
    if answer {
        tables.count(Counter::AnsweredTc);
        Verdict::Answer(salt)
    } else {
        tables.count(Counter::Salted);
        Verdict::Salt(salt)
    }
}

/// Claims a slot, and draws a port for it.
#[inline(always)]
fn drawn<T: Tables>(tables: &T, query: &Query) -> Option<(u32, Salt)> {
    let draw = tables.draw()?;
    let (index, slot) = claimed(tables, draw)?;
    let salt = with_port(tables, query, draw, index, slot);
    if salt.is_none() {
        slot::give_back(slot);
    }
    Some((index, salt?))
}

/// A slot of our own: that whose turn it is among the near ones, or else any. Not the next after it: what a
/// processor uses in turn may be what another has just used, all of it.
#[inline(always)]
fn claimed<T: Tables>(tables: &T, draw: Draw) -> Option<(u32, &Slot)> {
    let now = tables.now();
    for probe in 0..PROBES {
        let index = if probe == 0 { draw.near } else { far(draw.random, probe) };
        let index = index & (SLOTS - 1);
        let slot = tables.slot(index)?;
        let state = State::of(slot);
        if state.is_claimable(now) && slot::claim(slot, state, now, draw.random) {
            return Some((index, slot));
        }
    }
    None
}

/// Between two probes: odd, so that no two of one query meet, and the golden section of all slots, so that they are
/// spread evenly however many there are.
const STEP: u32 = 324_027;

/// One of all slots, another for each probe; an index once it is masked.
#[inline(always)]
fn far(random: u64, probe: u32) -> u32 {
    ((random >> 13) as u32).wrapping_add(probe.wrapping_mul(STEP))
}

/// Draws until a port can be had.
#[inline(always)]
fn with_port<T: Tables>(
    tables: &T,
    query: &Query,
    first: Draw,
    index: u32,
    slot: &Slot,
) -> Option<Salt> {
    let config = tables.config();
    let (now, lifetime) = (tables.now(), config.lifetime);
    // What is not used of the draw, so that no query is taken for another.
    let generation = (first.random >> 48 << 16) ^ (first.random & 0xfff0);
    let source = pool::source(tables, query.client, query.server, generation);
    let way = taken::place(config.key[0], source, query.server, 0);
    let mut random = first.random;
    for _ in 0..DRAWS {
        if let Some(port) = port(tables, random) {
            let word = tables.taken(way | u32::from(port))?;
            let seen = Taken::of(word);
            if !seen.waits(now, lifetime) {
                let id = (random >> 32) as u16;
                let entry = entry(query, (port, id));
                let state = slot::publish(slot, now, lifetime, generation, &entry);
                if taken::take(word, seen, index, now.wrapping_add(lifetime)) {
                    let (case, added) = (state.case((port, id)), query.added);
                    return Some(Salt { port, id, case, source, added });
                }
            }
        }
        random = tables.draw()?.random;
    }
    None
}

/// A port by a draw; each as likely (Lemire 2019), so that not every draw gives one.
#[inline(always)]
fn port<T: Tables>(tables: &T, random: u64) -> Option<u16> {
    let config = tables.config();
    let product = (random & 0xffff_ffff) * u64::from(config.ports);
    if (product as u32) < config.ports_rest { None } else { tables.port((product >> 32) as u32) }
}

/// What a slot is to remember.
#[inline(always)]
fn entry(query: &Query, (port, id): (u16, u16)) -> Entry {
    Entry {
        client: query.client,
        server: query.server,
        question: query.question.hash,
        case: query.question.case,
        link: query.link,
        port,
        client_port: query.client_port,
        client_id: query.id,
        id,
        server_port: query.server_port,
        cased: query.cased,
        added: query.added,
    }
}

#[inline(always)]
fn full<T: Tables>(tables: &T, query: &Query) -> Verdict {
    tables.count(Counter::Full);
    if tables.config().has(flags::DROP_WHEN_FULL) {
        return Verdict::Drop;
    }
    pass(tables, query.client, query.client_port);
    Verdict::Pass
}

const _: () = assert!(PORT_BITS == 16);
