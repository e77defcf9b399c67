//! Real resolvers through the salt engine: none of them notices, and the servers see a new port and a
//! new query ID with every query.

mod common;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use common::resolvers::{self, Resolver};
use common::unpacked::network_with;
use common::{Network, mount_bpffs, network, salt};
use dnsalt_lab::Host;
use dnsalt_lab::actor::{Frames, Seen};
use dnsalt_wire::dns::Message;
use dnsalt_wire::ip::{Packet, UDP};
use dnsalt_wire::link::{LinkType, Network as Carried};
use dnsalt_wire::udp::Udp;

/// Names that each of them is asked for.
const COUNT: usize = 2000;
/// Ports that are seen of them, at least: 64,508 * (1 - e^(-2,000 / 64,508)) = 1,969, with a deviation
/// of 5.
const PORTS: usize = 1900;

/// Asks for many new names; how many were resolved, and the queries that the servers saw over UDP.
fn asked(
    network: &Network,
    round: &str,
    resolve: impl Fn(&[String]) -> usize,
) -> (usize, Vec<Seen>) {
    let end = format!(".{round}.salt.example");
    let names: Vec<_> = (0..COUNT).map(|i| format!("name{i}{end}")).collect();
    network.servers.take_seen();
    let resolved = resolve(&names);
    let mut seen = network.servers.take_seen();
    seen.retain(|query| query.name.to_lowercase().contains(&end));
    let over_tcp = seen.extract_if(.., |query| query.tcp).count();
    assert!(seen.len() >= COUNT, "{round}: {} over UDP, {over_tcp} over TCP", seen.len());
    (resolved, seen)
}

fn ports(seen: &[Seen]) -> usize {
    seen.iter().map(|query| query.peer.port()).collect::<HashSet<_>>().len()
}

/// The query IDs that names were asked with, as they came in at the gateway.
fn ids_before(frames: &Frames) -> HashMap<String, HashSet<u16>> {
    let mut ids: HashMap<String, HashSet<u16>> = HashMap::new();
    while let Some(frame) = frames.next(Duration::ZERO).unwrap() {
        let Ok(Carried::Ip(packet)) = dnsalt_wire::link::network(LinkType::ETHERNET, &frame) else {
            continue;
        };
        let Ok(packet) = Packet::parse(packet) else { continue };
        let carried = packet.transport();
        let Ok(udp) = Udp::parse(carried.payload) else { continue };
        if carried.protocol != UDP || udp.dst_port() != 53 {
            continue;
        }
        let message = Message::parse(udp.payload()).unwrap();
        let name = message.question().unwrap().name.to_string();
        ids.entry(name).or_default().insert(message.id());
    }
    ids
}

/// Without the engine, and with it. How many ports it has without it is returned.
fn is_salted(network: &Network, behind: bool, resolve: impl Fn(&[String]) -> usize) -> usize {
    let gateway = &network.net.gateway;
    mount_bpffs(gateway);
    let (resolved, seen) = asked(network, "before", &resolve);
    assert_eq!(resolved, COUNT, "without the engine");
    let before = ports(&seen);
    salt(network, &[]).exits(0);
    let frames = Frames::open(gateway, "lan0").unwrap();
    let (resolved, seen) = asked(network, "after", &resolve);
    assert_eq!(resolved, COUNT, "with the engine");
    let after = ports(&seen);
    println!("{} queries from {before} ports, salted from {after}", seen.len());
    assert!(after >= PORTS, "{after}");
    if behind {
        let ids = ids_before(&frames);
        let kept =
            seen.iter().filter(|query| ids[&query.name.to_lowercase()].contains(&query.id)).count();
        // By chance, one of 65,536 has the ID that it had.
        assert!(kept < 5, "{kept} kept their IDs");
    }
    before
}

/// By dig.
fn digs<'a>(resolver: &'a Resolver, host: &'a Host) -> impl Fn(&[String]) -> usize + use<'a> {
    |names| resolver.asked(host, names, "+short").matches("192.0.2.80\n").count()
}

const BIND: &str = "query-source address * port 33553; forwarders { 10.53.2.53 port 53; };";

#[test]
fn bind_with_a_fixed_port() {
    let Some(network) = network(&["tc", "named", "dig"]) else { return };
    let host = &network.net.resolver;
    let named = resolvers::bind(host, BIND);
    assert_eq!(is_salted(&network, true, digs(&named, host)), 1);
}

#[test]
fn bind_on_the_host_of_the_engine() {
    let Some(network) = network(&["tc", "named", "dig"]) else { return };
    let host = &network.net.gateway;
    let named = resolvers::bind(host, BIND);
    assert_eq!(is_salted(&network, false, digs(&named, host)), 1);
}

#[test]
fn unbound_with_few_ports() {
    let Some(network) = network(&["tc", "unbound", "dig"]) else { return };
    let host = &network.net.resolver;
    // With a single one, one of some thousand names fails now and then, without the engine as well.
    let lines = "outgoing-port-avoid: 0-65535\n outgoing-port-permit: 41000-41007";
    let unbound = resolvers::unbound(host, lines);
    assert!(is_salted(&network, true, digs(&unbound, host)) <= 8);
}

#[test]
fn dnsmasq_with_a_fixed_port() {
    let Some(network) = network(&["tc", "dnsmasq", "dig"]) else { return };
    let host = &network.net.resolver;
    let dnsmasq = resolvers::dnsmasq(host, &["--query-port=33554"]);
    assert_eq!(is_salted(&network, true, digs(&dnsmasq, host)), 1);
}

#[test]
fn systemd_resolved() {
    let program = resolvers::SYSTEMD_RESOLVED;
    let Some(network) = network_with("systemd-resolved", program, &["tc", "dig"]) else { return };
    let host = &network.net.resolver;
    let resolved = resolvers::systemd_resolved(host);
    is_salted(&network, true, digs(&resolved, host));
}

#[test]
fn the_stub_of_the_c_library() {
    let Some(network) = network(&["tc", "getent"]) else { return };
    let host = &network.net.resolver;
    is_salted(&network, true, |names| {
        let stub = host.command("getent").arg("ahostsv4").args(names).output().unwrap();
        String::from_utf8(stub.stdout).unwrap().matches("STREAM").count()
    });
}
