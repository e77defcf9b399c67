//! DNS cookies on the wire: what leaves, what comes back to clients that know nothing of them, and what is believed.

mod common;

use std::net::{IpAddr, SocketAddr, UdpSocket};

use common::{
    asked, await_next, client, count, is_quiet, network, query, reply, set_offload, socket,
    up_for_a_while,
};
use dnsalt_lab::topology::Gateway;
use dnsalt_policy::{Case, Cookies, Settings};
use dnsalt_salt::layout::Counter;
use dnsalt_wire::dns::Message;

/// An OPT record without options: 1232 bytes, DO.
const EDNS: &[u8] = b"\0\0\x29\x04\xd0\0\0\x80\0\0\0";
const SERVER: &[u8; 16] = b"A SERVER COOKIE.";
/// ARCOUNT's lower byte.
const MORE: usize = 11;

fn settings() -> Settings {
    Settings { cookies: Some(Cookies::On), case: Some(Case::Off), ..Settings::default() }
}

fn with(mut message: Vec<u8>, record: &[u8]) -> Vec<u8> {
    message.extend_from_slice(record);
    message[MORE] = 1;
    message
}

/// An OPT record with these options.
fn record(options: &[u8], extended_rcode: u8) -> Vec<u8> {
    let length = u16::try_from(options.len()).unwrap().to_be_bytes();
    [b"\0\0\x29\x04\xd0", &[extended_rcode, 0, 0, 0][..], &length, options].concat()
}

fn cookie(client: &[u8], server: &[u8]) -> Vec<u8> {
    let length = u16::try_from(client.len() + server.len()).unwrap().to_be_bytes();
    [b"\0\x0a", &length[..], client, server].concat()
}

/// A query as the server sees it: what the client sent of it, the client cookie, the server cookie.
fn taken_apart(seen: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let name = seen[12..].iter().position(|byte| *byte == 0).unwrap();
    let question = 12 + name + 1 + 4;
    let (mut bare, opt) = (seen[..question].to_vec(), &seen[question..]);
    assert_eq!((seen[MORE], &opt[..3]), (1, &b"\0\0\x29"[..]), "{seen:02x?}");
    let length = usize::from(opt[9]) << 8 | usize::from(opt[10]);
    assert_eq!(opt.len(), 11 + length, "{opt:02x?}");
    let option = &opt[11..];
    assert_eq!(option[..4], [0, 10, 0, u8::try_from(length - 4).unwrap()], "{opt:02x?}");
    bare[MORE] = 0;
    (bare, option[4..12].to_vec(), option[12..].to_vec())
}

struct Asking<'a> {
    network: &'a Gateway,
    at: IpAddr,
    client: UdpSocket,
    server: UdpSocket,
}

impl<'a> Asking<'a> {
    fn of(network: &'a Gateway, at: IpAddr) -> Self {
        let server = socket(&network.upstream, (at, 53));
        Asking { network, at, client: client(network, at.is_ipv6()), server }
    }

    /// What the server sees of a query.
    fn sent(&self, query: &[u8]) -> (Vec<u8>, SocketAddr) {
        asked(&self.client, &self.server, self.at, query)
    }

    /// Asks; the server answers this, made of what came and of its client cookie.
    fn heard(&self, query: &[u8], answer: impl Fn(&[u8], &[u8]) -> Vec<u8>) -> Vec<u8> {
        let (seen, from) = self.sent(query);
        let (bare, cookie, _) = taken_apart(&seen);
        self.server.send_to(&answer(&bare, &cookie), from).unwrap();
        await_next(&self.client).0
    }
}

/// What a server answers to a query and a client cookie.
type Answer = dyn Fn(&[u8], &[u8]) -> Vec<u8>;

/// The right answer of a server that has cookies.
fn right(bare: &[u8], client: &[u8]) -> Vec<u8> {
    with(reply(bare), &record(&cookie(client, SERVER), 0))
}

fn is_truncated(answer: &[u8]) -> bool {
    Message::parse(answer).unwrap().is_truncated()
}

#[test]
fn clients_without_edns_see_nothing_of_it() {
    let Some(network) = network(&["ethtool"]) else { return };
    up_for_a_while(&network, &settings());
    // Once with checksums that the card is to finish, once with finished ones.
    for offload in ["on", "off"] {
        set_offload(&network, offload);
        for at in [network.servers_v4[0], network.servers_v6[0]] {
            let asking = Asking::of(&network, at);
            // Names of even and of odd length: what stands behind them does at such places.
            for (n, name) in (0..).zip(["even.test", "odd1.test", "a-longer-name.test", "x.test"]) {
                let sent = query(n, name);
                assert_eq!(asking.heard(&sent, right), reply(&sent), "{name} {offload}");
            }
        }
    }
    assert_eq!(count(&network, Counter::Cookied), 16);
    assert_eq!(count(&network, Counter::CookieReturned), 16);
    assert_eq!(count(&network, Counter::Restored), 16);
}

#[test]
fn clients_with_edns_keep_theirs() {
    let Some(network) = network(&[]) else { return };
    up_for_a_while(&network, &settings());
    for at in [network.servers_v4[0], network.servers_v6[0]] {
        let asking = Asking::of(&network, at);
        for (n, name) in (0..).zip(["even.test", "odd1.test"]) {
            let sent = with(query(n, name), EDNS);
            let wanted = with(reply(&query(n, name)), &record(&[], 0));
            assert_eq!(asking.heard(&sent, right), wanted, "{name}");
        }
        // With another option it gets the cookie behind that.
        let nsid = b"\0\x03\0\0";
        let sent = with(query(9, "nsid.test"), &record(nsid, 0));
        let (seen, _) = asking.sent(&sent);
        assert_eq!(seen.len(), sent.len() + 28);
        // One of its own stays as it is.
        let own = record(&cookie(b"MY OWN..", b""), 0);
        let sent = with(query(10, "own-cookie.test"), &own);
        let (seen, from) = asking.sent(&sent);
        assert_eq!(seen[2..], sent[2..]);
        let answer = |id: u16| {
            let own = record(&cookie(b"MY OWN..", SERVER), 0);
            common::with_id(with(reply(&query(10, "own-cookie.test")), &own), id)
        };
        let id = u16::from_be_bytes([seen[0], seen[1]]);
        asking.server.send_to(&answer(id), from).unwrap();
        assert_eq!(await_next(&asking.client).0, answer(10));
    }
}

#[test]
fn each_server_has_a_cookie_of_its_own_and_gets_its_own_back() {
    let Some(network) = network(&[]) else { return };
    up_for_a_while(&network, &settings());
    let mut cookies = std::collections::HashSet::new();
    for at in network.servers() {
        let asking = Asking::of(&network, at);
        let (seen, _) = asking.sent(&query(1, "first.test"));
        let (_, first, server) = taken_apart(&seen);
        assert!(server.is_empty());
        asking.heard(&query(2, "second.test"), right);
        let (seen, _) = asking.sent(&query(3, "third.test"));
        let (_, third, server) = taken_apart(&seen);
        assert_eq!((&first, &server[..]), (&third, &SERVER[..]));
        cookies.insert(first);
    }
    assert_eq!(cookies.len(), 4);
}

#[test]
fn of_who_has_cookies_nothing_is_believed_without() {
    let Some(network) = network(&[]) else { return };
    up_for_a_while(&network, &settings());
    for at in [network.servers_v4[0], network.servers_v6[0]] {
        let asking = Asking::of(&network, at);
        let sent = query(1, "known.test");
        assert_eq!(asking.heard(&sent, right), reply(&sent));
        // The right port and ID; without a cookie, with another one, with a bare record.
        let wrong: [&Answer; 3] =
            [&|bare, _| reply(bare), &|bare, _| right(bare, b"ANOTHER1"), &|bare, _| {
                with(reply(bare), &record(&[], 0))
            }];
        for (n, wrong) in (2..).zip(wrong) {
            let answer = asking.heard(&query(n, "forged.test"), wrong);
            assert!(is_truncated(&answer));
            assert_eq!(answer[12..], query(n, "forged.test")[12..]);
        }
    }
    // Three times: it may have done away with them.
    let counts = [Counter::CookieMissing, Counter::CookieLearned].map(|one| count(&network, one));
    assert_eq!(counts, [6, 2]);
}

#[test]
fn servers_without_cookies_answer_as_ever() {
    let Some(network) = network(&[]) else { return };
    up_for_a_while(&network, &settings());
    for at in [network.servers_v4[0], network.servers_v6[0]] {
        let asking = Asking::of(&network, at);
        for (n, name) in (0..).zip(["even.test", "odd1.test"]) {
            // One that ignores EDNS, one that has it.
            let sent = query(n, name);
            assert_eq!(asking.heard(&sent, |bare, _| reply(bare)), reply(&sent));
            let sent = query(n + 10, name);
            let edns = |bare: &[u8], _: &[u8]| with(reply(bare), &record(&[], 0));
            assert_eq!(asking.heard(&sent, edns), reply(&sent));
        }
    }
    assert_eq!(count(&network, Counter::CookieMissing), 0);
}

#[test]
fn a_stale_server_cookie_sends_the_client_to_tcp() {
    let Some(network) = network(&[]) else { return };
    up_for_a_while(&network, &settings());
    let asking = Asking::of(&network, network.servers_v4[0]);
    let bad = |bare: &[u8], client: &[u8]| {
        let mut answer = bare.to_vec();
        // BADCOOKIE is 23: 7 in the header, 1 in the record.
        (answer[2], answer[3]) = (answer[2] | 0x80, answer[3] | 7);
        with(answer, &record(&cookie(client, SERVER), 1))
    };
    assert!(is_truncated(&asking.heard(&query(1, "stale.test"), bad)));
    let (seen, _) = asking.sent(&query(2, "again.test"));
    assert_eq!(taken_apart(&seen).2, SERVER);
}

#[test]
fn a_server_that_knows_no_edns_is_left_alone_soon() {
    let Some(network) = network(&[]) else { return };
    up_for_a_while(&network, &settings());
    let asking = Asking::of(&network, network.servers_v4[0]);
    let format_error = |bare: &[u8], _: &[u8]| {
        let mut answer = bare.to_vec();
        (answer[2], answer[3]) = (answer[2] | 0x80, answer[3] | 1);
        answer
    };
    for n in 0..3 {
        assert!(is_truncated(&asking.heard(&query(n, "old-server.test"), format_error)));
    }
    let sent = query(4, "old-server.test");
    let (seen, from) = asking.sent(&sent);
    assert_eq!(seen[2..], sent[2..]);
    asking.server.send_to(&reply(&seen), from).unwrap();
    assert_eq!(await_next(&asking.client).0, reply(&sent));
    assert_eq!(count(asking.network, Counter::CookieLearned), 1);
}

/// With a cookie behind another option nothing is taken out; a client without EDNS is sent to TCP.
#[test]
fn what_cannot_be_taken_out_is_not_shown() {
    let Some(network) = network(&[]) else { return };
    up_for_a_while(&network, &settings());
    let asking = Asking::of(&network, network.servers_v4[0]);
    let two = |client: &[u8]| record(&[b"\0\x03\0\x02ns", &cookie(client, SERVER)[..]].concat(), 0);
    let answer = |bare: &[u8], client: &[u8]| with(reply(bare), &two(client));
    assert!(is_truncated(&asking.heard(&query(1, "nsid.test"), answer)));
    let sent = with(query(2, "nsid.test"), EDNS);
    let got = asking.heard(&sent, answer);
    assert!(!is_truncated(&got) && got.windows(16).any(|some| some == SERVER));
    let counts = [Counter::CookieReturned, Counter::CookieMissing].map(|one| count(&network, one));
    assert_eq!(counts, [1, 1]);
    assert!(is_quiet(&asking.client));
}
