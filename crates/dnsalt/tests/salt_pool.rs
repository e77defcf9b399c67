//! `up --engine salt --source`: addresses that are drawn, with the routes that they want.

mod common;

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use common::{BIN, Network, dnsalt, mount_bpffs, network, salt};
use dnsalt_wire::dns::{Query, rrtype, write_query};
use serde_json::Value;

const PREFIXES: &str = "203.0.113.16/28,2001:db8:5::/64";

/// The network, with prefixes that the upstream has routed to the gateway.
fn routed() -> Option<Network> {
    let network = network(&["tc", "nft"])?;
    mount_bpffs(&network.net.gateway);
    let routes = "ip route add 203.0.113.16/28 via 10.53.2.1
        ip -6 route add 2001:db8:5::/64 via fd53:2::1";
    network.net.upstream.sh(routes).unwrap();
    Some(network)
}

fn local_routes(network: &Network) -> String {
    network.net.gateway.sh("ip route show table local; ip -6 route show table local").unwrap()
}

fn is_local(network: &Network, prefix: &str) -> bool {
    local_routes(network).contains(&format!("local {prefix} dev lo"))
}

/// The addresses that servers see when names are asked for.
fn sources(network: &Network) -> HashSet<IpAddr> {
    network.servers.take_seen();
    let list = network.net.servers().map(|server| server.to_string()).join(",");
    dnsalt(&network.net.gateway, &["prove", "--server", &list, "-n", "20"]).exits(0);
    network.servers.take_seen().iter().map(|seen| seen.peer.ip()).collect()
}

#[test]
fn prefixes_are_drawn_from_proved_and_put_back() {
    let Some(network) = routed() else { return };
    let before = local_routes(&network);
    let up = salt(&network, &["--source", PREFIXES]).exits(0);
    assert!(up.stdout.contains("IPv4 4.0 bits, IPv6 28.0 bits"), "{}", up.stdout);
    let seen = sources(&network);
    let v4 = seen.iter().filter(|address| address.is_ipv4()).count();
    // 40 draws of 16 give 14.8 of them; fewer than 9 once in 10,000,000 times. 40 of a prefix are 40.
    assert!((9..=16).contains(&v4) && seen.len() - v4 == 40, "{seen:?}");
    let status = dnsalt(&network.net.gateway, &["status", "--json"]).exits(0);
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["salt"]["address_bits"], 4.0);
    assert!(status["salt"]["worst"].as_f64().unwrap() > 35.9, "{status:#}");
    let shown = dnsalt(&network.net.gateway, &["status"]).exits(0);
    assert!(shown.stdout.contains("ID 16, address 4.0"), "{}", shown.stdout);
    for line in up.stdout.lines().chain(shown.stdout.lines()) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    // One of them is given up.
    salt(&network, &["--source", "2001:db8:5::/64"]).exits(0);
    assert!(is_local(&network, "2001:db8:5::/64") && !is_local(&network, "203.0.113.16/28"));
    dnsalt(&network.net.gateway, &["down"]).exits(0);
    assert_eq!(local_routes(&network), before);
}

#[test]
fn single_addresses_need_no_route() {
    let Some(network) = routed() else { return };
    let gateway = &network.net.gateway;
    gateway.sh("ip address add 203.0.113.17/32 dev wan0").unwrap();
    let before = local_routes(&network);
    let up = salt(&network, &["--source", "203.0.113.17-203.0.113.18"]).exits(0);
    assert!(up.stderr.contains("has the source address 203.0.113.18"), "{}", up.stderr);
    assert_eq!(local_routes(&network), before);
    let seen = sources(&network);
    assert_eq!(seen.iter().filter(|address| address.is_ipv4()).count(), 2, "{seen:?}");
}

#[test]
fn a_route_that_somebody_took_away_is_missed_and_comes_back() {
    let Some(network) = routed() else { return };
    let gateway = &network.net.gateway;
    salt(&network, &["--source", PREFIXES]).exits(0);
    gateway.sh("ip route del local 203.0.113.16/28 dev lo").unwrap();
    let status = dnsalt(gateway, &["status"]).exits(1);
    assert!(status.stdout.contains("the local route of 203.0.113.16/28"), "{}", status.stdout);
    salt(&network, &["--source", PREFIXES]).exits(0);
    assert!(is_local(&network, "203.0.113.16/28"));
}

#[test]
fn a_route_of_somebody_else_stays() {
    let Some(network) = routed() else { return };
    let gateway = &network.net.gateway;
    gateway.sh("ip route add local 203.0.113.16/28 dev lo").unwrap();
    let before = local_routes(&network);
    salt(&network, &["--source", "203.0.113.16/28"]).exits(0);
    dnsalt(gateway, &["down"]).exits(0);
    assert_eq!(local_routes(&network), before);
}

#[test]
fn what_cannot_be_drawn_from_is_refused() {
    let Some(network) = routed() else { return };
    let before = local_routes(&network);
    let refused = salt(&network, &["--source", "10.53.2.0/28"]).exits(3);
    assert!(
        refused.stderr.contains("meets 10.53.2.0/24, the network of an interface"),
        "{refused:?}"
    );
    let nat = dnsalt(&network.net.gateway, &["up", "--source", PREFIXES]);
    assert!(nat.stderr.contains("needs the salt engine"), "{nat:?}");
    assert_eq!(local_routes(&network), before);
    // By itself it takes the engine that can.
    let auto = ["up", "--bpffs", "/run/bpf", "--source", PREFIXES];
    let up = network.net.gateway.command(BIN).args(auto).output().unwrap();
    assert!(String::from_utf8_lossy(&up.stdout).contains("engine   salt"), "{up:?}");
}

/// The resolver asks for a name with letters enough to tell random case from none.
fn ask(network: &Network, count: u16) {
    let server = network.net.servers_v4[0];
    network.net.resolver.run(move || {
        let socket = std::net::UdpSocket::bind("0.0.0.0:44444").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        for id in 0..count {
            let mut query = [0; 64];
            let name = "a-name-of-many-letters.test";
            let asked = Query { id, recursion_desired: true, name, qtype: rrtype::A };
            let length = write_query(&mut query, &asked).unwrap();
            socket.send_to(&query[..length], (server, 53)).unwrap();
            let mut reply = [0; 512];
            socket.recv(&mut reply).unwrap();
            assert_eq!(reply[..2], query[..2]);
        }
    });
}

/// What an operator of a name server sees: one client for each address, or one.
#[test]
fn an_audit_sees_one_client_where_it_is_told_so() {
    let Some(network) = routed() else { return };
    salt(&network, &["--source", PREFIXES]).exits(0);
    let audit = |options: &[&str]| {
        let args = [&["check", "--iface", "eth0", "--for", "4s", "--json"], options].concat();
        let upstream = &network.net.upstream;
        let watching = upstream.command(BIN).args(args).stdout(std::process::Stdio::piped());
        let mut watching = watching.spawn().unwrap();
        let mut said = watching.stdout().unwrap();
        std::thread::sleep(Duration::from_millis(500));
        ask(&network, 200);
        let mut text = String::new();
        std::io::Read::read_to_string(&mut said, &mut text).unwrap();
        let report: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        report["resolvers"].as_array().unwrap().clone()
    };
    assert_eq!(audit(&[]).len(), 16);
    let one = audit(&["--one-client", PREFIXES]);
    assert_eq!((one.len(), &one[0]["address"]), (1, &"203.0.113.16".into()), "{one:#?}");
    let judged = &one[0]["overall"];
    let (verdict, letters) = (&judged["verdict"], &judged["target"]["case_bits"]);
    assert_eq!(verdict, "strong", "{one:#?}");
    // 18 letters in the first label, 4 in the last.
    assert_eq!(letters, 22.0, "{one:#?}");
}
