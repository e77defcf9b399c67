//! What is answered to whom.

use super::*;
use crate::query::NANOSECONDS;
use domain::base::iana::Rcode;
use domain::base::{Message as Parsed, Name as Domain, Rtype};
use domain::rdata::{Cname, Txt};
use proptest::prelude::*;

const NOW: u64 = 1_800_000_000 * NANOSECONDS;
const CLIENT: [u8; 8] = *b"a client";

fn zone() -> Zone {
    let zone: Zone = "t.example.net".parse().unwrap();
    let addresses = ["192.0.2.53", "2001:db8::53"].map(|address| address.parse().unwrap());
    zone.with_addresses(addresses.to_vec())
}

pub(crate) fn serving(zone: Zone, rate: u32) -> Answers {
    let key = [1; 16];
    let secrets = Secrets { cookie: key, tokens: key, bodies: key, limit: key };
    Answers::new(zone, Some("here".into()), rate, 1000, &secrets)
}

fn answers(rate: u32) -> Answers {
    serving(zone(), rate)
}

fn from() -> SocketAddr {
    "198.51.100.9:5000".parse().unwrap()
}

/// A query; with EDNS and these options if there are any.
pub(crate) fn query(id: u16, name: &str, qtype: Rtype, options: Option<&[u8]>) -> Vec<u8> {
    let mut bytes =
        [id.to_be_bytes(), [0, 0], [0, 1], [0, 0], [0, 0], [0, options.is_some().into()]].concat();
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

/// Follows a name as a resolver does for a browser; how often it asks.
fn looked_up(answers: &Answers, name: &str, qtype: Rtype) -> u16 {
    let mut name = name.to_owned();
    for count in 1..100 {
        let reply = asked(answers, &query(count, &name, qtype, None), Over::Udp).unwrap();
        assert_eq!(code(&reply), Rcode::NOERROR);
        let counts = Parsed::from_octets(&reply[..]).unwrap().header_counts();
        match alias(&reply) {
            Some(next) => name = next,
            None if counts.nscount() == 0 => return count,
            None => {}
        }
    }
    panic!("{name} has no end");
}

#[test]
fn what_a_browser_looks_up_is_long_and_ends_in_nothing() {
    let answers = answers(0);
    let names = answers.browser_names(77, NOW);
    assert_eq!(names.len(), 4);
    for name in &names {
        assert_eq!(looked_up(&answers, name, Rtype::A), 18);
        // Referrals are known by now.
        assert_eq!(looked_up(&answers, name, Rtype::AAAA), 6);
        assert_eq!(looked_up(&answers, name, Rtype::HTTPS), 6);
    }
    let kept = answers.sessions().look(77, NOW, |session| session.samples.len());
    assert_eq!((kept, answers.sessions().len()), (Some(4 * 30), 1));
}

#[test]
fn the_zone_has_addresses_if_there_is_a_page() {
    let ask = |zone| {
        let answers = serving(zone, 0);
        [Rtype::A, Rtype::AAAA].map(|qtype| {
            let reply =
                asked(&answers, &query(1, "t.example.net", qtype, None), Over::Udp).unwrap();
            Parsed::from_octets(&reply[..]).unwrap().header_counts().ancount()
        })
    };
    assert_eq!((ask(zone()), ask(zone().with_page())), ([0, 0], [1, 1]));
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
    let reply =
        asked(&answers, &query(1, "ns.t.example.net", Rtype::A, Some(&[0, 3, 0, 0])), Over::Tcp);
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
    let counted = [Count::Dropped, Count::Truncated].map(|count| answers.stats().get(count));
    assert_eq!(counted, [100, 100]);
    assert!(
        replies.iter().flatten().filter(|reply| truncated(reply)).all(|r| r.len() == query.len())
    );
    assert!(!truncated(&asked(&answers, &query, Over::Tcp).unwrap()));
}

#[test]
fn what_was_not_given_out_opens_no_test() {
    let answers = answers(0);
    let token = String::from_utf8(Tokens::new([2; 16]).of(5, NOW / NANOSECONDS).to_vec()).unwrap();
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
