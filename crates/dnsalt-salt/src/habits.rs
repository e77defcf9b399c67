//! How servers treat the case of letters, and cookies: a small share answers in lower case, or drops what it does
//! not understand. Their names have to resolve, and nobody who forges must be able to make a server seem one.
//!
//! ```text
//!   right port, ID and question, wrong case   believed never; the third within an hour ──┐
//!   cased, asked again, and still no reply    four in a row: every other query           ├─> left alone
//!                                             leaves with its case as it is ──> four of  │   for a day
//!                                             those answered, and none with case ────────┘
//! ```
//!
//! For the first an attacker has to guess port and ID three times. For the second he has to keep the server
//! from answering, and to let go just when queries leave as they are, which he does not see: one of 16 times.
//! Both are told to user space. It is the same with cookies, where the first is a reply that has none though its
//! server has, or an error as of a server that knows no EDNS.

use crate::layout::{Counter, Event, HABITS, Habit, TIME_SHIFT};
use crate::word::Word16;
use crate::{Address, Tables};

/// Right replies in another case that make a server one that does not keep it.
const STRIKES: u16 = 3;
/// Queries without a reply, in a row, that make it one that may not answer them.
const SILENT: u16 = 4;
/// Replies to queries that were left as they were, after that.
const PLAIN: u16 = 4;
/// In units of time.
const HOUR: u32 = seconds(3600);
const DAY: u32 = seconds(86400);
/// So long a query has waited before its repetition counts: 0.4 seconds.
pub(crate) const PATIENCE: u32 = 24;

const fn seconds(n: u64) -> u32 {
    ((n * 1_000_000_000) >> TIME_SHIFT) as u32
}

/// What is learned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// Servers that do not keep the case.
    Case,
    /// Servers that do not answer queries with cookies.
    Cookies,
}

impl What {
    /// Where its half of the table begins.
    #[inline(always)]
    fn first(self) -> u32 {
        if self == What::Case { 0 } else { HABITS }
    }

    /// What is counted where one is found.
    #[inline(always)]
    fn learned(self) -> Counter {
        if self == What::Case { Counter::CaseLearned } else { Counter::CookieLearned }
    }

    /// What is wrong with its replies.
    #[inline(always)]
    fn wrong(self) -> Counter {
        if self == What::Case { Counter::WrongCase } else { Counter::CookieMissing }
    }
}

/// Whether a query to a server is to be left as it is.
#[inline(always)]
pub(crate) fn is_left_alone<T: Tables>(tables: &T, server: Address, what: What) -> bool {
    let Some(habit) = find(tables, server, what) else { return false };
    let now = tables.now();
    is_known(habit, now)
        || habit.silent.load() >= SILENT
            && is_recent(habit, now)
            && tables.draw().is_some_and(|draw| draw.random & 1 != 0)
}

/// A right reply came, of a query whose case was changed.
#[inline(always)]
pub(crate) fn kept<T: Tables>(tables: &T, server: Address, what: What) {
    if let Some(habit) = find(tables, server, what)
        && habit.silent.load() != 0
    {
        habit.silent.store(0);
        habit.plain.store(0);
    }
}

/// A reply came that is right in everything but the case.
#[inline(always)]
pub(crate) fn broken<T: Tables>(tables: &T, server: Address, what: What) {
    if let Some(habit) = entry(tables, server, what) {
        strike(tables, habit, &habit.strikes, STRIKES, server, (what, what.wrong()));
    }
}

/// A query is asked again whose case was changed.
#[inline(always)]
pub(crate) fn unanswered<T: Tables>(tables: &T, server: Address, what: What) {
    if let Some(habit) = entry(tables, server, what) {
        let silent = habit.silent.load();
        if silent < SILENT {
            habit.silent.store(silent + 1);
        }
    }
}

/// A right reply came, of a query whose case was left alone.
#[inline(always)]
pub(crate) fn plain<T: Tables>(tables: &T, server: Address, what: What) {
    if let Some(habit) = find(tables, server, what)
        && habit.silent.load() >= SILENT
        && !is_known(habit, tables.now())
    {
        strike(tables, habit, &habit.plain, PLAIN, server, (what, what.learned()));
    }
}

/// One more towards a day.
#[inline(always)]
fn strike<T: Tables>(
    tables: &T,
    habit: &Habit,
    count: &Word16,
    enough: u16,
    server: Address,
    (what, cause): (What, Counter),
) {
    let n = count.load() + 1;
    if n < enough {
        count.store(n);
        return;
    }
    count.store(0);
    habit.silent.store(0);
    habit.until.store(in_a_day(tables.now()));
    tables.count(what.learned());
    tables.tell(&Event {
        server,
        counter: what.learned() as u32,
        cause: cause as u32,
        ..Event::default()
    });
}

/// Whether its case is left alone.
#[inline(always)]
fn is_known(habit: &Habit, now: u32) -> bool {
    is_to_come(habit.until.load(), now)
}

/// The end of a day that begins now. 0 means never, so it is made odd.
#[inline(always)]
pub(crate) fn in_a_day(now: u32) -> u32 {
    now.wrapping_add(DAY) | 1
}

/// Whether such an end is still to come.
#[inline(always)]
pub(crate) fn is_to_come(until: u32, now: u32) -> bool {
    // One more, as it was made odd.
    until != 0 && until.wrapping_sub(now) <= DAY + 1
}

/// Whether what was counted is of the last hour.
#[inline(always)]
fn is_recent(habit: &Habit, now: u32) -> bool {
    now.wrapping_sub(habit.since.load()) <= HOUR
}

/// The two places at which a server can stand, in one line of the cache.
#[inline(always)]
fn places<T: Tables>(tables: &T, server: Address, what: What) -> Option<(&Habit, &Habit)> {
    let place = what.first() + (server.place(tables.config().key[1]) & (HABITS - 1));
    Some((tables.habit(place)?, tables.habit(place ^ 1)?))
}

/// What is known of a server.
#[inline(always)]
fn find<T: Tables>(tables: &T, server: Address, what: What) -> Option<&Habit> {
    let (first, second) = places(tables, server, what)?;
    if server.is(&first.address) {
        Some(first)
    } else if server.is(&second.address) {
        Some(second)
    } else {
        None
    }
}

/// The same, with a place made for it.
#[inline(always)]
fn entry<T: Tables>(tables: &T, server: Address, what: What) -> Option<&Habit> {
    let now = tables.now();
    let Some(habit) = find(tables, server, what) else {
        let habit = free(tables, server, what, now)?;
        habit.until.store(0);
        server.store(&habit.address);
        begin(habit, now);
        return Some(habit);
    };
    if !is_recent(habit, now) {
        begin(habit, now);
    }
    Some(habit)
}

/// Which of the two places of a server gives way: that of the one of whom nothing is known, or less lately.
#[inline(always)]
fn free<T: Tables>(tables: &T, server: Address, what: What, now: u32) -> Option<&Habit> {
    let (first, second) = places(tables, server, what)?;
    let age = |habit: &Habit| now.wrapping_sub(habit.since.load());
    let first_goes = match (is_known(first, now), is_known(second, now)) {
        (false, true) => true,
        (true, false) => false,
        _ => age(first) >= age(second),
    };
    Some(if first_goes { first } else { second })
}

/// Counts anew.
#[inline(always)]
fn begin(habit: &Habit, now: u32) {
    habit.since.store(now);
    habit.strikes.store(0);
    habit.silent.store(0);
    habit.plain.store(0);
}
