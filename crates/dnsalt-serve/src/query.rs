//! A query, as much of it as is used.

use std::net::SocketAddr;

use dnsalt_wire::dns::edns::option;
use dnsalt_wire::dns::{Edns, Message, Question};

use crate::reply::rcode;

/// The type that stands for all.
const TYPE_ANY: u16 = 255;
/// In a second.
pub(crate) const NANOSECONDS: u64 = 1_000_000_000;

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Udp,
    Tcp,
}

/// One that can be answered.
pub(crate) struct Query<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) message: Message<'a>,
    pub(crate) question: Question<'a>,
    pub(crate) edns: Option<Edns<'a>>,
    /// Client cookie, and the server cookie behind it.
    pub(crate) cookie: Option<([u8; 8], &'a [u8])>,
    pub(crate) from: SocketAddr,
    pub(crate) over: Over,
    /// Nanoseconds since 1970.
    pub(crate) now: u64,
}

impl Query<'_> {
    /// Bytes of its name.
    pub(crate) fn name(&self) -> usize {
        self.question.name.as_wire().len()
    }

    /// Where the question ends.
    pub(crate) fn end(&self) -> usize {
        12 + self.name() + 4
    }

    /// Since 1970.
    pub(crate) fn seconds(&self) -> u64 {
        self.now / NANOSECONDS
    }

    /// Whether records of this type are asked for.
    pub(crate) fn wants(&self, rtype: u16) -> bool {
        self.question.qtype == rtype || self.question.qtype == TYPE_ANY
    }
}

/// A query that can be answered, or the code of the error.
pub(crate) fn read<'a>(
    bytes: &'a [u8],
    message: Message<'a>,
    from: SocketAddr,
    over: Over,
    now: u64,
) -> Result<Query<'a>, u8> {
    if message.opcode() != 0 {
        return Err(rcode::NOTIMP);
    }
    let question = message.question().map_err(|_| rcode::FORMERR)?;
    if message.questions() != 1 {
        return Err(rcode::FORMERR);
    }
    let edns = message.edns();
    let cookie = match edns.and_then(|edns| edns.option(option::COOKIE)) {
        None => None,
        // RFC 7873 section 5.2.2.
        Some(data) => match data.split_first_chunk::<8>() {
            Some((client, server)) if matches!(server.len(), 0 | 8..=32) => Some((*client, server)),
            _ => return Err(rcode::FORMERR),
        },
    };
    Ok(Query { bytes, message, question, edns, cookie, from, over, now })
}
