//! The case of letters on the wire: what leaves, what is believed, what the client gets back.

mod common;

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use common::{
    asked, await_next, client, count, is_quiet, network, query, reply, set_offload, socket,
    up_for_a_while,
};
use dnsalt_lab::topology::Gateway;
use dnsalt_policy::{Case, Settings};
use dnsalt_salt::layout::Counter;
use dnsalt_wire::dns::Message;

const NAME_WITH_LETTERS: &str = "WWW.a-name-with-28-letters-in-it.Example-Domain.TEST";
/// Behind the DNS header.
const NAME: usize = 12;

fn is_same_name(one: &[u8], other: &[u8]) -> bool {
    one[NAME..].eq_ignore_ascii_case(&other[NAME..])
}

#[test]
fn letters_leave_at_random_and_come_back_as_they_were() {
    let Some(network) = network(&["ethtool"]) else { return };
    up_for_a_while(&network, &Settings { case: Some(Case::On), ..Settings::default() });
    // Once with checksums that the card is to finish, once with finished ones.
    for offload in ["on", "off"] {
        set_offload(&network, offload);
        for address in [network.servers_v4[0], network.servers_v6[0]] {
            let server = socket(&network.upstream, (address, 53));
            let client = client(&network, address.is_ipv6());
            let mut seen = std::collections::HashSet::new();
            for n in 0..20 {
                let sent = query(n, NAME_WITH_LETTERS);
                let (left, from) = asked(&client, &server, address, &sent);
                assert!(is_same_name(&left, &sent));
                seen.insert(left[NAME..].to_vec());
                server.send_to(&reply(&left), from).unwrap();
                let (answer, _) = await_next(&client);
                assert_eq!(answer, reply(&sent));
            }
            assert_eq!(seen.len(), 20, "each of them is another one");
        }
    }
    assert_eq!(count(&network, Counter::Cased), 80);
    let letters = NAME_WITH_LETTERS.bytes().filter(u8::is_ascii_alphabetic).count();
    assert_eq!((letters, count(&network, Counter::CasedLetters)), (40, 80 * 40));
    assert_eq!(count(&network, Counter::Restored), 80);
}

#[test]
fn the_longest_name_and_the_shortest() {
    let Some(network) = network(&[]) else { return };
    up_for_a_while(&network, &Settings::default());
    let address = network.servers_v6[0];
    let server = socket(&network.upstream, (address, 53));
    let client = client(&network, true);
    let long = ["abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk"; 4].join(".");
    for name in ["", "a", "7", &long[..253], &long[..250]] {
        let sent = query(7, name);
        let (left, from) = asked(&client, &server, address, &sent);
        assert!(is_same_name(&left, &sent), "{name}");
        server.send_to(&reply(&left), from).unwrap();
        assert_eq!(await_next(&client).0, reply(&sent), "{name}");
    }
    // A type and a class that look like letters stay what they are.
    let mut sent = query(8, "type.test");
    let end = sent.len();
    sent[end - 3..].copy_from_slice(b"A\0a");
    sent[end - 4] = b'b';
    let (left, from) = asked(&client, &server, address, &sent);
    assert_eq!(left[end - 4..], sent[end - 4..]);
    server.send_to(&reply(&left), from).unwrap();
    assert_eq!(await_next(&client).0, reply(&sent));
}

#[test]
fn who_does_not_see_the_query_does_not_know_its_case() {
    let Some(network) = network(&[]) else { return };
    up_for_a_while(&network, &Settings::default());
    for address in [network.servers_v4[0], network.servers_v6[0]] {
        let server = socket(&network.upstream, (address, 53));
        let client = client(&network, address.is_ipv6());
        let sent = query(7, "an-attacker-guesses-port-and-id.test");
        let (left, from) = asked(&client, &server, address, &sent);
        // The right port and ID, but the case that the client uses.
        let mut forged = reply(&left);
        forged[NAME..sent.len()].copy_from_slice(&sent[NAME..]);
        server.send_to(&forged, from).unwrap();
        let (answer, _) = await_next(&client);
        let message = Message::parse(&answer).unwrap();
        assert!(message.is_truncated());
        assert_eq!((&answer[..2], &answer[NAME..]), (&sent[..2], &sent[NAME..]));
        server.send_to(&reply(&left), from).unwrap();
        assert!(is_quiet(&client));
    }
    assert_eq!(count(&network, Counter::WrongCase), 2);
}

#[test]
fn a_server_that_answers_in_lower_case_is_left_alone_with_it_soon() {
    let Some(network) = network(&[]) else { return };
    up_for_a_while(&network, &Settings::default());
    let address = network.servers_v4[0];
    let server = socket(&network.upstream, (address, 53));
    let client = client(&network, false);
    for n in 0..6 {
        let sent = query(n, &format!("lower-case-{n}.test"));
        let (left, from) = asked(&client, &server, address, &sent);
        let mut lower = reply(&left);
        lower[NAME..sent.len()].make_ascii_lowercase();
        server.send_to(&lower, from).unwrap();
        let (answer, _) = await_next(&client);
        if n < 3 {
            assert!(Message::parse(&answer).unwrap().is_truncated(), "{n}");
        } else {
            assert_eq!(answer, reply(&sent), "{n}");
        }
    }
    assert_eq!(count(&network, Counter::CaseLearned), 1);
    assert_eq!(count(&network, Counter::Cased), 3);
}

#[test]
fn servers_and_domains_can_be_left_out() {
    let Some(network) = network(&[]) else { return };
    let left_out = network.servers_v4[1];
    let list = vec![left_out.to_string().parse().unwrap(), "left-out.TEST".parse().unwrap()];
    up_for_a_while(&network, &Settings { case_exempt: Some(list), ..Settings::default() });
    let address = network.servers_v4[0];
    let client = client(&network, false);
    let names = [
        (left_out, "a-name-with-many-letters.test", false),
        (address, "a-name-with-many-letters.test", true),
        (address, "left-out.test", false),
        (address, "www.and-more.LEFT-out.test", false),
        (address, "a-name-not-left-out.test", true),
        (address, "left-out.test.a-name-with-many-letters.example", true),
    ];
    for (n, (address, name, changes)) in (0..).zip(names) {
        let server = socket(&network.upstream, (address, 53));
        let sent = query(n, name);
        let (left, from) = asked(&client, &server, address, &sent);
        assert_eq!(left[NAME..] != sent[NAME..], changes, "{name}");
        server.send_to(&reply(&left), from).unwrap();
        assert_eq!(await_next(&client).0, reply(&sent));
    }
}

#[test]
fn a_query_that_is_sent_again_keeps_its_case() {
    let Some(network) = network(&[]) else { return };
    up_for_a_while(&network, &Settings::default());
    let address = network.servers_v4[0];
    let server = socket(&network.upstream, (address, 53));
    let client = client(&network, false);
    let sent = query(9, "the-same-name-twice.test");
    let first = asked(&client, &server, address, &sent);
    assert_eq!(asked(&client, &server, address, &sent), first);
    server.send_to(&reply(&first.0), first.1).unwrap();
    assert_eq!(await_next(&client).0, reply(&sent));
}

/// A name as a resolver asks for it that hears nothing: from a new port each time. Whether it was answered.
fn resolves(network: &Gateway, server: &UdpSocket, at: IpAddr, n: u16) -> bool {
    for attempt in 0..8 {
        let client = socket(&network.resolver, (IpAddr::from([0; 4]), 2000 + 8 * n + attempt));
        let sent = query(n, &format!("a-server-that-drops-mixed-case-{n}.test"));
        let (left, from) = asked(&client, server, at, &sent);
        if left[NAME..] == sent[NAME..] {
            server.send_to(&reply(&left), from).unwrap();
            assert_eq!(await_next(&client).0, reply(&sent));
            return true;
        }
        // Longer than a query has to wait until its repetition counts.
        std::thread::sleep(Duration::from_millis(450));
    }
    false
}

#[test]
fn a_server_that_drops_what_is_mixed_is_left_alone_with_it_soon() {
    let Some(network) = network(&[]) else { return };
    // Else the fifth attempt would be one too many for one question.
    let settings = Settings { max_identical: Some(0), ..Settings::default() };
    up_for_a_while(&network, &settings);
    let address = network.servers_v4[0];
    let server = socket(&network.upstream, (address, 53));
    let mut unresolved = 0;
    for n in 0..20 {
        unresolved += u32::from(!resolves(&network, &server, address, n));
        if count(&network, Counter::CaseLearned) > 0 {
            break;
        }
    }
    assert_eq!(count(&network, Counter::CaseLearned), 1);
    // Each of them with a chance of one of 256.
    assert!(unresolved <= 1, "{unresolved} names did not resolve");
    let cased = count(&network, Counter::Cased);
    for n in 100..120 {
        assert!(resolves(&network, &server, address, n));
    }
    assert_eq!(count(&network, Counter::Cased), cased);
}
