//! One test: who asked for names with its token, from which ports and with which IDs.

use std::net::IpAddr;
use std::sync::Arc;

use dnsalt_audit::state::Sample;

use crate::judgement::Report;

/// Queries that are kept of a test.
pub(crate) const MOST_SAMPLES: usize = 128;
/// Addresses that a test is asked from.
const MOST_ADDRESSES: usize = 32;
/// Names of a test for which it is known how far their path was shown.
const MOST_NAMES: usize = 48;

/// A query with a token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// Nanoseconds since 1970.
    pub(crate) time: u64,
    /// Who asked.
    pub(crate) from: IpAddr,
    /// The source port.
    pub(crate) port: u16,
    /// The query ID.
    pub(crate) id: u16,
    /// A hash of the name, whatever its case.
    pub(crate) name: u32,
    /// The record type.
    pub(crate) qtype: u16,
    /// Letters in the name, and upper-case ones.
    pub(crate) letters: [u8; 2],
    /// A hash of the case of the part that all names of the test have.
    pub(crate) case: u8,
    /// Whether it came over TCP, where port and ID protect nothing.
    pub(crate) tcp: bool,
    /// Whether it has a client cookie.
    pub(crate) cookie: bool,
    /// The size that EDNS announces.
    pub(crate) edns: Option<u16>,
}

/// What is known of a query beside its [`Sample`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    /// Whose, as a place in the list of addresses.
    pub(crate) who: u8,
    /// See [`Asked::case`].
    pub(crate) case: u8,
    /// Whether it had a client cookie.
    pub(crate) cookie: bool,
}

/// One test.
#[derive(Debug)]
pub(crate) struct Session {
    /// Nanoseconds since 1970.
    pub(crate) begun: u64,
    pub(crate) samples: Vec<Sample>,
    /// One for each sample.
    pub(crate) marks: Vec<Mark>,
    pub(crate) addresses: Vec<IpAddr>,
    /// The last size that EDNS announced.
    pub(crate) edns: Option<u16>,
    /// Queries over TCP.
    pub(crate) tcp: u32,
    /// What it came to, after so many samples.
    pub(crate) report: Option<(usize, Arc<Report>)>,
    /// Names, and how often each was asked for.
    names: Vec<(u32, u8)>,
}

impl Session {
    pub(crate) fn new(now: u64) -> Self {
        Session {
            begun: now,
            samples: Vec::new(),
            marks: Vec::new(),
            addresses: Vec::new(),
            edns: None,
            tcp: 0,
            report: None,
            names: Vec::new(),
        }
    }

    /// Takes notice of a query; how often its name was asked for before over UDP. That may be too often where
    /// it was asked again: then its path is shown in larger steps.
    pub(crate) fn ask(&mut self, asked: &Asked) -> u8 {
        self.edns = asked.edns.or(self.edns);
        if asked.tcp {
            self.tcp = self.tcp.saturating_add(1);
            return self.names.iter().find(|(name, _)| *name == asked.name).map_or(0, |(_, n)| *n);
        }
        self.keep(asked);
        if let Some((_, count)) = self.names.iter_mut().find(|(name, _)| *name == asked.name) {
            *count = count.saturating_add(1);
            return *count - 1;
        }
        if self.names.len() == MOST_NAMES {
            return u8::MAX;
        }
        self.names.push((asked.name, 1));
        0
    }

    fn keep(&mut self, asked: &Asked) {
        if self.samples.len() == MOST_SAMPLES {
            return;
        }
        let who = match self.addresses.iter().position(|address| *address == asked.from) {
            Some(who) => who,
            None if self.addresses.len() == MOST_ADDRESSES => return,
            None => {
                self.addresses.push(asked.from);
                self.addresses.len() - 1
            }
        };
        let question = asked.name ^ u32::from(asked.qtype).wrapping_mul(0x9e37_79b9);
        let mut sample = Sample::answered_at_once(asked.time, [asked.port, asked.id], question);
        [sample.letters, sample.upper] = asked.letters;
        self.samples.push(sample);
        self.marks.push(Mark { who: who as u8, case: asked.case, cookie: asked.cookie });
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn asked(n: u16, port: u16, id: u16) -> Asked {
        Asked {
            time: 1_800_000_000_000_000_000 + u64::from(n) * 1_000_000,
            from: IpAddr::from([192, 0, 2, 1]),
            port,
            id,
            name: u32::from(n),
            qtype: 16,
            letters: [20, 0],
            case: 0,
            tcp: false,
            cookie: false,
            edns: Some(1232),
        }
    }

    #[test]
    fn it_counts_how_often_a_name_was_asked_for_and_has_an_end() {
        let mut session = Session::new(0);
        assert_eq!([0, 0, 1].map(|n| session.ask(&asked(n, 1, 1))), [0, 1, 0]);
        let tcp = Asked { tcp: true, ..asked(0, 9, 9) };
        assert_eq!((session.ask(&tcp), session.samples.len(), session.tcp), (2, 3, 1));
        for n in 0..1000 {
            session.ask(&Asked { from: IpAddr::from([10, 0, 0, n as u8]), ..asked(n, n, n) });
        }
        assert!(session.samples.len() <= MOST_SAMPLES && session.addresses.len() == MOST_ADDRESSES);
        assert_eq!((session.names.len(), session.marks.len()), (MOST_NAMES, session.samples.len()));
    }
}
