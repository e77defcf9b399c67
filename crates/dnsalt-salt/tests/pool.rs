//! Source addresses that are drawn: each is guessed like a port or an ID, and brought back like them.

mod world;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use dnsalt_salt::Address;
use dnsalt_salt::egress::Query;
use dnsalt_salt::icmp::{self, Quote};
use dnsalt_salt::ingress::{Reply, Verdict};
use dnsalt_salt::layout::{ADDRESSES, Counter, Range};
use world::{World, address, origin, query, right};

/// Four addresses of IPv4, two prefixes of 64 bits of IPv6.
fn world() -> World {
    let mut world = World::new();
    world.config.nonce_key = [11, 12];
    world.config.addresses = [4, 2];
    let range = |first: &str, low| Range { first: address(first), drawn: Address { high: 0, low } };
    world.addresses = vec![Range::default(); ADDRESSES as usize];
    for n in 0..4 {
        world.addresses[n] = range(&format!("203.0.113.{}", 16 + n), 0);
    }
    for n in 0..2 {
        world.addresses[ADDRESSES as usize / 2 + n] = range(&format!("2001:db8:{n}::"), u64::MAX);
    }
    world
}

fn v6(n: u64) -> Query {
    Query { client: address("fd00::1"), server: address("2001:db8:ffff::53"), ..query(n) }
}

#[test]
fn each_address_is_drawn_as_often() {
    let world = world();
    let mut seen = HashMap::new();
    for n in 0..4000 {
        let asked = query(n);
        let salt = world.salted(&asked);
        *seen.entry(IpAddr::from(salt.source)).or_insert(0) += 1;
        assert_eq!(world.reply(&right(&asked, salt)), Verdict::Restore(origin(&asked)));
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
    // 1,000 each, with a deviation of 27.
    assert!(seen.values().all(|n| (880..1120).contains(n)), "{seen:?}");
}

#[test]
fn a_prefix_gives_all_of_its_bits() {
    let world = world();
    let (mut seen, mut prefixes) = (HashSet::new(), HashSet::new());
    let (mut ones, mut zeros) = (0, 0);
    for n in 0..1000 {
        let asked = v6(n);
        let salt = world.salted(&asked);
        (ones, zeros) = (ones | salt.source.low, zeros | !salt.source.low);
        seen.insert(salt.source);
        prefixes.insert(salt.source.high);
        assert_eq!(world.reply(&right(&asked, salt)), Verdict::Restore(origin(&asked)));
    }
    assert_eq!((seen.len(), prefixes.len(), ones, zeros), (1000, 2, u64::MAX, u64::MAX));
}

#[test]
fn a_retransmission_keeps_its_address() {
    let world = world();
    let salt = world.salted(&v6(1));
    for _ in 0..3 {
        assert_eq!(world.salted(&v6(1)), salt);
    }
    assert_eq!(world.counted(Counter::Retransmitted), 3);
}

#[test]
fn the_right_port_at_another_address_is_a_near_miss() {
    let world = world();
    let asked = v6(1);
    let salt = world.salted(&asked);
    let reply = right(&asked, salt);
    let other = Address { low: salt.source.low ^ 1, ..salt.source };
    assert_eq!(world.reply(&Reply { to: other, ..reply }), Verdict::Drop);
    assert_eq!(world.counted(Counter::WrongServer), 1);
    // What comes now may be forged.
    assert_eq!(world.reply(&reply), Verdict::Truncate(origin(&asked)));
}

#[test]
fn the_client_itself_is_not_who_asked() {
    let world = world();
    let asked = query(1);
    let salt = world.salted(&asked);
    let to_client = Reply { to: asked.client, ..right(&asked, salt) };
    assert_ne!(world.reply(&to_client), Verdict::Restore(origin(&asked)));
}

#[test]
fn a_server_of_the_link_sees_the_address_of_the_link() {
    let world = world();
    let asked = Query { client: address("fe80::1"), server: address("fe80::53"), ..query(1) };
    let salt = world.salted(&asked);
    assert_eq!(salt.source, asked.client);
    assert_eq!(world.reply(&right(&asked, salt)), Verdict::Restore(origin(&asked)));
}

#[test]
fn errors_come_back_to_who_asked() {
    let world = world();
    let asked = query(1);
    let salt = world.salted(&asked);
    let quote =
        Quote { source: salt.source, server: asked.server, port: salt.port, server_port: 53 };
    assert_eq!(icmp::error(&world, &quote), icmp::Verdict::Translate(origin(&asked)));
    let foreign = Quote { source: asked.client, ..quote };
    assert_eq!(icmp::error(&world, &foreign), icmp::Verdict::Drop);
}
