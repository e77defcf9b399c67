//! What is told of each packet beside being counted.

use super::counters::Counters;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A query, which waits in this place from now on; what waited there before does no more.
    Asked(usize),
    /// The same query again, which waits in this place.
    AskedAgain(usize),
    /// The right reply to the query in this place: microseconds since it was asked last, and whether its
    /// cookie came back, if it had one.
    Answered(usize, u64, Option<bool>),
    /// A reply that is not right, or comes again.
    Mismatch(Mismatch),
    /// A reply too early in the capture to be told, or to nobody who was seen to ask.
    Untold {
        /// Whether it goes to somebody who was.
        known: bool,
    },
    /// A TCP connection that is opened; whether a near miss was its cause.
    TcpOpened(bool),
    /// A query over TCP.
    TcpQuery,
}

/// What is not right with a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mismatch {
    /// Its ID: a near miss.
    Id,
    /// Its question, and nothing else: a near miss.
    Question,
    /// The server that it comes from.
    Server,
    /// Nothing was asked from the port that it goes to.
    Port,
    /// It comes again, or too late to tell.
    Late,
}

impl Counters {
    /// The one that counts such a reply.
    pub(super) fn of_mismatch(&mut self, mismatch: Mismatch) -> &mut u64 {
        match mismatch {
            Mismatch::Id => &mut self.wrong_id,
            Mismatch::Question => &mut self.wrong_question,
            Mismatch::Server => &mut self.wrong_server,
            Mismatch::Port => &mut self.wrong_port,
            Mismatch::Late => &mut self.duplicate_replies,
        }
    }
}
