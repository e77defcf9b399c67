//! What comes in: replies, and errors of ICMP.

use dnsalt_salt::layout::{Counter, WAYS};

use super::check::{dns_in, expect, harmless, is_short, lower, put, untouched};
use super::{Happened, Model, Wrong};
use crate::packet::{Datagram, Ip, Quote, Seen, read, sum};
use crate::{DROP, Done, PASS};

impl Model {
    pub(super) fn inward(&mut self, before: &[u8], done: &Done) -> Result<Happened, Wrong> {
        match read(before) {
            Seen::Other => untouched(done),
            Seen::Malformed => harmless(done),
            Seen::LaterFragment(ip) => {
                if self.terms.no_fragments && self.terms.in_scope(ip.dst, ip.src) {
                    return self.dropped(done, Counter::Unreadable);
                }
                untouched(done)
            }
            Seen::Udp(ip, None) => {
                // The first fragment may be too short to show what it is.
                let port = before.get(ip.transport..ip.transport + 2);
                let port = port.map(|two| u16::from_be_bytes([two[0], two[1]]));
                let hides = ip.more
                    && port.is_some_and(|port| self.terms.is_dns_port(port))
                    && self.terms.in_scope(ip.dst, ip.src);
                if hides { self.dropped(done, Counter::Unreadable) } else { untouched(done) }
            }
            Seen::Udp(ip, Some(dns)) => {
                let is_reply = dns.flags & 0x8000 != 0 && self.terms.is_dns_port(dns.src_port);
                if !is_reply || !self.terms.in_scope(ip.dst, ip.src) {
                    return untouched(done);
                }
                self.reply(&ip, &dns, before, done)
            }
            Seen::Error(ip, quote) => self.error(&ip, &quote, before, done),
        }
    }

    fn reply(
        &mut self,
        ip: &Ip,
        dns: &Datagram,
        before: &[u8],
        done: &Done,
    ) -> Result<Happened, Wrong> {
        let Some(n) = self.found(ip.dst, ip.src, dns.dst_port) else {
            return self.unasked(ip, dns, done);
        };
        let one = &self.queries[n];
        let is_asked = one.server == (ip.src, dns.src_port) && one.client.0 == ip.dst;
        let same_id = one.salt.is_some_and(|(_, id)| id == dns.id);
        let question = dns.question.clone().map(|range| before[range].to_vec());
        let same_question = one.question.as_deref().map(lower) == question.as_deref().map(lower);
        let bare_error = dns.flags & 15 != 0 && dns.questions == 0 && !dns.has_records;
        if self.is_outstanding(one) && is_asked {
            if !same_id {
                return self.near_miss(ip, dns, done, Counter::WrongId);
            }
            if !same_question && !bare_error {
                return self.near_miss(ip, dns, done, Counter::WrongQuestion);
            }
            return self.right(n, ip, dns, question, before, done);
        }
        if is_asked && same_id && same_question {
            let over = self.now > one.until;
            match (one.done, over) {
                (true, false) => return self.dropped(done, Counter::Duplicate),
                (false, true) => return self.dropped(done, Counter::Late),
                _ => {}
            }
        }
        self.unasked(ip, dns, done)
    }

    fn right(
        &mut self,
        n: usize,
        ip: &Ip,
        dns: &Datagram,
        question: Option<Vec<u8>>,
        before: &[u8],
        done: &Done,
    ) -> Result<Happened, Wrong> {
        let one = self.queries[n].clone();
        let may_tcp = self.terms.has_tcp(one.client.0);
        let cased = self.terms.case && may_tcp;
        let same_case = question.is_none() || question == one.asked;
        let bare_tc = dns.flags & 0x0200 != 0
            && dns.question.as_ref().is_some_and(|range| range.end == dns.end);
        let tainted = one.tainted && !self.terms.believes_after_miss;
        let doubtful = !bare_tc && (tainted || self.is_locked(ip.src));
        let in_pieces = ip.more && self.terms.no_fragments;
        self.queries[n].done = true;
        if !same_case {
            self.tally(Counter::WrongCase);
        }
        // What the client chose; where nothing of that came back, no case that anybody chose.
        let shown = question.map(|question| match one.question {
            Some(own) if same_case => own,
            _ if cased => {
                let mut name = question;
                let end = name.len() - 4;
                name[..end].make_ascii_lowercase();
                name
            }
            _ => question,
        });
        if (doubtful || in_pieces || !same_case) && may_tcp {
            self.tally(Counter::Truncated);
            let Some(shown) = shown.filter(|_| !ip.options) else {
                expect(done, DROP, "what cannot be cut down")?;
                return Ok(Happened::Dropped(None));
            };
            expect(done, PASS, "a reply that is cut down")?;
            let (new_ip, new) = dns_in(&done.packet)?;
            if new.question.clone().map(|range| &done.packet[range]) != Some(&shown[..]) {
                return Err("what was cut down has another question".to_owned());
            }
            if done.packet[..ip.at] != before[..ip.at] {
                return Err("what was cut down has another link header".to_owned());
            }
            let way = (ip.src, dns.src_port, ip.dst, one.client.1, one.id);
            is_short(&new_ip, &new, &done.packet, dns, before, ip, way)?;
            return Ok(Happened::Truncated(n));
        }
        self.tally(Counter::Restored);
        expect(done, PASS, "the right reply")?;
        let mut expected = before.to_vec();
        put(&mut expected, ip.transport + 2, one.client.1);
        put(&mut expected, dns.message, one.id);
        if let (Some(range), Some(shown)) = (&dns.question, &shown) {
            expected[range.clone()].copy_from_slice(shown);
        }
        self.same_but_for_sum(ip, before, &expected, &done.packet)?;
        Ok(Happened::Restored(n))
    }

    fn unasked(&mut self, ip: &Ip, dns: &Datagram, done: &Done) -> Result<Happened, Wrong> {
        if self.taint(ip, dns.dst_port) {
            self.missed(ip.src);
            return self.dropped(done, Counter::WrongServer);
        }
        self.unsolicited(ip.src);
        self.dropped(done, Counter::Forged)
    }

    fn near_miss(
        &mut self,
        ip: &Ip,
        dns: &Datagram,
        done: &Done,
        counter: Counter,
    ) -> Result<Happened, Wrong> {
        self.taint(ip, dns.dst_port);
        self.missed(ip.src);
        self.dropped(done, counter)
    }

    /// Nothing is believed any more of what waits at a port of a client.
    fn taint(&mut self, ip: &Ip, port: u16) -> bool {
        let hit: Vec<usize> = (0..WAYS)
            .filter_map(|way| self.found_in(way, port))
            .filter(|n| {
                let one = &self.queries[*n];
                self.is_outstanding(one) && one.client.0 == ip.dst
            })
            .collect();
        for n in &hit {
            self.queries[*n].tainted = true;
        }
        !hit.is_empty()
    }

    fn error(
        &mut self,
        ip: &Ip,
        quote: &Quote,
        before: &[u8],
        done: &Done,
    ) -> Result<Happened, Wrong> {
        let unclear = quote.id.is_none() && self.terms.is_dns_port(quote.src_port);
        if quote.is_reply
            || unclear
            || !self.terms.is_dns_port(quote.dst_port)
            || !self.terms.in_scope(quote.ip.src, quote.ip.dst)
        {
            return untouched(done);
        }
        let found = self.found(quote.ip.src, quote.ip.dst, quote.src_port).filter(|n| {
            let one = &self.queries[*n];
            self.is_outstanding(one)
                && one.server == (quote.ip.dst, quote.dst_port)
                && one.client.0 == quote.ip.src
        });
        let Some(n) = found else { return self.dropped(done, Counter::IcmpDropped) };
        self.tally(Counter::IcmpTranslated);
        expect(done, PASS, "an error of a query that waits")?;
        let one = &self.queries[n];
        let mut expected = before.to_vec();
        put(&mut expected, quote.ip.transport, one.client.1);
        if quote.id.is_some() {
            put(&mut expected, quote.ip.transport + 8, one.id);
        }
        let checksum = ip.transport + 2;
        let seen = done.packet.get(checksum..checksum + 2).ok_or("the error was cut")?;
        expected[checksum..checksum + 2].copy_from_slice(seen);
        if expected != done.packet {
            return Err("something else of the error was changed".to_owned());
        }
        let sums = [before, &done.packet].map(|packet| sum(&[&packet[ip.transport..]]));
        if sums[0] != sums[1] {
            return Err("the checksum of the error is wrong".to_owned());
        }
        Ok(Happened::Translated(n))
    }
}
