//! Packets as rows that can be kept, sorted and counted elsewhere: one for each query, with what became of it,
//! and for each packet that no query accounts for.
//!
//! ```text
//!   events ──Extractor──▶ rows ── any engine, grouped by resolver ──Collected──▶ Observed
//!   events ────────────────────── State ──────────────────────────────────────▶ the same
//! ```
//!
//! Whether a query is a retransmission, and which reply is the right one, is told where packets are seen in
//! their order; whoever has the rows only counts.

use super::mark::{Mark, Mismatch};
use super::outstanding::{PATIENCE_NANOS, PLACES};
use super::shard::Shard;
use super::{Observed, SHARDS};
use crate::event::{Address, Event, Kind};

/// Resolvers that the extractors of all shards remember together, before they begin anew.
const MOST_KNOWN: usize = 1 << 20;

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Who asks.
    pub resolver: Address,
    /// Who is asked.
    pub server: Address,
    /// The port of who asks.
    pub port: u16,
    /// The query ID; 0 where it is about TCP.
    pub id: u16,
    /// A hash of the question: name in lower case, type and class; 0 where it is about TCP.
    pub question: u32,
    /// What it is.
    pub what: What,
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A query over UDP, with its right reply.
    Query(Asked),
    /// A reply that is not the right one of a query, or not the first.
    Reply {
        /// What is wrong with it; none where nothing can be told.
        mismatch: Option<Mismatch>,
        /// Whether it came in fragments.
        fragmented: bool,
    },
    /// A TCP connection that is opened.
    TcpOpened {
        /// Whether a reply that was nearly right was the cause.
        after_mismatch: bool,
    },
    /// A query over TCP.
    TcpQuery,
}

/// A query over UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Letters in the name.
    pub letters: u8,
    /// Upper-case letters among them.
    pub upper: u8,
    /// The payload size that EDNS announces; none without EDNS.
    pub edns: Option<u16>,
    /// Whether DNSSEC records are wanted.
    pub dnssec_ok: bool,
    /// Whether it has a client cookie.
    pub cookie: bool,
    /// Whether it repeats one that waits.
    pub retransmission: bool,
    /// The right reply, if it was seen.
    pub answer: Option<Answer>,
}

/// The right reply to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Nanoseconds from the query.
    pub delay: u64,
    /// Microseconds from the last time that it was asked, in steps of 65.536 µs.
    pub micros: u64,
    /// Whether it was truncated.
    pub truncated: bool,
    /// Whether it came in fragments.
    pub fragmented: bool,
    /// Whether it brought the cookie back, if there was one.
    pub cookie: Option<bool>,
}

/// Makes rows of the packets of one shard, see [`Event::shard`]. With each goes whatever else is known of
/// its packet.
#[derive(Debug)]
pub struct Extractor<M> {
    shard: Shard,
    waiting: Vec<Option<Waiting<M>>>,
    /// The time of the latest packet, and that at which it was looked last who has waited for long enough.
    latest: u64,
    swept: u64,
}

#[derive(Clone, Debug)]
struct Waiting<M> {
    row: Row,
    asked: Asked,
    more: M,
    /// When it was asked last.
    last: u64,
}

impl<M: Copy> Default for Extractor<M> {
    fn default() -> Self {
        Extractor {
            shard: Shard::without_samples(),
            waiting: vec![None; PLACES],
            latest: 0,
            swept: 0,
        }
    }
}

impl<M: Copy> Extractor<M> {
    /// Takes notice of packets, in this order, and of what goes with each; `emit` gets the rows that are
    /// complete, in no particular order.
    pub fn observe_all(&mut self, events: &[Event], more: &[M], emit: &mut impl FnMut(&Row, M)) {
        let Extractor { shard, waiting, latest, .. } = self;
        shard.observe_and_mark(events, |i, mark| {
            *latest = (*latest).max(events[i].time);
            mark_one(waiting, &events[i], more[i], mark, emit);
        });
        if self.latest >= self.swept.saturating_add(PATIENCE_NANOS) {
            self.swept = self.latest;
            self.sweep(emit);
        }
        if self.shard.resolvers().len() > MOST_KNOWN / SHARDS {
            self.shard.forget_all();
        }
    }

    /// Emits those that no reply can be told of any more.
    fn sweep(&mut self, emit: &mut impl FnMut(&Row, M)) {
        // The table's times are rounded.
        let patience = PATIENCE_NANOS + PATIENCE_NANOS / 4;
        for place in &mut self.waiting {
            if let Some(done) = place.take_if(|w| w.last.saturating_add(patience) < self.latest) {
                done.emit(emit);
            }
        }
    }

    /// Emits all that still waits.
    pub fn finish(&mut self, emit: &mut impl FnMut(&Row, M)) {
        self.waiting.iter_mut().filter_map(Option::take).for_each(|done| done.emit(emit));
    }
}

impl<M> Waiting<M> {
    fn emit(self, emit: &mut impl FnMut(&Row, M)) {
        emit(&Row { what: What::Query(self.asked), ..self.row }, self.more);
    }
}

fn mark_one<M: Copy>(
    waiting: &mut [Option<Waiting<M>>],
    event: &Event,
    more: M,
    mark: Mark,
    emit: &mut impl FnMut(&Row, M),
) {
    let row = |what| Row {
        time: event.time,
        resolver: event.client,
        server: event.server,
        port: event.port,
        id: event.id,
        question: event.question,
        what,
    };
    let fragmented = matches!(event.kind, Kind::Reply(_, true));
    match mark {
        Mark::Asked(place) => {
            let Some(asked) = asked(event, false) else { return };
            let new = Waiting { row: row(What::Query(asked)), asked, more, last: event.time };
            if let Some(before) = waiting[place].replace(new) {
                before.emit(emit);
            }
        }
        Mark::AskedAgain(place) => {
            let Some(asked) = asked(event, true) else { return };
            if let Some(first) = &mut waiting[place] {
                first.last = first.last.max(event.time);
            }
            emit(&row(What::Query(asked)), more);
        }
        Mark::Answered(place, micros, cookie) => match &mut waiting[place] {
            Some(first) if first.asked.answer.is_none() => {
                let Kind::Reply(traits, _) = event.kind else { return };
                let (delay, truncated) =
                    (event.time.saturating_sub(first.row.time), traits.truncated);
                let answer = Answer { delay, micros, truncated, fragmented, cookie };
                first.asked.answer = Some(answer);
            }
            // Only where times go back by more than that anybody waits.
            _ => emit(&row(What::Reply { mismatch: Some(Mismatch::Late), fragmented }), more),
        },
        Mark::Mismatch(mismatch) => {
            emit(&row(What::Reply { mismatch: Some(mismatch), fragmented }), more);
        }
        Mark::Untold { known: true } if fragmented => {
            emit(&row(What::Reply { mismatch: None, fragmented }), more);
        }
        Mark::Untold { .. } => {}
        Mark::TcpOpened(after_mismatch) => emit(&row(What::TcpOpened { after_mismatch }), more),
        Mark::TcpQuery => emit(&row(What::TcpQuery), more),
    }
}

fn asked(event: &Event, retransmission: bool) -> Option<Asked> {
    let Kind::Query(traits) = event.kind else { return None };
    Some(Asked {
        letters: traits.letters,
        upper: traits.upper,
        edns: traits.edns,
        dnssec_ok: traits.dnssec_ok,
        cookie: traits.cookie.is_some(),
        retransmission,
        answer: None,
    })
}

/// The rows of one resolver, counted.
#[derive(Debug, Default)]
pub struct Collected {
    shard: Shard,
}

impl Collected {
    /// Counts a row, whichever comes first.
    pub fn add(&mut self, row: &Row) {
        self.shard.recollect(row);
    }

    /// Shows what was collected, and is empty again.
    pub fn take(&mut self, see: impl FnMut(&Observed<'_>)) {
        self.shard.each(true, see);
        self.shard.forget_all();
    }
}
