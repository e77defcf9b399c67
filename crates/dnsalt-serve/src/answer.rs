//! From a query to a reply.
//!
//! | who asks | gets |
//! |---|---|
//! | over TCP, or with a server cookie of ours | everything |
//! | over UDP without one | what is at most [`GROWTH`] bytes longer than its query; else TC=1, and TCP |
//! | the same, faster than its network may | TC=1 or nothing, by turns |
//!
//! So nobody can use us to send more to others than it sends to us, but for those few bytes. They are what one
//! alias or one referral takes, and a cookie; without them a resolver would have to ask 28 times over TCP. The
//! first alias and the result are longer: tokens are given to nobody but who receives what is sent to it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use dnsalt_wire::dns::edns::option;
use dnsalt_wire::dns::{Letters, Message, Name, rrtype};
use siphasher::sip::SipHasher24;

use crate::judgement::{Judge, Report};
use crate::limit::Limit;
use crate::query::{NANOSECONDS, Over, Query, read};
use crate::reply::{EDNS_SIZE, Opt, Owner, Reply, Section, rcode, suffix};
use crate::session::{Asked, MOST_SAMPLES, Session};
use crate::sessions::{Opened, Sessions};
use crate::stats::{Count, Stats};
use crate::token::{Body, Tokens};
use crate::zone::{Hop, Place, Test, Zone};
use crate::{cookie, text};

/// A reply to who has shown no cookie is at most so much longer than its query: an alias of 20 bytes, and a
/// cookie of 16.
pub(crate) const GROWTH: usize = 36;
/// The largest reply to a query without EDNS (RFC 1035).
const PLAIN_SIZE: usize = 512;
/// Seconds that a referral is kept, a result, and what does not change.
const SHORT: u32 = 60;
const LONG: u32 = 3600;
const CLASS_IN: u16 = 1;
const CLASS_ANY: u16 = 255;
/// Transfers of zones, incremental and whole.
const TRANSFERS: [u16; 2] = [251, 252];

/// What is drawn at random when the server starts, and never written anywhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Secrets {
    pub(crate) cookie: [u8; 16],
    pub(crate) tokens: [u8; 16],
    pub(crate) bodies: [u8; 16],
    pub(crate) limit: [u8; 16],
}

/// Answers queries; all threads share it.
#[derive(Debug)]
pub(crate) struct Answers {
    zone: Zone,
    nsid: Option<Vec<u8>>,
    cookie_key: [u8; 16],
    tokens: Tokens,
    bodies: Bodies,
    sessions: Sessions,
    limit: Limit,
    judge: Judge,
    stats: Stats,
    /// Queries that came too fast.
    over: AtomicU32,
}

/// Draws bodies: a keyed hash of a counter, which nobody can foretell.
#[derive(Debug)]
struct Bodies {
    key: [u8; 16],
    next: AtomicU64,
}

impl Bodies {
    fn draw(&self) -> Body {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        SipHasher24::new_with_key(&self.key).hash(&next.to_be_bytes())
    }
}

impl Answers {
    pub(crate) fn new(
        zone: Zone,
        nsid: Option<String>,
        rate: u32,
        sessions: usize,
        secrets: &Secrets,
    ) -> Self {
        Answers {
            zone,
            nsid: nsid.map(String::into_bytes),
            cookie_key: secrets.cookie,
            tokens: Tokens::new(secrets.tokens),
            bodies: Bodies { key: secrets.bodies, next: 0.into() },
            sessions: Sessions::new(sessions),
            limit: Limit::new(rate, secrets.limit),
            judge: Judge::default(),
            stats: Stats::default(),
            over: AtomicU32::new(0),
        }
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    pub(crate) fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The names that a browser looks up for a test.
    pub(crate) fn browser_names(&self, body: Body, now: u64) -> Vec<String> {
        let token = self.tokens.of(body, now / NANOSECONDS);
        self.zone.browser_names(&String::from_utf8_lossy(&token))
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Writes the reply to `query` into `out`; whether there is one.
    pub(crate) fn answer(
        &self,
        query: &[u8],
        from: SocketAddr,
        over: Over,
        now: u64,
        out: &mut Vec<u8>,
    ) -> bool {
        self.stats.add(if over == Over::Udp { Count::Udp } else { Count::Tcp });
        let Some(message) = Message::parse(query).ok().filter(|message| !message.is_response())
        else {
            self.stats.add(Count::Malformed);
            return false;
        };
        match read(query, message, from, over, now) {
            Ok(query) => self.answer_to(&query, out),
            Err(code) => {
                // Whoever it was, an error is no longer than what it answers.
                self.stats.add(Count::Malformed);
                if over == Over::Udp && !self.may_be_sent(from, now) {
                    self.stats.add(Count::Dropped);
                    return false;
                }
                Reply::to(query, 12, out).set_code(code);
                true
            }
        }
    }

    fn answer_to(&self, query: &Query<'_>, out: &mut Vec<u8>) -> bool {
        let known = query.over == Over::Tcp || self.has_cookie(query);
        if !known && !self.may_be_sent(query.from, query.now) {
            return self.slip(query, out);
        }
        let mut reply = Reply::to(query.bytes, query.end(), out);
        let opt = self.opt(query);
        if let Some(opt) = opt.filter(|opt| opt.bad_version) {
            reply.opt(&opt);
            return true;
        }
        self.write(query, known, &mut reply);
        let most = match (query.over, &query.edns) {
            (Over::Tcp, _) => usize::from(u16::MAX),
            (Over::Udp, None) => PLAIN_SIZE,
            (Over::Udp, Some(edns)) => usize::from(edns.size.clamp(512, EDNS_SIZE)),
        };
        let most = if known { most } else { most.min(query.bytes.len() + GROWTH) };
        let room = opt.map_or(0, |opt| 11 + if opt.cookie.is_some() { 28 } else { 0 });
        if reply.len() + room > most {
            self.stats.add(Count::Truncated);
            reply.truncate();
        }
        if let Some(mut opt) = opt {
            // What it is called, nobody needs as urgently as an answer.
            opt.nsid = opt.nsid.filter(|nsid| reply.len() + room + 4 + nsid.len() <= most);
            reply.opt(&opt);
        }
        true
    }

    /// What is sent in place of a reply to who asks too fast: TC=1 to every second, so that a resolver whose
    /// name is misused still gets answers, over TCP.
    fn slip(&self, query: &Query<'_>, out: &mut Vec<u8>) -> bool {
        if self.over.fetch_add(1, Ordering::Relaxed) & 1 == 0 {
            self.stats.add(Count::Dropped);
            return false;
        }
        self.stats.add(Count::Truncated);
        Reply::to(query.bytes, query.end(), out).truncate();
        true
    }

    fn may_be_sent(&self, to: SocketAddr, now: u64) -> bool {
        self.limit.allows(to.ip(), now / 1000)
    }

    fn has_cookie(&self, query: &Query<'_>) -> bool {
        query.cookie.is_some_and(|(client, server)| {
            let now = query.seconds() as u32;
            cookie::is_good(&self.cookie_key, client, server, query.from.ip(), now)
        })
    }

    fn opt(&self, query: &Query<'_>) -> Option<Opt<'_>> {
        let edns = query.edns.as_ref()?;
        let wants_name = edns.option(option::NSID).is_some();
        Some(Opt {
            bad_version: edns.version > 0,
            dnssec_ok: edns.dnssec_ok,
            cookie: query.cookie.map(|(client, _)| {
                let now = query.seconds() as u32;
                (client, cookie::of(&self.cookie_key, client, query.from.ip(), now))
            }),
            nsid: self.nsid.as_deref().filter(|_| wants_name),
        })
    }

    /// Everything but the OPT record.
    fn write(&self, query: &Query<'_>, known: bool, reply: &mut Reply<'_>) {
        let question = &query.question;
        let place = self.zone.place(question.name);
        let classed = [CLASS_IN, CLASS_ANY].contains(&question.qclass);
        if place == Place::Elsewhere || !classed || TRANSFERS.contains(&question.qtype) {
            self.stats.add(Count::Refused);
            return reply.set_code(rcode::REFUSED);
        }
        reply.set_authoritative();
        let zone = Owner(suffix(query.name(), self.zone.wire().len()));
        match place {
            Place::Elsewhere => {}
            Place::Apex => {
                self.apex(query, zone, reply);
                nothing_here(query, known, zone, reply);
            }
            Place::NameServer => {
                addresses(query, Owner(12), self.zone.addresses(), reply);
                nothing_here(query, known, zone, reply);
            }
            Place::Entry(test) => {
                let token = self.tokens.of(self.bodies.draw(), query.seconds());
                let hop = [b'0' + test.hops()];
                reply.cname(Owner(12), &[b"t", b"c", &hop, &token, test.labels()[0]], zone.0);
            }
            Place::Hop(hop) => self.hop(query, known, zone, &hop, reply),
            Place::Empty => nothing_here(query, known, zone, reply),
            Place::Nothing => {
                reply.set_code(rcode::NXDOMAIN);
                nothing_here(query, known, zone, reply);
            }
        }
    }

    fn apex(&self, query: &Query<'_>, zone: Owner, reply: &mut Reply<'_>) {
        if query.wants(rrtype::SOA) {
            reply.soa(Section::Answer, zone, LONG);
        }
        if query.wants(rrtype::NS) {
            reply.ns(Section::Answer, zone, &[b"ns"], zone.0, LONG);
        }
        if query.wants(rrtype::TXT) {
            let text = format!("ask for TXT of porttest, txidtest or check.{}", self.zone.text());
            reply.txt(zone, [text.as_bytes()], LONG);
        }
        addresses(query, zone, self.zone.page_addresses(), reply);
    }

    fn hop(
        &self,
        query: &Query<'_>,
        known: bool,
        zone: Owner,
        hop: &Hop<'_>,
        reply: &mut Reply<'_>,
    ) {
        let Some(body) = self.tokens.body(hop.token, query.seconds()) else {
            reply.set_code(rcode::NXDOMAIN);
            return nothing_here(query, known, zone, reply);
        };
        let (before, opened) =
            self.sessions.open(body, query.now, |session| self.note(session, query, hop));
        match opened {
            Opened::Known => {}
            Opened::New => self.stats.add(Count::Begun),
            Opened::InPlaceOfAnother => {
                self.stats.add(Count::Begun);
                self.stats.add(Count::Forgotten);
            }
        }
        if hop.left == 0 || hop.path < 2 {
            return nothing_here(query, known, zone, reply);
        }
        // Two referrals, first to the zone of the number, then to the one below it; labels `t` and `c`.
        let labels_before_cut =
            if query.over == Over::Udp { 2_usize.saturating_sub(before.into()) } else { 0 };
        if labels_before_cut > 0 {
            let cut = Owner(suffix(query.name(), query.name() - 2 * labels_before_cut));
            reply.ns(Section::Authority, cut, &[b"ns"], zone.0, SHORT);
            return reply.set_referral();
        }
        if hop.left > 1 {
            let number = [b'0' + hop.left - 1];
            let token = suffix(query.name(), query.name() - before_token(hop));
            return reply.cname(Owner(12), &[b"t", b"c", &number], token);
        }
        if hop.test == Test::Web || !query.wants(rrtype::TXT) {
            return nothing_here(query, known, zone, reply);
        }
        self.result(body, known, hop.test, query, reply);
    }

    /// The TXT record. To who is not known it would be too long, and is not worth the work.
    fn result(
        &self,
        body: Body,
        known: bool,
        test: Test,
        query: &Query<'_>,
        reply: &mut Reply<'_>,
    ) {
        if !known {
            return reply.txt(Owner(12), [&[0; text::MOST][..]], 0);
        }
        self.stats.add(Count::Judged);
        let report = self.sessions.look(body, query.now, |session| self.report(session));
        let Some(report) = report else { return };
        let strings = text::strings(test, &report);
        reply.txt(Owner(12), strings.iter().map(String::as_bytes), SHORT);
        let resolvers = report.resolvers.iter().flat_map(|one| &one.addresses);
        let networks: Vec<String> = resolvers.map(|address| truncated(*address)).collect();
        tracing::info!(resolvers = networks.join(" "), verdict = report.verdict.word(), "judged");
    }

    /// What a test came to; made anew only if there is more to it.
    pub(crate) fn report(&self, session: &mut Session) -> Arc<Report> {
        let count = session.samples.len() + session.tcp as usize;
        match &session.report {
            Some((of, report)) if *of == count => Arc::clone(report),
            _ => {
                let report = Arc::new(self.judge.report(session));
                session.report = Some((count, Arc::clone(&report)));
                report
            }
        }
    }

    fn note(&self, session: &mut Session, query: &Query<'_>, hop: &Hop<'_>) -> u8 {
        let name = query.question.name;
        let Letters { hash, letters, upper } = name.letters();
        if query.over == Over::Udp && session.samples.len() < MOST_SAMPLES {
            self.stats.add(Count::Sampled);
        }
        session.ask(&Asked {
            time: query.now,
            from: query.from.ip(),
            port: query.from.port(),
            id: query.message.id(),
            name: (hash & 0xffff_ffff) as u32,
            qtype: query.question.qtype,
            letters: [letters, upper],
            case: case_of(name, hop),
            tcp: query.over == Over::Tcp,
            cookie: query.cookie.is_some(),
            edns: query.edns.as_ref().map(|edns| edns.size),
        })
    }
}

/// Those of them that are asked for.
fn addresses(query: &Query<'_>, owner: Owner, addresses: &[IpAddr], reply: &mut Reply<'_>) {
    for address in addresses {
        if query.wants(if address.is_ipv4() { rrtype::A } else { rrtype::AAAA }) {
            reply.address(owner, *address, LONG);
        }
    }
}

/// Says how long "no" is to be kept, to who may be told as much. Others ask again.
fn nothing_here(query: &Query<'_>, known: bool, zone: Owner, reply: &mut Reply<'_>) {
    if known && reply.len() == query.end() {
        reply.soa(Section::Authority, zone, SHORT);
    }
}

/// Bytes of a name before the label with its token.
fn before_token(hop: &Hop<'_>) -> usize {
    if hop.left == 0 { 0 } else { 2 + 2 * hop.path }
}

/// A hash of the case of letters from the token on.
fn case_of(name: Name<'_>, hop: &Hop<'_>) -> u8 {
    let wire = name.as_wire();
    let bits = wire[before_token(hop)..].iter().filter(|byte| byte.is_ascii_alphabetic());
    let hash = bits.fold(0_u32, |hash, byte| {
        (hash.rotate_left(1) ^ u32::from(byte.is_ascii_uppercase())).wrapping_mul(0x9e37_79b1)
    });
    (hash >> 24) as u8
}

/// An address as it may be kept: the network that it is in.
fn truncated(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(address) => {
            let bits = u128::from(address) & !0 << 80;
            format!("{}/48", Ipv6Addr::from(bits))
        }
    }
}

/// What is answered, without sockets: for fuzzers.
#[doc(hidden)]
#[derive(Debug)]
pub struct Bare(Answers);

impl Default for Bare {
    fn default() -> Self {
        let key = [7; 16];
        let secrets = Secrets { cookie: key, tokens: key, bodies: key, limit: key };
        let zone = "t.example".parse::<Zone>().unwrap_or_else(|_| unreachable!()).with_page();
        let zone = zone.with_addresses(vec![[192, 0, 2, 1].into()]);
        Bare(Answers::new(zone, Some("bare".to_owned()), 0, 64, &secrets))
    }
}

impl Bare {
    /// See [`GROWTH`].
    pub const GROWTH: usize = GROWTH;
    /// Any time.
    const NOW: u64 = 1_800_000_000 * NANOSECONDS;

    /// The reply to a query of 198.51.100.9, if there is one.
    pub fn answer(&self, query: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let from = SocketAddr::from(([198, 51, 100, 9], 5000));
        let mut reply = Vec::new();
        let over = if tcp { Over::Tcp } else { Over::Udp };
        self.0.answer(query, from, over, Self::NOW, &mut reply).then_some(reply)
    }

    /// The labels of a test that was given out, as on the wire, for the page or else by name.
    pub fn name(&self, test: usize) -> Vec<u8> {
        let token = self.0.tokens.of(9, Self::NOW / NANOSECONDS);
        let test = [Test::Web, Test::Ports][test % 2].labels()[0];
        [&[token.len() as u8], &token[..], &[1], test].concat()
    }
}

#[cfg(test)]
pub(crate) mod tests;
