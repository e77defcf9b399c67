//! Source addresses that are drawn for each query, on the wire.

mod common;

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use common::{
    asked, await_next, client, count, is_quiet, is_refused, network, query, reply, set_offload,
    socket, up_for_a_while,
};
use dnsalt_lab::topology::Gateway;
use dnsalt_policy::Settings;
use dnsalt_salt::layout::Counter;
use dnsalt_wire::dns::Message;

/// Addresses that the upstream has routed to the gateway, as a provider does.
fn routed(programs: &[&str]) -> Option<Gateway> {
    let network = network(programs)?;
    network
        .upstream
        .sh("ip route add 203.0.113.16/28 via 10.53.2.1
            ip -6 route add 2001:db8:5::/64 via fd53:2::1")
        .unwrap();
    Some(network)
}

fn drawing(source: &str) -> Settings {
    Settings { source: Some(source.parse().unwrap()), ..Settings::default() }
}

#[test]
fn every_query_leaves_from_an_address_of_its_own_and_comes_back() {
    let Some(network) = routed(&["ethtool"]) else { return };
    up_for_a_while(&network, &drawing("203.0.113.17-203.0.113.20,2001:db8:5::/64"));
    // Once with checksums that the card is to finish, once with finished ones.
    for offload in ["on", "off"] {
        set_offload(&network, offload);
        for (address, wanted) in [(network.servers_v4[0], 4), (network.servers_v6[0], 60)] {
            let server = socket(&network.upstream, (address, 53));
            let client = client(&network, address.is_ipv6());
            let mut seen = HashSet::new();
            for n in 0..60 {
                let sent = query(n, "address-pool.test");
                let (left, from) = asked(&client, &server, address, &sent);
                seen.insert(from.ip());
                server.send_to(&reply(&left), from).unwrap();
                let (answer, by) = await_next(&client);
                assert_eq!((answer, by), (reply(&sent), SocketAddr::new(address, 53)));
            }
            let is_ours = |ip: &IpAddr| match ip {
                IpAddr::V4(v4) => (17..=20).contains(&v4.octets()[3]),
                IpAddr::V6(v6) => v6.segments()[..4] == [0x2001, 0xdb8, 5, 0],
            };
            assert!(seen.len() == wanted && seen.iter().all(is_ours), "{seen:?}");
        }
    }
    assert_eq!(count(&network, Counter::Restored), 240);
}

#[test]
fn a_retransmission_leaves_from_the_same_address() {
    let Some(network) = routed(&[]) else { return };
    up_for_a_while(&network, &drawing("2001:db8:5::/64"));
    let address = network.servers_v6[0];
    let (server, client) = (socket(&network.upstream, (address, 53)), client(&network, true));
    let mut seen = HashSet::new();
    for _ in 0..3 {
        seen.insert(asked(&client, &server, address, &query(1, "again.test")));
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
}

#[test]
fn another_address_of_the_pool_is_not_enough() {
    let Some(network) = routed(&[]) else { return };
    up_for_a_while(&network, &drawing("203.0.113.16/28"));
    let address = network.servers_v4[0];
    let (server, client) = (socket(&network.upstream, (address, 53)), client(&network, false));
    let sent = query(1, "near-miss.test");
    let (left, from) = asked(&client, &server, address, &sent);
    let IpAddr::V4(v4) = from.ip() else { panic!("{from}") };
    let other: IpAddr = (v4.to_bits() ^ 1).to_be_bytes().into();
    server.send_to(&reply(&left), (other, from.port())).unwrap();
    assert!(is_quiet(&client));
    // What comes now may be forged: the client is sent to TCP.
    server.send_to(&reply(&left), from).unwrap();
    let (answer, _) = await_next(&client);
    assert!(Message::parse(&answer).unwrap().is_truncated());
    assert_eq!(&answer[..2], &sent[..2]);
}

#[test]
fn errors_of_icmp_find_the_client() {
    let Some(network) = routed(&[]) else { return };
    up_for_a_while(&network, &drawing("203.0.113.16/28,2001:db8:5::/64"));
    for address in [network.servers_v4[0], network.servers_v6[0]] {
        assert!(is_refused(&network, address), "{address}");
    }
    assert_eq!(count(&network, Counter::IcmpTranslated), 2);
}

#[test]
fn during_a_lockdown_the_client_is_answered_on_the_spot() {
    let Some(network) = routed(&[]) else { return };
    let settings =
        Settings { lockdown_unsolicited: Some(1), ..drawing("203.0.113.16/28,2001:db8:5::/64") };
    up_for_a_while(&network, &settings);
    for (address, pool) in
        [(network.servers_v4[0], "203.0.113.18"), (network.servers_v6[0], "2001:db8:5::9")]
    {
        let server = socket(&network.upstream, (address, 53));
        for port in 2000..2003 {
            let to: IpAddr = pool.parse().unwrap();
            server.send_to(&reply(&query(1, "forged.test")), (to, port)).unwrap();
        }
        let client = client(&network, address.is_ipv6());
        common::eventually(|| count(&network, Counter::Forged).is_multiple_of(3));
        let sent = query(7, "locked-down.test");
        client.send_to(&sent, (address, 53)).unwrap();
        let (answer, by) = await_next(&client);
        assert!(Message::parse(&answer).unwrap().is_truncated());
        assert_eq!((&answer[..2], by), (&sent[..2], SocketAddr::new(address, 53)));
        assert!(is_quiet(&server));
    }
    assert_eq!(count(&network, Counter::AnsweredTc), 2);
}

/// A gateway that asks from an address of the pool itself, and is not to be salted.
#[test]
fn who_is_not_salted_gets_replies_to_an_address_of_the_pool() {
    let Some(network) = network(&[]) else { return };
    let mut settings = drawing("10.53.2.1");
    settings.from = Some(vec!["10.53.1.0/24".parse().unwrap()]);
    up_for_a_while(&network, &settings);
    let address = network.servers_v4[0];
    let server = socket(&network.upstream, (address, 53));
    for (host, salted) in [(&network.gateway, false), (&network.resolver, true)] {
        let client = socket(host, "0.0.0.0:44444".parse::<SocketAddr>().unwrap());
        let sent = query(1, "own-address.test");
        let (left, from) = asked(&client, &server, address, &sent);
        assert_eq!((from.ip().to_string(), from.port() != 44444), ("10.53.2.1".to_owned(), salted));
        server.send_to(&reply(&left), from).unwrap();
        assert_eq!(await_next(&client).0, reply(&sent));
    }
    // Nobody waits there.
    server.send_to(&reply(&query(1, "forged.test")), "10.53.2.1:44445").unwrap();
    common::eventually(|| count(&network, Counter::Forged) == 1);
}

#[test]
fn replies_in_fragments_lead_to_tcp() {
    let Some(network) = routed(&[]) else { return };
    up_for_a_while(&network, &drawing("203.0.113.16/28"));
    let address = network.servers_v4[0];
    let (server, client) = (socket(&network.upstream, (address, 53)), client(&network, false));
    let sent = query(1, "large.test");
    let (left, from) = asked(&client, &server, address, &sent);
    let mut large = reply(&left);
    large.resize(4000, 7);
    server.send_to(&large, from).unwrap();
    let (answer, _) = await_next(&client);
    assert!(Message::parse(&answer).unwrap().is_truncated());
    assert_eq!(answer.len(), sent.len());
}
