//! What leaves: queries, and answers on the spot.

use std::ops::Range;

use dnsalt_salt::layout::{Counter, RECENT_ENTRIES};

use super::check::{dns_in, expect, harmless, is_short, lower, put, untouched};
use super::{Happened, Model, SURE, Waiting, Wrong};
use crate::packet::{Datagram, Ip, Seen, read};
use crate::{DROP, Done, PASS, TURN_BACK};

/// How a query left.
struct Left {
    salt: Option<(u16, u16)>,
    asked: Option<Vec<u8>>,
}

impl Model {
    pub(super) fn out(&mut self, before: &[u8], done: &Done) -> Result<Happened, Wrong> {
        let (ip, dns) = match read(before) {
            Seen::Malformed => return harmless(done),
            Seen::Udp(ip, Some(dns)) => (ip, dns),
            _ => return untouched(done),
        };
        let is_query = dns.flags & 0x8000 == 0 && self.terms.is_dns_port(dns.dst_port);
        if !is_query || !self.terms.in_scope(ip.src, ip.dst) {
            return untouched(done);
        }
        let question = dns.question.clone().map(|range| before[range].to_vec());
        let place = (question.as_deref().map(lower), ip.dst);
        let recent: Vec<usize> =
            self.recent.get(&place).map(|list| list.iter().copied().collect()).unwrap_or_default();
        let same: Vec<usize> = recent
            .iter()
            .copied()
            .filter(|n| {
                let other = &self.queries[*n];
                self.is_outstanding(other) && other.server == (ip.dst, dns.dst_port)
            })
            .collect();
        let itself = same.iter().copied().find(|n| {
            let other = &self.queries[*n];
            other.client == (ip.src, dns.src_port)
                && other.id == dns.id
                && other.question == question
        });
        // Where one is about to be forgotten it may have been.
        let sure = recent.len() <= SURE;
        if let Some(n) = itself {
            let again = self.again(n, &ip, &dns, before, done);
            if again.is_ok() || sure {
                return again;
            }
        }
        let full = self.terms.max_identical != 0 && same.len() >= self.terms.max_identical;
        if full && (sure || done.verdict == DROP && done.packet == before) {
            return self.dropped(done, Counter::Identical);
        }
        self.fresh(&ip, &dns, question, before, done)
    }

    /// It keeps what it had, and gets its time anew.
    fn again(
        &mut self,
        n: usize,
        ip: &Ip,
        dns: &Datagram,
        before: &[u8],
        done: &Done,
    ) -> Result<Happened, Wrong> {
        let one = &self.queries[n];
        let doubtful = one.tainted && !self.terms.believes_after_miss || self.is_locked(ip.dst);
        let answer = doubtful && self.terms.has_tcp(ip.src);
        let left = self.left(ip, dns, before, done, answer)?;
        if let (Some(salt), Some(seen)) = (one.salt, left.salt)
            && salt != seen
        {
            return Err(format!("sent again with {seen:?} in place of {salt:?}"));
        }
        if left.salt.is_some() && one.salt.is_some() && left.asked != one.asked {
            return Err("sent again in another case of letters".to_owned());
        }
        let until = self.now + self.terms.lifetime;
        let way = self.way(ip.src, ip.dst);
        let one = &mut self.queries[n];
        one.until = until;
        // The first time it may have been dropped, so that nobody saw what it would have left with.
        if let (None, Some((port, _))) = (one.salt, left.salt) {
            (one.salt, one.asked) = (left.salt, left.asked);
            self.taken.insert((way, port), n);
        }
        self.tally(Counter::Retransmitted);
        self.tally(if answer { Counter::AnsweredTc } else { Counter::Salted });
        Ok(if answer { Happened::Answered(n) } else { Happened::Again(n) })
    }

    fn fresh(
        &mut self,
        ip: &Ip,
        dns: &Datagram,
        question: Option<Vec<u8>>,
        before: &[u8],
        done: &Done,
    ) -> Result<Happened, Wrong> {
        let answer = self.is_locked(ip.dst) && self.terms.has_tcp(ip.src);
        let Left { salt, asked } = self.left(ip, dns, before, done, answer)?;
        if let Some((port, _)) = salt {
            self.unsalted += u32::from(salt == Some((dns.src_port, dns.id)));
            if self.unsalted > 1 {
                return Err("queries leave as they came".to_owned());
            }
            if !self.terms.may_leave_from(port) {
                return Err(format!("left from port {port}, which the policy leaves out"));
            }
            let taken = self.queries.iter().find(|other| {
                self.is_outstanding(other)
                    && other.client.0 == ip.src
                    && other.server.0 == ip.dst
                    && other.salt.is_some_and(|(other, _)| other == port)
            });
            if taken.is_some() {
                return Err(format!("two queries wait at port {port} for the same server"));
            }
        }
        let n = self.queries.len();
        let place = (question.as_deref().map(lower), ip.dst);
        self.queries.push(Waiting {
            client: (ip.src, dns.src_port),
            server: (ip.dst, dns.dst_port),
            id: dns.id,
            question,
            asked,
            salt,
            until: self.now + self.terms.lifetime,
            tainted: false,
            done: false,
        });
        if let Some((port, _)) = salt {
            self.taken.insert((self.way(ip.src, ip.dst), port), n);
        }
        let recent = self.recent.entry(place).or_default();
        recent.push_back(n);
        if recent.len() > RECENT_ENTRIES {
            recent.pop_front();
        }
        self.tally(if answer { Counter::AnsweredTc } else { Counter::Salted });
        Ok(if answer { Happened::Answered(n) } else { Happened::Salted(n) })
    }

    /// What a query left with, if nothing else became of it than may.
    fn left(
        &self,
        ip: &Ip,
        dns: &Datagram,
        before: &[u8],
        done: &Done,
        answer: bool,
    ) -> Result<Left, Wrong> {
        if answer {
            return self.answered(ip, dns, before, done);
        }
        if done.verdict != PASS {
            return Err(format!("a query ended with verdict {}", done.verdict));
        }
        let (_, new) = dns_in(&done.packet)?;
        let mut expected = before.to_vec();
        let cased = self.terms.case && self.terms.has_tcp(ip.src);
        let asked = self.asked(dns, before, &done.packet, cased, dns.question.clone())?;
        put(&mut expected, ip.transport, new.src_port);
        put(&mut expected, dns.message, new.id);
        if let (Some(range), Some(asked)) = (&dns.question, &asked) {
            expected[range.clone()].copy_from_slice(asked);
        }
        self.same_but_for_sum(ip, before, &expected, &done.packet)?;
        Ok(Left { salt: Some((new.src_port, new.id)), asked })
    }

    /// The question as it left: that of the client, but for letters of the name, if these may change.
    fn asked(
        &self,
        dns: &Datagram,
        before: &[u8],
        after: &[u8],
        cased: bool,
        place: Option<Range<usize>>,
    ) -> Result<Option<Vec<u8>>, Wrong> {
        let (Some(range), Some(place)) = (dns.question.clone(), place) else { return Ok(None) };
        let asked = before[range].to_vec();
        let left = after.get(place).ok_or("the question is gone")?.to_vec();
        let (name, rest) = asked.split_at(asked.len() - 4);
        let (new_name, new_rest) = left.split_at(left.len() - 4);
        let fine = if cased && self.terms.case {
            name.eq_ignore_ascii_case(new_name) && rest == new_rest
        } else {
            asked == left
        };
        if fine { Ok(Some(left)) } else { Err("another question left".to_owned()) }
    }

    /// The answer that sends the client to TCP comes in as if from the server; it is to be changed back there.
    fn answered(&self, ip: &Ip, dns: &Datagram, before: &[u8], done: &Done) -> Result<Left, Wrong> {
        let Some(range) = dns.question.clone().filter(|_| !ip.options) else {
            expect(done, DROP, "a query that cannot be answered")?;
            return Ok(Left { salt: None, asked: None });
        };
        expect(done, TURN_BACK, "a query during a lockdown")?;
        let (new_ip, new) = dns_in(&done.packet)?;
        let swapped = done.packet[..6] == before[6..12] && done.packet[6..12] == before[..6];
        if !swapped || done.packet[12..ip.at] != before[12..ip.at] {
            return Err("the answer has a wrong link header".to_owned());
        }
        let place = new.question.clone();
        let cased = self.terms.case && self.terms.has_tcp(ip.src);
        if place.as_ref().map(ExactSizeIterator::len) != Some(range.len()) {
            return Err("the answer has another question".to_owned());
        }
        let asked = self.asked(dns, before, &done.packet, cased, place)?;
        let way = (ip.dst, dns.dst_port, ip.src, new.dst_port, new.id);
        is_short(&new_ip, &new, &done.packet, dns, before, ip, way)?;
        Ok(Left { salt: Some((new.dst_port, new.id)), asked })
    }
}
