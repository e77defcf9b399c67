//! What leaves a gateway with the engine on it, and what comes back, in a real kernel.

mod common;

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{
    await_next, client, down, hooks, installed, is_quiet, is_refused, network, query, reply,
    socket, up, up_for_a_while, up_on,
};
use dnsalt_bpf::Hook;
use dnsalt_lab::Host;
use dnsalt_lab::actor::DnsServer;
use dnsalt_policy::Settings;
use dnsalt_salt::layout::Counter;

#[test]
fn one_socket_leaves_from_a_port_of_its_own_with_each_query() {
    let Some(network) = network(&[]) else { return };
    for hook in hooks() {
        up_on(&network.gateway, "wan0", hook, &Settings::default());
        for server in [network.servers_v4[0], network.servers_v6[0]] {
            let servers = DnsServer::start(&network.upstream, &[server]).unwrap();
            let socket = client(&network, server.is_ipv6());
            let count = 10_000_u16;
            for n in 0..count {
                common::ask(&socket, server, n, &format!("n{n}.test"));
            }
            let seen = servers.take_seen();
            assert_eq!(seen.len(), usize::from(count));
            let ports: HashSet<u16> = seen.iter().map(|query| query.peer.port()).collect();
            let ids: HashSet<u16> = seen.iter().map(|query| query.id).collect();
            // 64,508 * (1 - e^(-10,000 / 64,508)) = 9,265, with a deviation of 25.
            assert!(ports.len() >= 9_140, "{}", ports.len());
            assert!(ids.len() >= 9_140, "{}", ids.len());
        }
        let there = installed(&network.gateway).unwrap();
        assert_eq!(there.interfaces, [("wan0".to_owned(), hook)]);
        assert_eq!(there.count(Counter::Salted), 20_000);
        assert_eq!(there.count(Counter::Restored), 20_000);
        down(&network.gateway);
    }
}

#[test]
fn nothing_is_left_behind() {
    let Some(network) = network(&[]) else { return };
    let look = || {
        network
            .gateway
            .sh("tc qdisc show; tc filter show dev wan0 ingress; ls -R /run/bpf")
            .unwrap()
    };
    let before = look();
    for hook in hooks() {
        up_on(&network.gateway, "wan0", hook, &Settings::default());
        assert_ne!(look(), before);
        down(&network.gateway);
        assert_eq!(look(), before);
        assert_eq!(installed(&network.gateway), None);
    }
    // A qdisc of somebody else stays.
    network.gateway.sh("tc qdisc add dev wan0 clsact").unwrap();
    let before = look();
    up_on(&network.gateway, "wan0", Hook::Clsact, &Settings::default());
    down(&network.gateway);
    assert_eq!(look(), before);
}

#[test]
fn the_port_of_the_first_query_is_shut_for_the_second() {
    let Some(network) = network(&[]) else { return };
    up_for_a_while(&network, &Settings::default());
    let address = SocketAddr::new(network.servers_v4[0], 53);
    let server = socket(&network.upstream, address);
    let client = client(&network, false);
    client.send_to(&query(1, "first.test"), address).unwrap();
    let (first, first_port) = await_next(&server);
    server.send_to(&reply(&first), first_port).unwrap();
    await_next(&client);
    client.send_to(&query(2, "second.test"), address).unwrap();
    let (second, second_port) = await_next(&server);
    assert_ne!(first_port, second_port);
    server.send_to(&reply(&second), first_port).unwrap();
    assert!(is_quiet(&client));
    server.send_to(&reply(&second), second_port).unwrap();
    assert_eq!(await_next(&client).0, reply(&query(2, "second.test")));
    server.send_to(&reply(&second), second_port).unwrap();
    assert!(is_quiet(&client));
}

#[test]
fn checksums_are_right_when_the_card_does_not_make_them() {
    let Some(network) = network(&["ethtool"]) else { return };
    for (host, interface) in [
        (&network.resolver, "eth0"),
        (&network.gateway, "lan0"),
        (&network.gateway, "wan0"),
        (&network.upstream, "eth0"),
    ] {
        host.sh(&format!("ethtool -K {interface} tx off rx off > /dev/null")).unwrap();
    }
    up(&network, &Settings::default());
    for server in [network.servers_v4[0], network.servers_v6[0]] {
        let _servers = DnsServer::start(&network.upstream, &[server]).unwrap();
        let socket = client(&network, server.is_ipv6());
        for n in 0..2000 {
            common::ask(&socket, server, n, &format!("n{n}.test"));
        }
    }
}

#[test]
fn behind_masquerade_and_a_stateful_filter() {
    let Some(network) = network(&["nft"]) else { return };
    network
        .gateway
        .sh("nft -f - <<'END'
table inet others {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname lan0 accept
    }
    chain input {
        type filter hook input priority filter; policy drop;
        iifname lo accept
        ct state established,related accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
    }
    chain postrouting { type nat hook postrouting priority srcnat; oifname wan0 masquerade; }
}
END")
        .unwrap();
    up(&network, &Settings::default());
    let forwarded = |v6| client(&network, v6);
    let local = |v6: bool| {
        let any: SocketAddr = if v6 { "[::]:44444" } else { "0.0.0.0:44444" }.parse().unwrap();
        socket(&network.gateway, any)
    };
    for server in [network.servers_v4[0], network.servers_v6[0]] {
        let servers = DnsServer::start(&network.upstream, &[server]).unwrap();
        for socket in [forwarded(server.is_ipv6()), local(server.is_ipv6())] {
            for n in 0..200 {
                common::ask(&socket, server, n, &format!("n{n}.test"));
            }
            let ports: HashSet<u16> = servers.take_seen().iter().map(|q| q.peer.port()).collect();
            assert!(ports.len() > 190, "{}", ports.len());
        }
    }
}

#[test]
fn queries_in_tags_of_a_vlan() {
    let Some(network) = network(&[]) else { return };
    for (host, below, address) in
        [(&network.gateway, "wan0", "10.53.7.1/24"), (&network.upstream, "eth0", "10.53.7.53/24")]
    {
        let made = host.sh(&format!("ip link add link {below} name vlan7 type vlan id 7"));
        if let Err(refused) = made {
            println!("skipped: this kernel has no VLANs: {refused}");
            return;
        }
        host.address("vlan7", address).unwrap();
        host.up("vlan7").unwrap();
    }
    // On the interface below, where the tag is in the packet or beside it.
    up(&network, &Settings::default());
    ask_from(&network.gateway, &network.upstream, "10.53.7.53".parse().unwrap());
    // And on the VLAN's own.
    down(&network.gateway);
    up_on(&network.gateway, "vlan7", Hook::of_kernel(), &Settings::default());
    ask_from(&network.gateway, &network.upstream, "10.53.7.53".parse().unwrap());
}

/// Asks from a fixed port; the server has to see others.
fn ask_from(host: &Host, upstream: &Host, server: IpAddr) {
    let servers = DnsServer::start(upstream, &[server]).unwrap();
    let socket = socket(host, SocketAddr::from(([0, 0, 0, 0], 44444)));
    for n in 0..100 {
        common::ask(&socket, server, n, &format!("n{n}.test"));
    }
    let ports: HashSet<u16> = servers.take_seen().iter().map(|query| query.peer.port()).collect();
    assert!(ports.len() > 95, "{}", ports.len());
}

#[test]
fn queries_on_links_without_headers() {
    let Some(network) = network(&[]) else { return };
    for (host, local, remote, address) in [
        (&network.gateway, "10.53.2.1", "10.53.2.53", "10.53.8.1/24"),
        (&network.upstream, "10.53.2.53", "10.53.2.1", "10.53.8.53/24"),
    ] {
        let made = ["gre", "ipip", "sit"].iter().find(|kind| {
            host.sh(&format!("ip link add raw0 type {kind} local {local} remote {remote}")).is_ok()
        });
        if made.is_none() {
            println!("skipped: this kernel has no tunnels");
            return;
        }
        host.address("raw0", address).unwrap();
        host.up("raw0").unwrap();
    }
    up_on(&network.gateway, "raw0", Hook::of_kernel(), &Settings::default());
    ask_from(&network.gateway, &network.upstream, "10.53.8.53".parse().unwrap());
}

#[test]
fn replies_in_fragments() {
    let Some(network) = network(&[]) else { return };
    let large = |query: &[u8]| [reply(query), vec![0; 3000]].concat();
    for fragments in ["pass", "drop"] {
        let settings =
            Settings { fragments: Some(fragments.parse().unwrap()), ..Settings::default() };
        up_for_a_while(&network, &settings);
        for address in [network.servers_v4[0], network.servers_v6[0]] {
            let server = socket(&network.upstream, (address, 53));
            let client = client(&network, address.is_ipv6());
            let asked = query(1, "large.test");
            client.send_to(&asked, (address, 53)).unwrap();
            let (seen, from) = await_next(&server);
            server.send_to(&large(&seen), from).unwrap();
            match (fragments, address) {
                ("pass", _) => assert_eq!(await_next(&client).0, large(&asked)),
                (_, IpAddr::V4(_)) => {
                    let (answer, _) = await_next(&client);
                    assert_eq!((answer.len(), answer[2] & 0x82), (asked.len(), 0x82));
                }
                // The header of a fragment cannot be taken out there.
                (_, IpAddr::V6(_)) => assert!(is_quiet(&client)),
            }
        }
        down(&network.gateway);
    }
}

#[test]
fn a_dead_server_is_told_of() {
    let Some(network) = network(&[]) else { return };
    up_for_a_while(&network, &Settings::default());
    for address in [network.servers_v4[0], network.servers_v6[0]] {
        assert!(is_refused(&network, address), "{address}");
    }
    assert_eq!(installed(&network.gateway).unwrap().count(Counter::IcmpTranslated), 2);
}

#[test]
fn new_programs_take_over_and_nothing_gets_lost() {
    let Some(network) = network(&[]) else { return };
    for hook in hooks() {
        up_on(&network.gateway, "wan0", hook, &Settings::default());
        let server = network.servers_v4[0];
        let _servers = DnsServer::start(&network.upstream, &[server]).unwrap();
        let client = client(&network, false);
        let (done, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in (0..=u16::MAX).cycle() {
                    // Fails if any is lost.
                    common::ask(&client, server, n, &format!("n{n}.test"));
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
                done.store(true, Ordering::Relaxed);
            });
            for round in 0..20 {
                let settings = Settings { lifetime: Some(3 + round % 2), ..Settings::default() };
                up_on(&network.gateway, "wan0", hook, &settings);
                std::thread::sleep(Duration::from_millis(20));
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(done.load(Ordering::Relaxed));
        let there = installed(&network.gateway).unwrap();
        assert_eq!(there.count(Counter::Salted), there.count(Counter::Restored));
        assert_eq!(there.count(Counter::Passed), 0);
        down(&network.gateway);
    }
}

#[test]
fn queries_out_of_scope_are_left_alone() {
    let Some(network) = network(&[]) else { return };
    let [salted, other] = network.servers_v4;
    let servers = DnsServer::start(&network.upstream, &network.servers_v4).unwrap();
    let settings =
        Settings { to: Some(vec![salted.to_string().parse().unwrap()]), ..Settings::default() };
    up(&network, &settings);
    let client = client(&network, false);
    for n in 0..20 {
        common::ask(&client, salted, n, &format!("a{n}.test"));
        common::ask(&client, other, n, &format!("b{n}.test"));
    }
    for seen in servers.take_seen() {
        assert_eq!(seen.peer.port() == 44444, seen.server == other, "{seen:?}");
    }
}
