//! The contract of the salt engine: queries that wait, and what may come of each packet.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use dnsalt_salt::layout::{Counter, RECENT_ENTRIES};
use dnsalt_salt::taken::way;

use crate::packet::{Datagram, Ip, Quote, Seen, octets, read, sum, udp_sum};
use crate::{DROP, Done, PASS, TURN_BACK, Terms, Way};

/// So long after its time a reply is still told from a forged one.
const REMEMBERED: u64 = 514;
/// A second.
const SECOND: u64 = 59;
/// Queries of one question behind which an earlier one may be forgotten: the engine has 7 places for them, which
/// another question may share.
const SURE: usize = RECENT_ENTRIES - 2;

/// A query that left.
#[derive(Clone, Debug)]
struct Waiting {
    client: (IpAddr, u16),
    server: (IpAddr, u16),
    id: u16,
    /// As the client asked: name, type, class.
    question: Option<Vec<u8>>,
    /// As it left.
    asked: Option<Vec<u8>>,
    /// Port and ID that it left with; none where nobody has seen them.
    salt: Option<(u16, u16)>,
    until: u64,
    tainted: bool,
    done: bool,
}

/// What was forged in the name of a server.
#[derive(Clone, Debug, Default)]
struct Server {
    since: Option<u64>,
    misses: u32,
    unsolicited: u32,
    locked_until: Option<u64>,
}

/// What became of a packet, by the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It is none of the engine's business.
    Nothing,
    /// A query left with salt of its own; its number.
    Salted(usize),
    /// The same, sent again.
    Again(usize),
    /// It is to be sent to TCP: an answer came back.
    Answered(usize),
    /// The client got its answer.
    Restored(usize),
    /// The client was sent to TCP.
    Truncated(usize),
    /// It was dropped, and counted so.
    Dropped(Option<Counter>),
    /// An error of ICMP was put right.
    Translated(usize),
}

/// Everything that has happened.
#[derive(Clone, Debug)]
pub struct Model {
    terms: Terms,
    key: u64,
    now: u64,
    queries: Vec<Waiting>,
    /// By way and port, the last query that took it.
    taken: HashMap<(u32, u16), usize>,
    /// By question and server, the last queries.
    recent: HashMap<(Option<Vec<u8>>, IpAddr), VecDeque<usize>>,
    servers: HashMap<IpAddr, Server>,
    counts: HashMap<u32, u64>,
    partial: bool,
    /// Queries whose salt is what they came with: by chance, one of four thousand million.
    unsalted: u32,
}

/// What is wrong.
pub type Wrong = String;

impl Model {
    /// Nothing has happened. `key` is the engine's, for the ways that ports are taken in.
    pub fn new(terms: Terms, key: u64) -> Self {
        Model {
            terms,
            key,
            now: 0,
            queries: Vec::new(),
            taken: HashMap::new(),
            recent: HashMap::new(),
            servers: HashMap::new(),
            counts: HashMap::new(),
            partial: false,
            unsalted: 0,
        }
    }

    /// The checksums of UDP are still to be finished, by cards: those in packets have the pseudo header alone.
    #[must_use]
    pub fn with_partial(mut self, partial: bool) -> Self {
        self.partial = partial;
        self
    }

    /// Lets time pass.
    pub fn wait(&mut self, units: u64) {
        self.now += units;
    }

    /// Queries that left.
    pub fn queries(&self) -> usize {
        self.queries.len()
    }

    /// How often something is to have been counted.
    pub fn count(&self, counter: Counter) -> u64 {
        self.counts.get(&(counter as u32)).copied().unwrap_or(0)
    }

    /// Judges what became of a packet.
    ///
    /// # Errors
    /// When that breaks the contract; in words.
    pub fn judge(&mut self, way: Way, before: &[u8], done: &Done) -> Result<Happened, Wrong> {
        let happened = match way {
            Way::Out => self.out(before, done)?,
            Way::In => self.inward(before, done)?,
        };
        if done.verdict == PASS && happened == Happened::Nothing && done.packet != before {
            return Err("what is none of its business was changed".to_owned());
        }
        Ok(happened)
    }

    fn tally(&mut self, counter: Counter) {
        *self.counts.entry(counter as u32).or_default() += 1;
    }

    fn dropped(&mut self, done: &Done, counter: Counter) -> Result<Happened, Wrong> {
        expect(done, DROP, counter)?;
        self.tally(counter);
        Ok(Happened::Dropped(Some(counter)))
    }

    fn out(&mut self, before: &[u8], done: &Done) -> Result<Happened, Wrong> {
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
        let Seen::Udp(_, Some(new)) = read(&done.packet) else {
            return Err("what left is no query".to_owned());
        };
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
        place: Option<std::ops::Range<usize>>,
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
        let (new_ip, new) = match read(&done.packet) {
            Seen::Udp(ip, Some(dns)) => (ip, dns),
            other => return Err(format!("the answer cannot be read: {other:?}")),
        };
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

    fn inward(&mut self, before: &[u8], done: &Done) -> Result<Happened, Wrong> {
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
            let (new_ip, new) = match read(&done.packet) {
                Seen::Udp(ip, Some(dns)) => (ip, dns),
                other => return Err(format!("what was cut down cannot be read: {other:?}")),
            };
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
        let hit: Vec<usize> = (0..dnsalt_salt::layout::WAYS)
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

    /// The packet is as expected but for its UDP checksum, and that is as right as it was.
    fn same_but_for_sum(
        &self,
        ip: &Ip,
        before: &[u8],
        expected: &[u8],
        after: &[u8],
    ) -> Result<(), Wrong> {
        let checksum = ip.transport + 6..ip.transport + 8;
        let mut expected = expected.to_vec();
        if after.len() != expected.len() {
            return Err(format!("{} bytes became {}", expected.len(), after.len()));
        }
        expected[checksum.clone()].copy_from_slice(&after[checksum.clone()]);
        if expected != after {
            let at = expected.iter().zip(after).position(|(one, other)| one != other);
            return Err(format!("something else was changed, at byte {at:?}"));
        }
        if before[checksum.clone()] == [0, 0] {
            return if after[checksum] == [0, 0] {
                Ok(())
            } else {
                Err("a checksum appeared".to_owned())
            };
        }
        if after[checksum] == [0, 0] {
            return Err("the checksum is gone".to_owned());
        }
        let right = if self.partial {
            unfinished(before, ip) == unfinished(after, ip)
        } else {
            udp_sum(before, ip) == udp_sum(after, ip)
        };
        if right { Ok(()) } else { Err("the checksum is wrong".to_owned()) }
    }

    fn is_outstanding(&self, one: &Waiting) -> bool {
        !one.done && self.now <= one.until
    }

    fn way(&self, client: IpAddr, server: IpAddr) -> u32 {
        way(self.key, client.into(), server.into())
    }

    fn found(&self, client: IpAddr, server: IpAddr, port: u16) -> Option<usize> {
        self.found_in(self.way(client, server), port)
    }

    fn found_in(&self, way: u32, port: u16) -> Option<usize> {
        let n = *self.taken.get(&(way, port))?;
        (self.now <= self.queries[n].until + REMEMBERED).then_some(n)
    }

    fn is_locked(&self, server: IpAddr) -> bool {
        self.servers
            .get(&server)
            .and_then(|server| server.locked_until)
            .is_some_and(|until| self.now <= until)
            && (self.terms.lockdown_after != 0 || self.terms.lockdown_unsolicited != 0)
    }

    /// What is counted of a server in this second.
    fn second(&mut self, server: IpAddr) -> &mut Server {
        let now = self.now;
        let server = self.servers.entry(server).or_default();
        if server.since.is_none_or(|since| now - since >= SECOND) {
            *server =
                Server { since: Some(now), locked_until: server.locked_until, ..Server::default() };
        }
        server
    }

    fn missed(&mut self, server: IpAddr) {
        let enough = self.terms.lockdown_after;
        if enough == 0 {
            return;
        }
        let one = self.second(server);
        one.misses += 1;
        if one.misses >= enough {
            self.lock(server);
        }
    }

    fn unsolicited(&mut self, server: IpAddr) {
        let (enough, most) = (self.terms.lockdown_after, self.terms.lockdown_unsolicited);
        if enough == 0 && most == 0 {
            return;
        }
        let locked = self.is_locked(server);
        let one = self.second(server);
        one.unsolicited += 1;
        let mut goes_on = most != 0 && one.unsolicited > most;
        if !goes_on && enough != 0 && locked {
            one.misses += 1;
            goes_on = one.misses >= enough;
        }
        if goes_on {
            self.lock(server);
        }
    }

    fn lock(&mut self, server: IpAddr) {
        if !self.is_locked(server) {
            self.tally(Counter::Lockdowns);
        }
        // The engine's odd numbers are one more at most.
        let until = self.now + self.terms.lockdown;
        self.servers.entry(server).or_default().locked_until = Some(until);
    }
}

/// How a query left.
struct Left {
    salt: Option<(u16, u16)>,
    asked: Option<Vec<u8>>,
}

fn lower(question: &[u8]) -> Vec<u8> {
    question.to_ascii_lowercase()
}

fn put(packet: &mut [u8], at: usize, number: u16) {
    packet[at..at + 2].copy_from_slice(&number.to_be_bytes());
}

fn expect(done: &Done, verdict: i32, what: impl std::fmt::Debug) -> Result<(), Wrong> {
    if done.verdict == verdict {
        return Ok(());
    }
    Err(format!("{what:?} ended with verdict {}, not {verdict}", done.verdict))
}

fn untouched(done: &Done) -> Result<Happened, Wrong> {
    expect(done, PASS, "what is none of its business")?;
    Ok(Happened::Nothing)
}

/// Dropped or let through; whoever calls asks whether it was changed.
fn harmless(done: &Done) -> Result<Happened, Wrong> {
    match done.verdict {
        PASS => Ok(Happened::Nothing),
        DROP => Ok(Happened::Dropped(None)),
        other => Err(format!("what makes no sense ended with verdict {other}")),
    }
}

/// From, port, to, port, ID.
type Between = (IpAddr, u16, IpAddr, u16, u16);

/// An answer with TC=1 and the question alone, whose sums are right.
fn is_short(
    ip: &Ip,
    dns: &Datagram,
    packet: &[u8],
    old: &Datagram,
    before: &[u8],
    old_ip: &Ip,
    (src, src_port, dst, dst_port, id): Between,
) -> Result<(), Wrong> {
    if (ip.src, dns.src_port, ip.dst, dns.dst_port, dns.id) != (src, src_port, dst, dst_port, id) {
        return Err(format!("a short answer to {}:{} with ID {}", ip.dst, dns.dst_port, dns.id));
    }
    // Opcode and RD are those of the message; QR, TC and RA are set, RCODE is 0.
    if dns.flags != old.flags & 0x7900 | 0x8280 {
        return Err(format!("a short answer with flags {:04x}", dns.flags));
    }
    let end = dns.question.as_ref().map_or(0, |range| range.end);
    if packet[dns.message + 4..dns.message + 12] != [0, 1, 0, 0, 0, 0, 0, 0] || end != packet.len()
    {
        return Err("a short answer with more than its question".to_owned());
    }
    if ip.options || ip.more || ip.end != packet.len() {
        return Err("a short answer in a packet that is not plain".to_owned());
    }
    if src.is_ipv4() && sum(&[&packet[ip.at..ip.at + 20]]) != 0 {
        return Err("a short answer with a wrong sum of its header".to_owned());
    }
    // What the card is to finish has the sum of the pseudo header alone; by chance any sum is that.
    let fine =
        udp_sum(packet, ip) == 0 || unfinished(before, old_ip) == 0 && unfinished(packet, ip) == 0;
    if fine { Ok(()) } else { Err("a short answer with a wrong checksum".to_owned()) }
}

/// What a checksum that the card is to finish has beside the sum of the pseudo header: 0 if it is right.
fn unfinished(packet: &[u8], ip: &Ip) -> u32 {
    let [length, checksum] = [4, 6].map(|at| &packet[ip.transport + at..ip.transport + at + 2]);
    let pseudo = sum(&[&octets(ip.src), &octets(ip.dst), length, &[0, 17]]);
    (sum(&[checksum]) + 65_535 - pseudo) % 65_535
}
