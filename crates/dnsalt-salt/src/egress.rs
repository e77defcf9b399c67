//! What leaves: a query gets a port and an ID that nobody can foresee.
//!
//! 1. Sent again while it is outstanding, it keeps its salt: it must not give an attacker a second
//!    target.
//! 2. Too many identical ones outstanding: dropped.
//! 3. Its server is under attack, or a near miss came: answered on the spot with TC=1.
//! 4. Otherwise a slot is drawn, and remembers what it was.

use crate::layout::{Counter, PORT_BITS, flags};
use crate::question::Question;
use crate::recent::{self, Place};
use crate::servers;
use crate::slot::{self, Entry, State, TAINTED};
use crate::tables::{pass, slot_index};
use crate::{Address, Tables};

/// Draws before the table counts as full. Where half of the slots are taken, all fail for one query
/// of 65,536.
const DRAWS: u32 = 16;

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
}

/// What to leave with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salt {
    /// The source port.
    pub port: u16,
    /// The query ID.
    pub id: u16,
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

/// Decides on a query.
#[inline(always)]
pub fn query<T: Tables>(tables: &T, query: &Query) -> Verdict {
    let config = tables.config();
    let place = Place::of(query);
    let Some(recent) = tables.recent(place.index) else { return Verdict::Pass };
    let same = recent::find(tables, recent, place, query);
    let may_tcp = !tables.without_tcp(query.client);
    if let Some((index, state)) = same.itself
        && let Some(slot) = tables.slot(index)
    {
        let salt = Salt { port: index as u16, id: slot.id.load() };
        if slot::renew(slot, state, tables.now(), config.lifetime) {
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

/// Draws until a slot can be had.
#[inline(always)]
fn drawn<T: Tables>(tables: &T, query: &Query) -> Option<(u32, Salt)> {
    let config = tables.config();
    let way = slot_index(config.key[0], query.client, query.server, 0);
    let now = tables.now();
    for _ in 0..DRAWS {
        let random = tables.draw()?;
        // A number below `ports`, each as likely (Lemire 2019).
        let product = (random & 0xffff_ffff) * u64::from(config.ports);
        if (product as u32) < config.ports_rest {
            continue;
        }
        let port = tables.port((product >> 32) as u32)?;
        let id = (random >> 32) as u16;
        let index = way & !0xffff | u32::from(port);
        let slot = tables.slot(index)?;
        let state = State::of(slot);
        if !state.is_claimable(now) {
            continue;
        }
        let entry = Entry {
            client: query.client,
            server: query.server,
            question: query.question.hash,
            case: query.question.case,
            link: query.link,
            client_port: query.client_port,
            client_id: query.id,
            id,
            server_port: query.server_port,
        };
        // What was not used of the draw, so that no query is taken for another.
        let generation = (random >> 48 << 16) ^ (random & 0xfff0);
        if slot::claim(slot, state, now, config.lifetime, generation, &entry) {
            return Some((index, Salt { port, id }));
        }
    }
    None
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
