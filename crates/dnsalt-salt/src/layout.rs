//! How the maps look that the kernel half and the user half share. Here alone, so that the two cannot
//! come apart.
//!
//! ```text
//!   TAKEN    array of Word32    [way << 16 | port]    which slot the port is taken by
//!   SLOTS    array of Slot      in turn               a query that waits for its reply
//!   RECENT   array of Recent    [hash of a question]  which slots have it
//!   SERVERS  array of Server    [hash of an address]  what was forged, lockdown
//!   HABITS   array of Habit     [hash of an address]  which servers do not keep the case of letters; then
//!                                                     those that do not answer queries with cookies
//!   COOKIES  array of Cookie    [hash of an address]  which servers have cookies
//!   SUFFIXES array of Suffix                          domains whose case is left alone
//!   ADDRESSES array of Range    IPv4, then IPv6       source addresses to draw from
//!   PASSED   array of Word32    [hash of a client]    left as they were, as the table was full
//!   CONFIG   one Config, PORTS one list of ports, KEYS and COUNTERS per CPU, EVENTS a ring of Report
//! ```

use crate::Address;
use crate::head::HEAD;
use crate::siphash::Key;
use crate::word::{Word16, Word32, Word64};

/// Bits of an index of `TAKEN` that are a port.
pub const PORT_BITS: u32 = 16;
/// How often a port can be taken: each pair of client and server has one of the ways, by a hash.
pub const WAYS: u32 = 8;
/// Ports in all ways.
pub const TAKEN: u32 = WAYS << PORT_BITS;
/// Slots in all.
pub const SLOTS: u32 = TAKEN;
/// Slots that each CPU uses in turn, as long as they are free: few enough to stay in its cache.
pub const NEAR: u32 = 1 << 12;
/// Places for recent questions.
pub const RECENT: u32 = 1 << 17;
/// Places for servers.
pub const SERVERS: u32 = 1 << 10;
/// Places for servers that do something else than to copy the case of letters; as many more for those that do
/// something else than to answer queries with cookies.
pub const HABITS: u32 = 1 << 12;
/// Places for pairs of a source address and a server that has cookies: a server cookie is bound to an address.
pub const COOKIES: u32 = 1 << 15;
/// Domains whose case is left alone, at most.
pub const SUFFIXES: u32 = 16;
/// The longest of them, as on the wire, in words.
pub const SUFFIX_WORDS: usize = 8;
/// Places for queries that were passed on as they were.
pub const PASSED: u32 = 1 << 16;
/// Source addresses and prefixes of them to draw from, at most: half of them are of IPv4.
pub const ADDRESSES: u32 = 1 << 9;
/// Ports that DNS is asked on, at most.
pub const DNS_PORTS: usize = 8;

/// Bytes of the ring of events.
pub const EVENTS: u32 = 1 << 16;
/// Events that user space is told of in a second, by each CPU.
pub const EVENTS_A_SECOND: u32 = 64;
/// Bits of a time that are below about a second.
pub const SECOND_BITS: u32 = 6;
/// Prefixes in each of the maps `FROM`, `TO`, `NO_TCP`, `NO_CASE` and `POOL`, at most.
pub const PREFIXES: u32 = 1024;

/// Time is counted in units of 2^24 ns, 16.8 ms. In most places 32 bits of it are kept, which wrap after
/// two years; they are only ever compared within [`LONGEST`].
pub const TIME_SHIFT: u32 = 24;
/// The longest that anything lasts, in units of time: 137 seconds. What seems to end later than that
/// ended long ago.
pub const LONGEST: u32 = 1 << 13;

/// A query that waits for its reply; 64 bytes, a cache line.
///
/// Whoever owns it writes: the CPU that brought `state` to [`crate::slot::BUSY`]. Everybody reads, and
/// then asks by compare-and-swap whether `state` is still what it was.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Slot {
    /// Deadline, a number that is different each time, and what the slot is: see [`crate::slot`].
    pub state: Word64,
    /// What was asked: [`crate::question::Question::hash`].
    pub question: Word64,
    /// Who asked.
    pub client: [Word64; 2],
    /// Who was asked.
    pub server: [Word64; 2],
    /// [`crate::question::Question::case`].
    pub case: Word32,
    /// The interface that it left by, folded to 14 bits; above them what was added to it, see
    /// [`crate::edns::Added`].
    pub link: Word16,
    /// The port that it left from.
    pub port: Word16,
    /// The port that the client chose.
    pub client_port: Word16,
    /// The query ID that the client chose.
    pub client_id: Word16,
    /// The query ID that it left with.
    pub id: Word16,
    /// The port that was asked.
    pub server_port: Word16,
}

/// The last queries whose questions have the same hash: an index of a slot each, with some more bits of
/// the hash. May forget, and may name slots that have long been used otherwise.
#[derive(Debug, Default)]
#[repr(C, align(32))]
pub struct Recent {
    /// How many were noted.
    pub cursor: Word32,
    /// `tag << 19 | slot`.
    pub entries: [Word32; RECENT_ENTRIES],
}

/// Entries of each [`Recent`]; a cap on identical queries cannot be above it.
pub const RECENT_ENTRIES: usize = 7;

/// What is known of the servers that share a place: how much was forged in their names, and which of them
/// are asked over TCP alone. It is counted for all of them: a count that gave way to another address would
/// be forgotten by whoever forges in that name as well.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Server {
    /// The address that is locked down, or was last.
    pub address: [Word64; 2],
    /// When the second began in which is counted.
    pub since: Word32,
    /// Near misses since then.
    pub misses: Word32,
    /// Until when no UDP leaves for that address; 0 if never.
    pub locked_until: Word32,
    /// Replies since then that no query waited for, up to where they begin a lockdown.
    pub unsolicited: Word32,
    /// Until when no UDP leaves for any server of the place, as a second one was to be locked down; 0 if
    /// never.
    pub all_locked_until: Word32,
}

/// A server that has shown an address that it has cookies.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Cookie {
    /// Its address.
    pub address: [Word64; 2],
    /// The server cookie that it gave last, if that has 16 bytes.
    pub cookie: [Word64; 2],
    /// Stands for the address that asks it.
    pub source: Word64,
    /// Until when a reply without a cookie is not believed; 0 if never.
    pub until: Word32,
    /// Whether it gave a server cookie: 1 if so.
    pub given: Word32,
}

/// How a server treats the case of letters, or cookies: see [`crate::habits`](crate).
#[derive(Debug, Default)]
#[repr(C, align(32))]
pub struct Habit {
    /// Its address.
    pub address: [Word64; 2],
    /// Until when its case is left alone; 0 if never.
    pub until: Word32,
    /// Since when is counted.
    pub since: Word32,
    /// Replies that were right in everything but the case.
    pub strikes: Word16,
    /// Queries that it did not answer, in a row, whose case was changed.
    pub silent: Word16,
    /// Queries that it answered since, whose case was left alone.
    pub plain: Word16,
    /// Not used.
    pub zero: Word16,
}

/// A domain whose case is left alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Suffix {
    /// Labels with their lengths, in lower case, as on the wire; the rest is 0.
    pub words: [u64; SUFFIX_WORDS],
    /// Which bytes of those are its own.
    pub masks: [u64; SUFFIX_WORDS],
    /// How many bytes.
    pub length: u64,
}

/// A source address, or a prefix of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Range {
    /// The address, or the first of them.
    pub first: Address,
    /// Bits that are drawn.
    pub drawn: Address,
}

/// Where the random numbers of a CPU come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Random {
    /// From getrandom(2), another one for each CPU, renewed now and then.
    pub key: Key,
    /// Counts the draws; never goes back.
    pub counter: u64,
}

/// How much user space was told of by a CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Told {
    /// In which second.
    pub second: u32,
    /// How many events.
    pub events: u32,
}

/// What the engine is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Config {
    /// For hashes of questions and places in tables. Must not change while queries are outstanding.
    pub key: Key,
    /// Which letters change their case, and which source address is taken. Must not change, either.
    pub nonce_key: Key,
    /// Until when replies that no query waits for are let through: they may answer what was asked
    /// before the engine was there. In units of time since boot, which do not wrap here.
    pub grace_until: u64,
    /// Units of time that a query waits for its reply.
    pub lifetime: u32,
    /// Near misses within a second that begin a lockdown; 0 never.
    pub lockdown_after: u32,
    /// Units of time that a lockdown lasts.
    pub lockdown: u32,
    /// Identical queries outstanding at a time, at most; 0 any number.
    pub max_identical: u32,
    /// How many of `PORTS` there are.
    pub ports: u32,
    /// What 2^32 leaves when divided by `ports`: draws below it would favour some.
    pub ports_rest: u32,
    /// See [`flags`].
    pub flags: u32,
    /// The ports that DNS is asked on; 0 for none.
    pub dns_ports: [u16; DNS_PORTS],
    /// Replies within a second that no query waits for; more of them begin a lockdown; 0 never.
    pub lockdown_unsolicited: u32,
    /// How many of `SUFFIXES` there are.
    pub suffixes: u32,
    /// How many of `ADDRESSES` there are of IPv4, and of IPv6; 0 if source addresses stay as they are.
    pub addresses: [u32; 2],
    /// Not used.
    pub zero: u32,
}

/// Bits of [`Config::flags`].
pub mod flags {
    /// A query for which there is no slot is dropped, not passed on as it is.
    pub const DROP_WHEN_FULL: u32 = 1;
    /// After a near miss the right reply is still believed.
    pub const BELIEVE_AFTER_MISS: u32 = 2;
    /// Replies in fragments are not believed, and fragments that carry no ports are dropped.
    pub const NO_FRAGMENTS: u32 = 4;
    /// Clients are those of the map `FROM`; else all.
    pub const SOME_CLIENTS: u32 = 8;
    /// Servers are those of the map `TO`; else all.
    pub const SOME_SERVERS: u32 = 16;
    /// The clients of the map `NO_TCP` are never sent to TCP.
    pub const SOME_WITHOUT_TCP: u32 = 32;
    /// Letters change their case.
    pub const CASE: u32 = 64;
    /// Servers that do not keep the case are left alone with it.
    pub const LEARN_CASE: u32 = 128;
    /// The servers of the map `NO_CASE` are, too.
    pub const SOME_WITHOUT_CASE: u32 = 256;
    /// Queries get cookies.
    pub const COOKIES: u32 = 512;
}

/// What is counted, per CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Counter {
    /// Queries that left salted, retransmissions among them.
    Salted = 0,
    /// Queries that were sent again, with the salt that they had.
    Retransmitted,
    /// Queries that were dropped, as too many identical ones were outstanding.
    Identical,
    /// Queries that found no slot.
    Full,
    /// Queries that could not be salted for another reason: several in one packet (GSO).
    Unsalted,
    /// Queries that were answered on the spot with TC=1, during a lockdown or after a near miss.
    AnsweredTc,
    /// Right replies that were passed up.
    Restored,
    /// Right replies that were cut down to TC=1.
    Truncated,
    /// Right replies but for the case of letters; cut down to TC=1.
    WrongCase,
    /// Dropped: to a port that no query waits at.
    Forged,
    /// Dropped: what was waited for, once more.
    Duplicate,
    /// Dropped: what was waited for, after its time.
    Late,
    /// Dropped near misses: another query ID.
    WrongId,
    /// Dropped near misses: another question.
    WrongQuestion,
    /// Dropped near misses: another server.
    WrongServer,
    /// Dropped: fragments, or several datagrams in one, that could hide what they carry.
    Unreadable,
    /// Replies to queries that were passed on as they were.
    Passed,
    /// Errors of ICMP that were translated.
    IcmpTranslated,
    /// Errors of ICMP that were dropped, as nothing like what they quote is outstanding.
    IcmpDropped,
    /// Lockdowns that began.
    Lockdowns,
    /// Events that user space was not told, as there were too many.
    EventsLost,
    /// Queries that left with the case of their letters at random.
    Cased,
    /// Letters of those.
    CasedLetters,
    /// Servers that were found not to keep the case.
    CaseLearned,
    /// Queries that left with a cookie.
    Cookied,
    /// Replies that brought it back.
    CookieReturned,
    /// Right replies but for the cookie; cut down to TC=1.
    CookieMissing,
    /// Servers that were found not to answer queries with cookies.
    CookieLearned,
}

/// How many counters there are.
pub const COUNTERS: u32 = Counter::CookieLearned as u32 + 1;

impl Counter {
    /// All of them, in the order of their indices.
    pub const ALL: [Counter; COUNTERS as usize] = [
        Counter::Salted,
        Counter::Retransmitted,
        Counter::Identical,
        Counter::Full,
        Counter::Unsalted,
        Counter::AnsweredTc,
        Counter::Restored,
        Counter::Truncated,
        Counter::WrongCase,
        Counter::Forged,
        Counter::Duplicate,
        Counter::Late,
        Counter::WrongId,
        Counter::WrongQuestion,
        Counter::WrongServer,
        Counter::Unreadable,
        Counter::Passed,
        Counter::IcmpTranslated,
        Counter::IcmpDropped,
        Counter::Lockdowns,
        Counter::EventsLost,
        Counter::Cased,
        Counter::CasedLetters,
        Counter::CaseLearned,
        Counter::Cookied,
        Counter::CookieReturned,
        Counter::CookieMissing,
        Counter::CookieLearned,
    ];
}

/// What user space is told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// Nanoseconds since boot.
    pub time: u64,
    /// Who asked.
    pub client: Address,
    /// Who was asked, or locked down.
    pub server: Address,
    /// The counter that it belongs to.
    pub counter: u32,
    /// The salted port that was hit.
    pub port: u16,
    /// The query ID that came.
    pub id: u16,
    /// The query ID that was waited for.
    pub wanted_id: u16,
    /// The port of the server.
    pub server_port: u16,
    /// Of a lockdown, the counter of what began it: [`Counter::Forged`], or one of the near misses; of a
    /// server that does not keep the case, [`Counter::WrongCase`] or [`Counter::CaseLearned`] as it does not
    /// answer. 0 for others.
    pub cause: u32,
}

/// An event, and the packet that it is about: an entry of `EVENTS`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Report {
    /// What happened.
    pub event: Event,
    /// Bytes of `packet` that belong to it; what is behind them is of others.
    pub length: u32,
    /// Not used.
    pub zero: u32,
    /// From the IP header on.
    pub packet: [u8; HEAD],
}

const _: () = {
    assert!(size_of::<Slot>() == 64);
    assert!(size_of::<Recent>() == 32);
    assert!(size_of::<Server>() == 64);
    assert!(size_of::<Habit>() == 32);
    assert!(size_of::<Cookie>() == 64);
    assert!(size_of::<Suffix>() == 136);
    assert!(size_of::<Range>() == 32);
    assert!(size_of::<Config>() == 104);
    assert!(size_of::<Event>() == 56);
    assert!(size_of::<Report>() == 64 + HEAD);
    assert!(SLOTS == 1 << 19);
    assert!(SLOTS.is_multiple_of(NEAR));
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_stand_at_their_indices() {
        for (index, counter) in (0..).zip(Counter::ALL) {
            assert_eq!(counter as u32, index);
        }
    }
}
