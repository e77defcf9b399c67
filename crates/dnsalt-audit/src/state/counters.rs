//! What is counted of a resolver over everything that was seen, however much it was.

use serde::{Deserialize, Serialize};

/// Sums over all packets of one resolver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Queries over UDP, retransmissions among them.
    pub queries: u64,
    /// Queries that repeat an outstanding one: same server, port, ID and question.
    pub retransmissions: u64,
    /// Queries over TCP.
    pub tcp_queries: u64,
    /// TCP connections opened to a DNS port.
    pub tcp_opened: u64,
    /// Queries whose right reply was seen.
    pub answered: u64,
    /// Sum of the times until the right reply, in microseconds.
    pub answer_micros: u64,
    /// Replies that came again, or too late to tell.
    pub duplicate_replies: u64,
    /// Near misses: a reply to a port with an outstanding query, from its server, with another ID.
    pub wrong_id: u64,
    /// Near misses: all right but the question.
    pub wrong_question: u64,
    /// Replies to a port with an outstanding query, from another server.
    pub wrong_server: u64,
    /// Replies to a port without any outstanding query.
    pub wrong_port: u64,
    /// Replies that were truncated, so that the client asks again over TCP.
    pub truncated_replies: u64,
    /// Replies that came in fragments.
    pub fragments: u64,
    /// Moves to TCP within 3 seconds of a near miss.
    pub tcp_after_mismatch: u64,
    /// Queries with EDNS.
    pub edns: u64,
    /// Sum of the payload sizes that they announced.
    pub edns_size_sum: u64,
    /// Queries that want DNSSEC records.
    pub dnssec_ok: u64,
    /// Queries with a client cookie.
    pub cookies: u64,
    /// Their right replies that brought it back with a server cookie.
    pub cookies_returned: u64,
    /// Their right replies without it.
    pub cookies_missing: u64,
}

impl Counters {
    /// A query that was drawn anew. What it has not is not written either: these are other cache lines.
    #[inline]
    pub(crate) fn asked(&mut self, edns: Option<u16>, dnssec_ok: bool, cookie: bool) {
        if let Some(size) = edns {
            self.edns += 1;
            self.edns_size_sum += u64::from(size);
            self.dnssec_ok += u64::from(dnssec_ok);
            self.cookies += u64::from(cookie);
        }
    }

    /// Its right reply: whether it was truncated, and whether its cookie came back, if it had one.
    #[inline]
    pub(crate) fn answered(&mut self, micros: u64, truncated: bool, cookie: Option<bool>) {
        self.answered += 1;
        self.answer_micros = self.answer_micros.saturating_add(micros);
        if truncated {
            self.truncated_replies += 1;
        }
        match cookie {
            Some(true) => self.cookies_returned += 1,
            Some(false) => self.cookies_missing += 1,
            None => {}
        }
    }

    /// A TCP connection; whether a near miss was its cause.
    pub(crate) fn opened(&mut self, after_mismatch: bool) {
        self.tcp_opened += 1;
        self.tcp_after_mismatch += u64::from(after_mismatch);
    }
}

macro_rules! fields {
    ($($name:ident)*) => {
        impl Counters {
            /// Adds another's.
            pub(crate) fn add(&mut self, other: &Self) {
                $(self.$name = self.$name.saturating_add(other.$name);)*
            }

            /// All of them, in the order of the state files.
            pub(crate) fn values(&self) -> [u64; Self::COUNT] {
                [$(self.$name),*]
            }

            /// From all of them.
            pub(crate) fn of_values(values: [u64; Self::COUNT]) -> Self {
                let [$($name),*] = values;
                Counters { $($name),* }
            }

            pub(crate) const COUNT: usize = [$(stringify!($name)),*].len();
        }
    };
}

// A new counter goes to the end, with a new version of the state files.
fields! {
    queries retransmissions tcp_queries tcp_opened answered answer_micros duplicate_replies wrong_id
    wrong_question wrong_server wrong_port truncated_replies fragments tcp_after_mismatch edns
    edns_size_sum dnssec_ok cookies cookies_returned cookies_missing
}
