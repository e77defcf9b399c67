//! The columns of an extract, version 1: one row for each query over UDP with its reply, for each reply that
//! is none of a query, and for each query and connection over TCP.
//!
//! Types are those that every engine has: no unsigned numbers, no times in nanoseconds.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Int32Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use dnsalt_audit::event::Address;
use dnsalt_audit::state::{Answer, Asked, Mismatch, Row, What};

use super::typed::{Booleans, Columns, Integers, Strings};
use crate::check::packet::More;

/// The version of the columns: it changes when one changes its meaning or goes away.
pub(crate) const VERSION: &str = "1";

/// Every column: its name, its type, and whether rows may be without it.
const COLUMNS: [(&str, DataType, bool); 22] = [
    ("time_ns", DataType::Int64, false),
    ("resolver", DataType::Utf8, false),
    ("server", DataType::Utf8, false),
    ("kind", DataType::Utf8, false),
    ("port", DataType::Int32, false),
    ("id", DataType::Int32, false),
    ("question", DataType::Int64, false),
    ("qtype", DataType::Int32, true),
    ("flags", DataType::Int32, false),
    ("letters", DataType::Int32, false),
    ("upper", DataType::Int32, false),
    ("edns_size", DataType::Int32, true),
    ("dnssec_ok", DataType::Boolean, false),
    ("cookie", DataType::Boolean, false),
    ("retransmission", DataType::Boolean, false),
    ("reply_delay_ns", DataType::Int64, true),
    ("rtt_us", DataType::Int64, true),
    ("reply_truncated", DataType::Boolean, true),
    ("reply_fragmented", DataType::Boolean, true),
    ("cookie_returned", DataType::Boolean, true),
    ("mismatch", DataType::Utf8, true),
    ("after_mismatch", DataType::Boolean, false),
];

/// What rows are about, in the column `kind`.
const QUERY: &str = "query";
const REPLY: &str = "reply";
const TCP_OPENED: &str = "tcp-opened";
const TCP_QUERY: &str = "tcp-query";

/// What is wrong with a reply, in the column `mismatch`.
const MISMATCHES: [(&str, Mismatch); 5] = [
    ("id", Mismatch::Id),
    ("question", Mismatch::Question),
    ("server", Mismatch::Server),
    ("port", Mismatch::Port),
    ("late", Mismatch::Late),
];

pub(crate) fn schema() -> SchemaRef {
    let field = |(name, kind, nullable): &(&str, DataType, bool)| {
        Field::new(*name, kind.clone(), *nullable)
    };
    Arc::new(Schema::new(COLUMNS.iter().map(field).collect::<Vec<_>>()))
}

/// Rows on their way into columns.
#[derive(Default)]
pub(crate) struct Rows {
    time: Int64Builder,
    resolver: StringBuilder,
    server: StringBuilder,
    kind: StringBuilder,
    port: Int32Builder,
    id: Int32Builder,
    question: Int64Builder,
    qtype: Int32Builder,
    flags: Int32Builder,
    letters: Int32Builder,
    upper: Int32Builder,
    edns_size: Int32Builder,
    dnssec_ok: BooleanBuilder,
    cookie: BooleanBuilder,
    retransmission: BooleanBuilder,
    reply_delay: Int64Builder,
    rtt: Int64Builder,
    reply_truncated: BooleanBuilder,
    reply_fragmented: BooleanBuilder,
    cookie_returned: BooleanBuilder,
    mismatch: StringBuilder,
    after_mismatch: BooleanBuilder,
    count: usize,
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn push(&mut self, row: &Row, more: More) {
        self.count += 1;
        self.time.append_value(signed(row.time));
        address(&mut self.resolver, row.resolver);
        address(&mut self.server, row.server);
        self.port.append_value(i32::from(row.port));
        self.id.append_value(i32::from(row.id));
        self.question.append_value(i64::from(row.question));
        self.qtype.append_option(more.qtype.map(i32::from));
        self.flags.append_value(i32::from(more.flags));
        let (kind, mut asked, mut reply) = (kind(&row.what), None, (None, None));
        let mut after = false;
        match row.what {
            What::Query(query) => {
                asked = Some(query);
                reply.1 = query.answer.map(|answer| answer.fragmented);
            }
            What::Reply { mismatch, fragmented } => reply = (mismatch, Some(fragmented)),
            What::TcpOpened { after_mismatch } => after = after_mismatch,
            What::TcpQuery => {}
        }
        self.kind.append_value(kind);
        self.asked(asked);
        self.reply_fragmented.append_option(reply.1);
        let word = |wrong| MISMATCHES.iter().find(|(_, m)| *m == wrong).map(|(word, _)| *word);
        self.mismatch.append_option(reply.0.and_then(word));
        self.after_mismatch.append_value(after);
    }

    fn asked(&mut self, asked: Option<Asked>) {
        let yes = |get: fn(&Asked) -> bool| asked.as_ref().is_some_and(get);
        self.letters.append_value(asked.map_or(0, |a| i32::from(a.letters)));
        self.upper.append_value(asked.map_or(0, |a| i32::from(a.upper)));
        self.edns_size.append_option(asked.and_then(|a| a.edns).map(i32::from));
        self.dnssec_ok.append_value(yes(|a| a.dnssec_ok));
        self.cookie.append_value(yes(|a| a.cookie));
        self.retransmission.append_value(yes(|a| a.retransmission));
        let answer = asked.and_then(|a| a.answer);
        self.reply_delay.append_option(answer.map(|a| signed(a.delay)));
        self.rtt.append_option(answer.map(|a| signed(a.micros)));
        self.reply_truncated.append_option(answer.map(|a| a.truncated));
        self.cookie_returned.append_option(answer.and_then(|a| a.cookie));
    }

    /// All of them as one batch, in the order of [`COLUMNS`]; begins anew.
    pub(crate) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.count = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.time.finish()),
            Arc::new(self.resolver.finish()),
            Arc::new(self.server.finish()),
            Arc::new(self.kind.finish()),
            Arc::new(self.port.finish()),
            Arc::new(self.id.finish()),
            Arc::new(self.question.finish()),
            Arc::new(self.qtype.finish()),
            Arc::new(self.flags.finish()),
            Arc::new(self.letters.finish()),
            Arc::new(self.upper.finish()),
            Arc::new(self.edns_size.finish()),
            Arc::new(self.dnssec_ok.finish()),
            Arc::new(self.cookie.finish()),
            Arc::new(self.retransmission.finish()),
            Arc::new(self.reply_delay.finish()),
            Arc::new(self.rtt.finish()),
            Arc::new(self.reply_truncated.finish()),
            Arc::new(self.reply_fragmented.finish()),
            Arc::new(self.cookie_returned.finish()),
            Arc::new(self.mismatch.finish()),
            Arc::new(self.after_mismatch.finish()),
        ];
        RecordBatch::try_new(schema(), columns)
    }
}

fn kind(what: &What) -> &'static str {
    match what {
        What::Query(_) => QUERY,
        What::Reply { .. } => REPLY,
        What::TcpOpened { .. } => TCP_OPENED,
        What::TcpQuery => TCP_QUERY,
    }
}

fn address(column: &mut StringBuilder, address: Address) {
    // Writing to a string cannot fail.
    let _ = write!(column, "{}", IpAddr::from(address));
    column.append_value("");
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The columns of a batch that the judge needs, whatever others there are, in whatever order.
pub(crate) struct Batch<'a> {
    resolver: Strings<'a>,
    server: Strings<'a>,
    kind: Strings<'a>,
    mismatch: Strings<'a>,
    time: Integers<'a>,
    port: Integers<'a>,
    id: Integers<'a>,
    question: Integers<'a>,
    letters: Integers<'a>,
    upper: Integers<'a>,
    edns_size: Integers<'a>,
    reply_delay: Integers<'a>,
    rtt: Integers<'a>,
    dnssec_ok: Booleans<'a>,
    cookie: Booleans<'a>,
    retransmission: Booleans<'a>,
    reply_truncated: Booleans<'a>,
    reply_fragmented: Booleans<'a>,
    cookie_returned: Booleans<'a>,
    after_mismatch: Booleans<'a>,
}

impl<'a> Batch<'a> {
    /// # Errors
    /// When a column is missing, or of another type.
    pub(crate) fn of(batch: &'a RecordBatch) -> anyhow::Result<Self> {
        let columns = Columns(batch);
        Ok(Batch {
            resolver: columns.strings("resolver")?,
            server: columns.strings("server")?,
            kind: columns.strings("kind")?,
            mismatch: columns.strings("mismatch")?,
            time: columns.integers("time_ns")?,
            port: columns.integers("port")?,
            id: columns.integers("id")?,
            question: columns.integers("question")?,
            letters: columns.integers("letters")?,
            upper: columns.integers("upper")?,
            edns_size: columns.integers("edns_size")?,
            reply_delay: columns.integers("reply_delay_ns")?,
            rtt: columns.integers("rtt_us")?,
            dnssec_ok: columns.booleans("dnssec_ok")?,
            cookie: columns.booleans("cookie")?,
            retransmission: columns.booleans("retransmission")?,
            reply_truncated: columns.booleans("reply_truncated")?,
            reply_fragmented: columns.booleans("reply_fragmented")?,
            cookie_returned: columns.booleans("cookie_returned")?,
            after_mismatch: columns.booleans("after_mismatch")?,
        })
    }

    /// The resolver of a row, as it is written there.
    pub(crate) fn resolver(&self, at: usize) -> anyhow::Result<&'a str> {
        self.resolver.need(at)
    }

    /// A row; `resolver` is what its resolver was read as.
    pub(crate) fn row(&self, at: usize, resolver: Address) -> anyhow::Result<Row> {
        let what = match self.kind.need(at)? {
            QUERY => What::Query(self.asked(at)?),
            REPLY => What::Reply {
                mismatch: self.mismatch.get(at).map(mismatch).transpose()?,
                fragmented: self.reply_fragmented.get(at).unwrap_or(false),
            },
            TCP_OPENED => What::TcpOpened { after_mismatch: self.after_mismatch.need(at)? },
            TCP_QUERY => What::TcpQuery,
            other => anyhow::bail!("column kind: {other:?} is no kind of row"),
        };
        Ok(Row {
            time: self.time.number(at)?,
            resolver,
            server: parsed(self.server.need(at)?, "server")?,
            port: self.port.number(at)?,
            id: self.id.number(at)?,
            question: self.question.number(at)?,
            what,
        })
    }

    fn asked(&self, at: usize) -> anyhow::Result<Asked> {
        let answer = match self.reply_delay.optional(at)? {
            None => None,
            Some(delay) => Some(Answer {
                delay,
                micros: self.rtt.number(at)?,
                truncated: self.reply_truncated.need(at)?,
                fragmented: self.reply_fragmented.need(at)?,
                cookie: self.cookie_returned.get(at),
            }),
        };
        Ok(Asked {
            letters: self.letters.number(at)?,
            upper: self.upper.number(at)?,
            edns: self.edns_size.optional(at)?,
            dnssec_ok: self.dnssec_ok.need(at)?,
            cookie: self.cookie.need(at)?,
            retransmission: self.retransmission.need(at)?,
            answer,
        })
    }
}

fn mismatch(word: &str) -> anyhow::Result<Mismatch> {
    let known = MISMATCHES.iter().find(|(known, _)| *known == word).map(|(_, wrong)| *wrong);
    known.ok_or_else(|| anyhow::anyhow!("column mismatch: {word:?} is none"))
}

/// An address as a column has it.
pub(crate) fn parsed(text: &str, column: &str) -> anyhow::Result<Address> {
    let address: Result<IpAddr, _> = text.parse();
    address
        .map(Address::from)
        .map_err(|_| anyhow::anyhow!("column {column}: {text:?} is no address"))
}
