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
use dnsalt_wire::dns::{Edns, Letters, Message, Name, Question, rrtype};

use siphasher::sip::SipHasher24;

use crate::judgement::{Judge, Report};
use crate::limit::{Limit, Outcome};
use crate::reply::{EDNS_SIZE, Opt, Owner, Reply, Section, rcode, suffix};
use crate::session::{Asked, MOST_SAMPLES, Session};
use crate::sessions::{Opened, Sessions};
use crate::stats::{Count, Stats};
use crate::token::{Body, Tokens};
use crate::zone::{HOPS, Hop, Place, Test, Zone};
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
const TYPE_ANY: u16 = 255;
/// Transfers of zones, incremental and whole.
const TRANSFERS: [u16; 2] = [251, 252];
const NANOSECONDS: u64 = 1_000_000_000;

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Udp,
    Tcp,
}

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

/// A query, as much of it as is used.
struct Query<'a> {
    bytes: &'a [u8],
    message: Message<'a>,
    question: Question<'a>,
    edns: Option<Edns<'a>>,
    /// Client cookie, and the server cookie behind it.
    cookie: Option<([u8; 8], &'a [u8])>,
    from: SocketAddr,
    over: Over,
    now: u64,
}

impl Query<'_> {
    fn name(&self) -> usize {
        self.question.name.as_wire().len()
    }

    /// Where the question ends.
    fn end(&self) -> usize {
        12 + self.name() + 4
    }

    fn seconds(&self) -> u64 {
        self.now / NANOSECONDS
    }

    fn wants(&self, rtype: u16) -> bool {
        self.question.qtype == rtype || self.question.qtype == TYPE_ANY
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
        let Ok(message) = Message::parse(query) else {
            self.stats.add(Count::Malformed);
            return false;
        };
        if message.is_response() {
            self.stats.add(Count::Malformed);
            return false;
        }
        match read(query, message, from, over, now) {
            Ok(query) => self.answer_to(&query, out),
            Err(code) => {
                // Whoever it was, an error is no longer than what it answers.
                self.stats.add(Count::Malformed);
                if over == Over::Udp && !self.may_be_sent(from, now) {
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
        if opt.is_some_and(|opt| opt.bad_version) {
            reply.opt(&opt.unwrap_or_default());
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
        let pass = self.limit.take(to.ip(), now / 1000) == Outcome::Pass;
        pass || {
            self.stats.add(Count::Dropped);
            false
        }
    }

    fn has_cookie(&self, query: &Query<'_>) -> bool {
        query.cookie.is_some_and(|(client, server)| {
            let now = query.seconds() as u32;
            cookie::is_good(&self.cookie_key, client, server, query.from.ip(), now)
        })
    }

    fn opt(&self, query: &Query<'_>) -> Option<Opt<'_>> {
        let edns = query.edns.as_ref()?;
        let wants_name = edns.options().any(|(code, _)| code == option::NSID);
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
            Place::Apex => self.apex(query, zone, reply),
            Place::NameServer => {
                for address in self.zone.addresses() {
                    if query.wants(if address.is_ipv4() { rrtype::A } else { rrtype::AAAA }) {
                        reply.address(Owner(12), *address, LONG);
                    }
                }
                nothing_here(query, known, zone, reply);
            }
            Place::Entry(test) => {
                let token = self.tokens.of(self.bodies.draw(), query.seconds());
                let hop = [b'0' + HOPS];
                reply.cname(Owner(12), &[b"t", b"c", &hop, &token, test.label()], zone.0);
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
        if !query.wants(rrtype::TXT) {
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
    fn report(&self, session: &mut Session) -> Arc<Report> {
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

/// Says how long "no" is to be kept, to who may be told as much. Others ask again.
fn nothing_here(query: &Query<'_>, known: bool, zone: Owner, reply: &mut Reply<'_>) {
    if known && reply.len() == query.end() {
        reply.soa(Section::Authority, zone, SHORT);
    }
}

/// A query that can be answered, or the code of the error.
fn read<'a>(
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
    let cookie = edns.as_ref().and_then(|edns| {
        edns.options().find(|(code, _)| *code == option::COOKIE).map(|(_, data)| data)
    });
    let cookie = match cookie {
        None => None,
        // RFC 7873 section 5.2.2.
        Some(data) => match data.split_first_chunk::<8>() {
            Some((client, server)) if matches!(server.len(), 0 | 8..=32) => Some((*client, server)),
            _ => return Err(rcode::FORMERR),
        },
    };
    Ok(Query { bytes, message, question, edns, cookie, from, over, now })
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

#[cfg(test)]
mod tests {
    use super::*;
    use domain::base::iana::Rcode;
    use domain::base::{Message as Parsed, Name as Domain, Rtype};
    use domain::rdata::{Cname, Txt};
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000 * NANOSECONDS;
    const CLIENT: [u8; 8] = *b"a client";

    fn answers(rate: u32) -> Answers {
        let key = [1; 16];
        let secrets = Secrets { cookie: key, tokens: key, bodies: key, limit: key };
        let zone: Zone = "t.example.net".parse().unwrap();
        let addresses = ["192.0.2.53", "2001:db8::53"].map(|address| address.parse().unwrap());
        Answers::new(
            zone.with_addresses(addresses.to_vec()),
            Some("here".into()),
            rate,
            1000,
            &secrets,
        )
    }

    fn from() -> SocketAddr {
        "198.51.100.9:5000".parse().unwrap()
    }

    /// A query; with EDNS and these options if there are any.
    fn query(id: u16, name: &str, qtype: Rtype, options: Option<&[u8]>) -> Vec<u8> {
        let mut bytes =
            [id.to_be_bytes(), [0, 0], [0, 1], [0, 0], [0, 0], [0, options.is_some().into()]]
                .concat();
        for label in name.split('.').filter(|label| !label.is_empty()) {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.extend_from_slice(&[0]);
        bytes.extend_from_slice(&qtype.to_int().to_be_bytes());
        bytes.extend_from_slice(&[0, 1]);
        if let Some(options) = options {
            bytes.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, options.len() as u8]);
            bytes.extend_from_slice(options);
        }
        bytes
    }

    fn cookie_option(server: &[u8]) -> Vec<u8> {
        [&[0, 10, 0, 8 + server.len() as u8], &CLIENT[..], server].concat()
    }

    fn asked(answers: &Answers, query: &[u8], over: Over) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        answers.answer(query, from(), over, NOW, &mut out).then_some(out)
    }

    fn code(reply: &[u8]) -> Rcode {
        Parsed::from_octets(reply).unwrap().header().rcode()
    }

    fn alias(reply: &[u8]) -> Option<String> {
        let message = Parsed::from_octets(reply).unwrap();
        let first = message.answer().unwrap().limit_to::<Cname<_>>().next()?.unwrap();
        let name: Domain<Vec<u8>> = domain::base::ToName::to_name(first.data().cname());
        Some(name.to_string())
    }

    fn text(reply: &[u8]) -> Option<String> {
        let message = Parsed::from_octets(reply).unwrap();
        let first = message.answer().unwrap().limit_to::<Txt<_>>().next()?.unwrap();
        Some(String::from_utf8(first.data().text::<Vec<u8>>()).unwrap())
    }

    /// Follows a test as a resolver does that draws all; queries over UDP, and the answer.
    fn followed(answers: &Answers, entry: &str, options: &[u8]) -> (usize, String) {
        let (mut name, mut count) = (format!("{entry}.t.example.net"), 0_u16);
        loop {
            count += 1;
            assert!(count < 100, "{name}");
            let asked_for = query(count.wrapping_mul(40_503), &name, Rtype::TXT, Some(options));
            let mut reply = asked(answers, &asked_for, Over::Udp).unwrap();
            let known = options.len() > 12;
            assert!(known || reply.len() <= asked_for.len() + GROWTH, "{name}");
            if Parsed::from_octets(&reply[..]).unwrap().header().tc() {
                assert!(!known && reply.len() <= asked_for.len() + 16, "{name}");
                reply = asked(answers, &asked_for, Over::Tcp).unwrap();
            }
            if let Some(text) = text(&reply) {
                return (count.into(), text);
            }
            let message = Parsed::from_octets(&reply[..]).unwrap();
            match alias(&reply) {
                Some(next) => name = next,
                None => assert_eq!(message.header_counts().nscount(), 1, "a referral: {name}"),
            }
        }
    }

    #[test]
    fn a_test_asks_28_times_and_the_end_is_over_tcp_or_for_who_has_a_cookie() {
        let answers = answers(0);
        for entry in ["porttest", "TXIDTEST", "check"] {
            let (count, told) = followed(&answers, entry, &[]);
            assert_eq!(count, 28);
            assert!(told.contains("198.51.100.9"), "{told}");
            assert_eq!(followed(&answers, entry, &cookie_option(&[])).0, 28);
            let own = cookie::of(&[1; 16], CLIENT, from().ip(), (NOW / NANOSECONDS) as u32);
            assert_eq!(followed(&answers, entry, &cookie_option(&own)).0, 28);
        }
        let stats = answers.stats();
        assert_eq!((stats.get(Count::Begun), stats.get(Count::Judged)), (9, 9));
        assert_eq!((stats.get(Count::Truncated), answers.sessions().len()), (12, 9));
    }

    #[test]
    fn who_shows_no_cookie_gets_next_to_nothing_over_udp() {
        let answers = answers(0);
        let names = ["", "ns.", "porttest.", "p.", "x.", "9.x.p.", "t.c.9.x.p.", "a.b.c.d.e.f."];
        let types = [Rtype::A, Rtype::AAAA, Rtype::TXT, Rtype::SOA, Rtype::NS, Rtype::ANY];
        let nsid = [0, 3, 0, 0];
        for name in names {
            for qtype in types {
                for options in [None, Some(&[][..]), Some(&nsid), Some(&cookie_option(&[7; 16]))] {
                    let query = query(7, &format!("{name}t.example.net"), qtype, options);
                    let reply = asked(&answers, &query, Over::Udp).unwrap();
                    assert!(reply.len() <= query.len() + GROWTH, "{name} {qtype}: {}", reply.len());
                }
            }
        }
    }

    #[test]
    fn what_is_not_ours_is_refused_and_what_is_no_query_is_an_error() {
        let answers = answers(0);
        let said = |query: &[u8]| code(&asked(&answers, query, Over::Udp).unwrap());
        assert_eq!(said(&query(1, "www.example.com", Rtype::A, None)), Rcode::REFUSED);
        assert_eq!(said(&query(1, "", Rtype::NS, Some(&[]))), Rcode::REFUSED);
        assert_eq!(said(&query(1, "t.example.net", Rtype::AXFR, None)), Rcode::REFUSED);
        assert_eq!(said(&query(1, "www.t.example.net", Rtype::A, None)), Rcode::NXDOMAIN);
        let fine = query(1, "t.example.net", Rtype::NS, None);
        let mut update = fine.clone();
        update[2] = 5 << 3;
        assert_eq!(said(&update), Rcode::NOTIMP);
        let mut two = fine.clone();
        two[5] = 2;
        assert_eq!(said(&two), Rcode::FORMERR);
        assert_eq!(said(&fine[..20]), Rcode::FORMERR);
        assert_eq!(
            said(&query(1, "t.example.net", Rtype::NS, Some(&[0, 10, 0, 1, 9]))),
            Rcode::FORMERR
        );
        let mut reply = fine.clone();
        reply[2] = 0x80;
        assert_eq!(
            (asked(&answers, &reply, Over::Udp), asked(&answers, &fine[..11], Over::Udp)),
            (None, None)
        );
    }

    #[test]
    fn edns_is_answered_and_nsid_told_to_who_asks() {
        let answers = answers(0);
        let reply = asked(
            &answers,
            &query(1, "ns.t.example.net", Rtype::A, Some(&[0, 3, 0, 0])),
            Over::Tcp,
        );
        let reply = reply.unwrap();
        let message = Parsed::from_octets(&reply[..]).unwrap();
        assert_eq!((message.header_counts().ancount(), message.header().aa()), (1, true));
        let nsid = message.opt().unwrap().opt().first::<domain::base::opt::Nsid<_>>().unwrap();
        assert_eq!(nsid.as_slice(), b"here");
        let mut newer = query(1, "ns.t.example.net", Rtype::A, Some(&[]));
        let version = newer.len() - 5;
        newer[version] = 1;
        let reply = asked(&answers, &newer, Over::Udp).unwrap();
        let message = Parsed::from_octets(&reply[..]).unwrap();
        assert_eq!(message.opt().unwrap().rcode(message.header()).to_int(), 16);
    }

    #[test]
    fn who_asks_too_fast_is_sent_to_tcp_or_gets_nothing() {
        let answers = answers(100);
        let query = query(1, "ns.t.example.net", Rtype::A, None);
        let replies: Vec<_> = (0..700).map(|_| asked(&answers, &query, Over::Udp)).collect();
        let truncated = |reply: &Vec<u8>| reply[2] & 2 != 0;
        let full = replies.iter().flatten().filter(|reply| !truncated(reply)).count();
        let cut = replies.iter().flatten().filter(|reply| truncated(reply)).count();
        assert_eq!((full, cut, replies.len() - full - cut), (500, 100, 100));
        assert!(
            replies
                .iter()
                .flatten()
                .filter(|reply| truncated(reply))
                .all(|r| r.len() == query.len())
        );
        assert!(!truncated(&asked(&answers, &query, Over::Tcp).unwrap()));
    }

    #[test]
    fn what_was_not_given_out_opens_no_test() {
        let answers = answers(0);
        let token =
            String::from_utf8(Tokens::new([2; 16]).of(5, NOW / NANOSECONDS).to_vec()).unwrap();
        for name in [format!("t.c.9.{token}.p"), "t.c.9.aaaaaaaaaaaaaaaaaaaaa.p".to_owned()] {
            let query = query(1, &format!("{name}.t.example.net"), Rtype::TXT, None);
            assert_eq!(code(&asked(&answers, &query, Over::Udp).unwrap()), Rcode::NXDOMAIN);
        }
        assert_eq!(answers.sessions().len(), 0);
    }

    #[test]
    fn addresses_are_kept_as_networks() {
        assert_eq!(truncated("192.0.2.77".parse().unwrap()), "192.0.2.0/24");
        assert_eq!(truncated("2001:db8:1:2::3".parse().unwrap()), "2001:db8:1::/48");
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic_and_replies_can_be_read(
            head in proptest::collection::vec(any::<u8>(), 0..12),
            name in "([a-z0-9]{0,3}\\.){0,3}(porttest|t\\.c\\.9\\.x\\.p|ns|)\\.t\\.example\\.net",
            tail in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let answers = answers(0);
            let mut bytes = query(1, &name, Rtype::TXT, None);
            bytes[..head.len()].copy_from_slice(&head);
            bytes.extend_from_slice(&tail);
            for over in [Over::Udp, Over::Tcp] {
                if let Some(reply) = asked(&answers, &bytes, over) {
                    let message = Parsed::from_octets(&reply[..]).unwrap();
                    prop_assert!(message.header().qr());
                    for section in [message.answer(), message.authority(), message.additional()] {
                        for record in section.unwrap() {
                            record.unwrap();
                        }
                    }
                }
            }
        }
    }
}
