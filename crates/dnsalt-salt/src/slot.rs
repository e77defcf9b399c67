//! The state of a slot, in one word that is changed by compare-and-swap alone.
//!
//! ```text
//!   63            32 31             4   3   2    0
//!   +---------------+----------------+-----+-----+
//!   |   deadline    |   generation   |cased|phase|
//!   +---------------+----------------+-----+-----+
//!
//!   FREE ──claim──> BUSY ──publish──> LIVE ──near miss──> TAINTED
//!     ^                                │ right reply         │
//!     └─────────── claim of ───────── DONE <─────────────────┘
//! ```
//!
//! The generation is drawn at random for each query: who finds the word unchanged knows that all fields
//! are still those of the same query. A slot whose deadline has passed can be claimed whatever it is, so
//! nothing has to be cleaned up.

use crate::case::Nonce;
use crate::edns::Added;
use crate::layout::{LONGEST, Slot};
use crate::{Address, Tables, pool};

/// Nothing there.
pub const FREE: u64 = 0;
/// Somebody writes it.
pub const BUSY: u64 = 1;
/// A query waits for its reply.
pub const LIVE: u64 = 2;
/// It waits, but a near miss came: nothing that UDP brings is believed.
pub const TAINTED: u64 = 3;
/// The reply came.
pub const DONE: u64 = 4;

const PHASE: u64 = 7;
/// The query left with its letters in another case.
const CASED: u64 = 8;
const GENERATION: u64 = 0xffff_fff0;
/// Bits of a generation.
pub const GENERATION_BITS: u32 = GENERATION.count_ones();
/// Units of time that writing a slot can take, at the very most.
const WRITING: u32 = 60;

/// The word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State(pub u64);

impl State {
    /// The state of a slot, now.
    #[inline(always)]
    pub fn of(slot: &Slot) -> Self {
        State(slot.state.load())
    }

    #[inline(always)]
    fn new(deadline: u32, generation: u64, phase: u64) -> Self {
        State(u64::from(deadline) << 32 | generation & GENERATION | phase)
    }

    /// What the slot is.
    #[inline(always)]
    pub fn phase(self) -> u64 {
        self.0 & PHASE
    }

    #[inline(always)]
    fn with(self, phase: u64) -> Self {
        State(self.0 & !PHASE | phase)
    }

    /// What the letters of a query were changed by, if they were: see [`crate::case`].
    #[inline(always)]
    pub fn case(self, salt: (u16, u16)) -> Option<Nonce> {
        (self.0 & CASED != 0).then(|| nonce(self.0, salt))
    }

    /// The generation.
    #[inline(always)]
    pub fn generation(self) -> u64 {
        self.0 & GENERATION
    }

    /// Whether the query left with its letters in another case, at least so long ago: 1 if so. Without a
    /// branch, which the verifier would follow both ways each time.
    #[inline(always)]
    pub fn is_cased_for(self, age: u32, now: u32, lifetime: u32) -> u32 {
        (self.0 / CASED) as u32 & self.has_waited(age, now, lifetime)
    }

    /// Whether the query left at least so long ago, in the same way.
    #[inline(always)]
    pub(crate) fn has_waited(self, age: u32, now: u32, lifetime: u32) -> u32 {
        let asked = ((self.0 >> 32) as u32).wrapping_sub(lifetime);
        let beyond = now.wrapping_sub(asked).wrapping_sub(age);
        !(beyond >> 31) & 1
    }

    /// Whether the deadline has passed.
    #[inline(always)]
    pub fn is_over(self, now: u32) -> bool {
        !lasts((self.0 >> 32) as u32, now)
    }

    /// Whether a query waits here.
    #[inline(always)]
    pub fn is_outstanding(self, now: u32) -> bool {
        (self.phase() == LIVE || self.phase() == TAINTED) && !self.is_over(now)
    }

    /// Whether a query may take the slot.
    #[inline(always)]
    pub fn is_claimable(self, now: u32) -> bool {
        self.phase() == FREE || self.phase() == DONE || self.is_over(now)
    }
}

/// Whether something that ends at a time still lasts; times wrap.
#[inline(always)]
pub fn lasts(until: u32, now: u32) -> bool {
    until.wrapping_sub(now) <= LONGEST
}

#[inline(always)]
fn nonce(state: u64, (port, id): (u16, u16)) -> Nonce {
    Nonce((state & GENERATION) << 28 | u64::from(port) << 16 | u64::from(id))
}

#[inline(always)]
fn swap(slot: &Slot, from: State, to: State) -> bool {
    slot.state.replace(from.0, to.0)
}

/// What a slot remembers of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who asks, and from which port.
    pub client: Address,
    /// Who is asked.
    pub server: Address,
    /// [`crate::question::Question::hash`].
    pub question: u64,
    /// [`crate::question::Question::case`].
    pub case: u32,
    /// The interface.
    pub link: u32,
    /// The port that it leaves from.
    pub port: u16,
    /// The port that the client chose.
    pub client_port: u16,
    /// The ID that the client chose.
    pub client_id: u16,
    /// The ID that it leaves with.
    pub id: u16,
    /// The port that is asked.
    pub server_port: u16,
    /// Whether its letters change their case.
    pub cased: bool,
    /// What is added to it.
    pub added: Added,
}

/// Takes a slot that was seen in this state, to write it; whether it could be had.
#[inline(always)]
pub fn claim(slot: &Slot, seen: State, now: u32, random: u64) -> bool {
    swap(slot, seen, State::new(now.wrapping_add(WRITING), random, BUSY))
}

/// Fills a slot that was claimed, and lets the query wait there.
#[inline(always)]
pub fn publish(slot: &Slot, now: u32, lifetime: u32, random: u64, entry: &Entry) -> State {
    slot.question.store(entry.question);
    entry.client.store(&slot.client);
    entry.server.store(&slot.server);
    slot.case.store(entry.case);
    slot.link.store(folded(entry.link) | entry.added.bits() << LINK_BITS);
    slot.port.store(entry.port);
    slot.client_port.store(entry.client_port);
    slot.client_id.store(entry.client_id);
    slot.id.store(entry.id);
    slot.server_port.store(entry.server_port);
    // A full barrier, as every swap is: the fields are there before the state says so.
    let phase = LIVE | if entry.cased { CASED } else { 0 };
    let state = State::new(now.wrapping_add(lifetime), random, phase);
    slot.state.swap(state.0);
    state
}

/// Gives a slot back that nobody waits at.
#[inline(always)]
pub fn give_back(slot: &Slot) {
    slot.state.swap(FREE);
}

/// Bits of an interface in a slot.
const LINK_BITS: u16 = 14;
const LINK: u16 = (1 << LINK_BITS) - 1;

/// An interface in 14 bits. Two of one number: the same client would have to send the same query by both.
#[inline(always)]
fn folded(link: u32) -> u16 {
    (link ^ link >> LINK_BITS ^ link >> (2 * LINK_BITS)) as u16 & LINK
}

/// Whether a cookie was added to the query of a slot: 1 if so. Without a branch, too.
#[inline(always)]
pub(crate) fn has_cookie(slot: &Slot) -> u32 {
    let added = u32::from(slot.link.load() >> LINK_BITS);
    (added | added >> 1) & 1
}

/// What was added to the query of a slot.
#[inline(always)]
pub fn added(slot: &Slot) -> Added {
    Added::of(slot.link.load() >> LINK_BITS)
}

/// Whether it left by an interface.
#[inline(always)]
pub fn is_link(slot: &Slot, link: u32) -> bool {
    slot.link.load() & LINK == folded(link)
}

/// Makes sure that what is read from here on was written before the slot came to this state.
#[inline(always)]
pub fn is_still(slot: &Slot, state: State) -> bool {
    swap(slot, state, state)
}

/// Closes the slot, once; whether this was the once.
#[inline(always)]
pub fn close(slot: &Slot, state: State) -> bool {
    swap(slot, state, state.with(DONE))
}

/// The same for a slot that a near miss has met since.
#[inline(always)]
pub fn close_tainted(slot: &Slot, state: State) -> bool {
    close(slot, state.with(TAINTED))
}

/// Notes a near miss; whether the slot was untouched before.
#[inline(always)]
pub fn taint(slot: &Slot, state: State) -> bool {
    state.phase() == LIVE && swap(slot, state, state.with(TAINTED))
}

/// Gives a retransmission its time.
#[inline(always)]
pub fn renew(slot: &Slot, state: State, now: u32, lifetime: u32) -> bool {
    let deadline = now.wrapping_add(lifetime);
    swap(slot, state, State(u64::from(deadline) << 32 | state.0 & 0xffff_ffff))
}

/// The client of a slot.
#[inline(always)]
pub fn is_client(slot: &Slot, client: Address) -> bool {
    client.is(&slot.client)
}

/// Whether the query of a slot, to this server, left with a source address.
#[inline(always)]
pub fn is_source<T: Tables>(
    tables: &T,
    slot: &Slot,
    state: State,
    source: Address,
    server: Address,
) -> bool {
    if !tables.config().has_pool_for(server) {
        return is_client(slot, source);
    }
    let client = Address::of(&slot.client);
    pool::source(tables, client, server, state.generation()) == source
}

/// The server of a slot, with its port.
#[inline(always)]
pub fn is_server(slot: &Slot, server: Address, port: u16) -> bool {
    server.is(&slot.server) && slot.server_port.load() == port
}
