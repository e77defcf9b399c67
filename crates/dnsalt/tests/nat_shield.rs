//! The shield of the `nat` engine against an attacker who forges replies, with nftables and both
//! iptables: what belongs to no query leaves no trace, and what does comes through.

mod common;

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use common::forger::Forger;
use common::{Ended, Network, dnsalt, dnsalt_with_path, network, ports_seen, programs, uncounted};
use dnsalt_lab::Host;
use dnsalt_lab::actor::{Answer, DnsServer};
use dnsalt_lab::topology;

const BACKENDS: [&str; 3] = ["nft", "iptables-nft", "iptables-legacy"];
const PROGRAMS: [&str; 4] = ["nft", "iptables-nft", "iptables-legacy", "conntrack"];
const FIXED: u16 = 44444;
/// 256 of them, the fewest that a policy may have.
const PORTS: std::ops::RangeInclusive<u16> = 40000..=40255;
const PORTS_OPTION: [&str; 2] = ["--ports", "40000-40255"];
/// The ports to which the attacker steers.
const FEW: std::ops::Range<u16> = 40100..40116;
/// The recipe of 2008 on these ports, without the shield.
const RECIPE: &str = "nft 'table inet recipe { chain post { type nat hook postrouting priority srcnat; udp dport 53 masquerade to :40000-40255 fully-random; }; }'";

const QUERY: &[u8] = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01";
const REPLY: &[u8] = b"\0\x07\x81\x80\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01";

fn outer(v6: bool) -> IpAddr {
    if v6 { "fd53:2::1" } else { "10.53.2.1" }.parse().unwrap()
}

fn server(network: &Network, v6: bool) -> SocketAddr {
    let servers = if v6 { network.net.servers_v6 } else { network.net.servers_v4 };
    SocketAddr::new(servers[0], 53)
}

fn up(network: &Network, backend: &str, options: &[&str]) -> Ended {
    let args = [&["up", "--backend", backend], options].concat();
    dnsalt(&network.net.gateway, &args).exits(0)
}

/// One packet to each of these ports, as from a server.
fn flood(network: &Network, forger: &Forger, ports: impl Iterator<Item = u16>, payload: &[u8]) {
    for port in ports {
        for v6 in [false, true] {
            forger.send(server(network, v6), SocketAddr::new(outer(v6), port), payload);
        }
    }
    std::thread::sleep(Duration::from_millis(100));
}

/// Entries that began with a packet from a server, in each family.
fn kept(gateway: &Host) -> [usize; 2] {
    ["ipv4", "ipv6"].map(|family| {
        let list = format!("conntrack -L -f {family} -p udp --orig-port-src 53 2>/dev/null");
        gateway.sh(&list).unwrap().lines().count()
    })
}

/// ICMP errors that the gateway sent, in each family.
fn errors(gateway: &Host) -> [u64; 2] {
    let script = "awk '/^Icmp: [^0-9]/ { for (i = 2; i <= NF; i++) if ($i == \"OutDestUnreachs\") n = i; next }
        /^Icmp:/ { print $n }' /proc/net/snmp; awk '/^Icmp6OutDestUnreachs/ { print $2 }' /proc/net/snmp6";
    let text = gateway.sh(script).unwrap();
    let numbers: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

fn unsolicited(gateway: &Host) -> u64 {
    let status = dnsalt(gateway, &["status", "--json"]).exits(0);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["lacks"], serde_json::Value::Null);
    status["unsolicited"].as_u64().unwrap()
}

/// All that a user can see of a host's firewall.
fn save(host: &Host) -> String {
    let all = "nft list ruleset; iptables-legacy-save; ip6tables-legacy-save";
    uncounted(&host.sh(all).unwrap())
}

fn socket(host: &Host, address: IpAddr, port: u16) -> UdpSocket {
    let socket = host.run(move || common::bind((address, port).into()));
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket
}

fn any(v6: bool) -> IpAddr {
    if v6 { "::" } else { "0.0.0.0" }.parse().unwrap()
}

#[track_caller]
fn answered(host: &Host, from: (IpAddr, u16), server: SocketAddr) {
    let socket = socket(host, from.0, from.1);
    socket.send_to(QUERY, server).unwrap();
    let mut reply = [0; 512];
    let (_, peer) = socket.recv_from(&mut reply).unwrap();
    assert_eq!((peer, reply[2] & 0x80), (server, 0x80));
}

/// Every server is asked from a fixed port, and answers; by whoever is behind the gateway, and by itself.
#[track_caller]
fn all_answer(network: &Network) {
    for host in [&network.net.resolver, &network.net.gateway] {
        for address in network.net.servers() {
            answered(host, (any(address.is_ipv6()), FIXED), SocketAddr::new(address, 53));
        }
    }
}

#[test]
fn unsolicited_replies_leave_no_trace() {
    for backend in BACKENDS {
        let Some(network) = network(&PROGRAMS) else { return };
        let gateway = &network.net.gateway;
        let forger = Forger::new(&network.net);
        let before = save(gateway);
        gateway.sh(RECIPE).unwrap();
        let quiet = errors(gateway);
        flood(&network, &forger, PORTS, REPLY);
        let loud = errors(gateway);
        assert_eq!(kept(gateway), [256; 2], "conntrack keeps them all");
        assert!(loud[0] > quiet[0] && loud[1] > quiet[1], "and errors tell: {quiet:?} {loud:?}");
        gateway.sh("nft delete table inet recipe").unwrap();

        // A health check would leave ports open for a moment, at which something waits.
        up(&network, backend, &[&["--no-health"], &PORTS_OPTION[..]].concat());
        assert_eq!(kept(gateway), [0; 2], "what was kept before is ended");
        let (quiet, dropped) = (errors(gateway), unsolicited(gateway));
        flood(&network, &forger, PORTS, REPLY);
        // Conntrack does not look at DNS: what is no reply would take ports just as well.
        flood(&network, &forger, PORTS, QUERY);
        flood(&network, &forger, PORTS, b"");
        // Outside of the range replies are dropped alone: a program here may ask from there.
        flood(&network, &forger, 50000..50100, REPLY);
        let target = SocketAddr::new(outer(true), 50000);
        forger.send_behind_options(server(&network, true), target, REPLY);
        flood(&network, &forger, std::iter::empty(), b"");
        assert_eq!(kept(gateway), [0; 2], "{backend}");
        assert_eq!(errors(gateway), quiet, "{backend}");
        assert_eq!(unsolicited(gateway) - dropped, 2 * (3 * 256 + 100) + 1, "{backend}");
        all_answer(&network);
        let status = dnsalt(gateway, &["status"]).exits(0);
        assert!(status.stdout.contains("replies that belonged to no query"), "{}", status.stdout);
        dnsalt(gateway, &["down"]).exits(0);
        if backend != "iptables-legacy" {
            // The old iptables keeps empty tables; its rules are compared elsewhere.
            assert_eq!(save(gateway), before, "{backend}");
        }
    }
}

/// The ports that queries from eight sockets leave from, to a server of each family.
fn eight_ports(network: &Network) -> Vec<u16> {
    network.servers.take_seen();
    for v6 in [false, true] {
        let to = server(network, v6);
        let sockets: Vec<_> =
            (0..8).map(|n| socket(&network.net.resolver, any(v6), 45000 + n)).collect();
        for socket in &sockets {
            socket.send_to(QUERY, to).unwrap();
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    std::thread::sleep(Duration::from_millis(100));
    network.servers.take_seen().iter().map(|seen| seen.peer.port()).collect()
}

#[test]
fn nobody_steers_the_draw() {
    for backend in BACKENDS {
        let Some(network) = network(&PROGRAMS) else { return };
        let gateway = &network.net.gateway;
        let forger = Forger::new(&network.net);
        let all_but_few = || PORTS.filter(|port| !FEW.contains(port));
        gateway.sh(RECIPE).unwrap();
        flood(&network, &forger, all_but_few(), REPLY);
        let steered = eight_ports(&network);
        assert!(steered.len() > 2, "{steered:?}");
        assert!(steered.iter().all(|port| FEW.contains(port)), "{steered:?}");
        gateway.sh("conntrack -F").unwrap();
        flood(&network, &forger, PORTS, REPLY);
        assert!(eight_ports(&network).is_empty(), "where all are taken, queries are lost");
        gateway.sh("nft delete table inet recipe").unwrap();

        up(&network, backend, &PORTS_OPTION);
        for payload in [REPLY, QUERY, b""] {
            flood(&network, &forger, all_but_few(), payload);
            let free = eight_ports(&network);
            // 16 draws with 1 of 16 to hit the few: more than 8 hits once in 7,000,000 times.
            assert_eq!(free.len(), 16, "none is lost: {backend}");
            let hits = free.iter().filter(|port| FEW.contains(port)).count();
            assert!(hits <= 8, "{backend}: {free:?}");
            std::thread::sleep(Duration::from_millis(2100));
        }
    }
}

/// Whether a socket gets what is sent to it, though nobody asked.
fn believes(network: &Network, forger: &Forger, host: &Host, target: IpAddr) -> bool {
    let to = server(network, target.is_ipv6());
    let socket = socket(host, any(target.is_ipv6()), FIXED);
    socket.send_to(QUERY, to).unwrap();
    socket.recv_from(&mut [0; 512]).unwrap();
    forger.send(to, SocketAddr::new(target, FIXED), REPLY);
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    socket.recv_from(&mut [0; 512]).is_ok()
}

/// NAT gives a query another port on the wire; but the port that it was asked from is open as well.
#[test]
fn a_fixed_port_is_no_way_in() {
    let inner = ["10.53.1.2", "fd53:1::2"].map(|address| address.parse::<IpAddr>().unwrap());
    let clients = ["--from", "10.53.1.0/24,fd53:1::/64"];
    for backend in BACKENDS {
        let Some(network) = network(&PROGRAMS) else { return };
        let (resolver, gateway) = (&network.net.resolver, &network.net.gateway);
        let forger = Forger::new(&network.net);
        gateway.sh(RECIPE).unwrap();
        for v6 in [false, true] {
            assert!(believes(&network, &forger, gateway, outer(v6)), "the recipe alone");
        }
        gateway.sh("nft delete table inet recipe").unwrap();
        let policies: [&[&str]; 3] = [&[], &["--source", "keep"], &["--proto", "udp"]];
        for options in policies {
            up(&network, backend, options);
            for v6 in [false, true] {
                assert!(!believes(&network, &forger, gateway, outer(v6)), "{backend} {options:?}");
            }
        }
        for source in ["masquerade", "keep"] {
            for (options, reached) in [(&[][..], true), (&clients[..], false)] {
                let up = up(&network, backend, &[&["--source", source], options].concat());
                let warned = up.stderr.contains("with `keep` forged replies to a client's own");
                assert_eq!(warned, source == "keep" && reached, "{}", up.stderr);
                for address in inner {
                    let got = believes(&network, &forger, resolver, address);
                    assert_eq!(got, reached, "{backend} {source} {options:?} {address}");
                }
            }
        }
    }
}

/// Where queries leave from an address that no interface has: it is routed here.
#[test]
fn a_pool_is_shielded() {
    for backend in BACKENDS {
        let Some(network) = network(&PROGRAMS) else { return };
        let Network { net, servers } = &network;
        let forger = Forger::new(net);
        net.upstream.sh("ip route add 192.0.2.0/28 via 10.53.2.1").unwrap();
        up(&network, backend, &[&["--source", "192.0.2.1-192.0.2.2"], &PORTS_OPTION[..]].concat());
        all_answer(&network);
        let sources: HashSet<_> =
            servers.take_seen().iter().map(|seen| seen.peer.ip().to_string()).collect();
        assert!(sources.iter().any(|address| address.starts_with("192.0.2.")), "{sources:?}");
        std::thread::sleep(Duration::from_millis(2100));
        for address in ["192.0.2.1", "192.0.2.2"] {
            for port in PORTS {
                let to = SocketAddr::new(address.parse().unwrap(), port);
                forger.send(server(&network, false), to, QUERY);
            }
        }
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(kept(&net.gateway), [0; 2]);
        assert_eq!(unsolicited(&net.gateway), 512);
    }
}

#[test]
fn the_interface_and_the_servers_of_the_policy_bound_it() {
    for backend in BACKENDS {
        let Some(network) = network(&PROGRAMS) else { return };
        let gateway = &network.net.gateway;
        let forger = Forger::new(&network.net);
        let cases: [(&[&str], u64); 7] = [
            (&[], 40),
            (&["--iface", "wan0"], 40),
            (&["--iface", "lan0"], 0),
            (&["--to", "10.53.2.53,fd53:2::/64"], 40),
            (&["--to", "10.53.2.54"], 0),
            (&["--dns-port", "5353"], 0),
            (&["--proto", "tcp"], 0),
        ];
        for (options, dropped) in cases {
            up(&network, backend, &[&["--no-health"], options].concat());
            flood(&network, &forger, 42000..42020, REPLY);
            assert_eq!(unsolicited(gateway), dropped, "{backend} {options:?}");
        }
    }
}

#[test]
fn what_was_asked_for_comes_in() {
    for backend in BACKENDS {
        let Some(network) = network(&PROGRAMS) else { return };
        let Network { net, .. } = &network;
        net.gateway.address("wan0", "10.53.2.2/24").unwrap();
        for address in ["10.53.2.77/24", "fd53:2::77/64"] {
            net.upstream.address("eth0", address).unwrap();
        }
        let own = ["10.53.2.1", "10.53.1.1", "fd53:2::1", "fd53:1::1"];
        let own = own.map(|address| address.parse::<IpAddr>().unwrap());
        let _here = DnsServer::start(&net.gateway, &own).unwrap();
        let mut policies: Vec<&[&str]> = vec![
            &[],
            &["--source", "keep"],
            &["--source", "keep", "--from", "10.53.1.0/24,fd53:1::/64"],
            &["--source", "10.53.2.1-10.53.2.2"],
            &["--iface", "wan0"],
            &["--dns-port", "53,5353"],
        ];
        if backend == "nft" {
            policies.extend([&["--per-query"][..], &["--per-query", "--source", "keep"]]);
        }
        for options in policies {
            up(&network, backend, options);
            all_answer(&network);
            for host in [&net.resolver, &net.gateway] {
                assert_eq!(ports_seen(&network, host, FIXED, 50).len(), 100, "{options:?}");
            }
            // From port 53 to port 53, out and in; a server here is asked from both sides.
            for address in net.servers() {
                let from = (any(address.is_ipv6()), 53);
                answered(&net.resolver, from, SocketAddr::new(address, 53));
            }
            for address in own {
                let v6 = address.is_ipv6();
                let outside = if v6 { "fd53:2::77" } else { "10.53.2.77" }.parse().unwrap();
                for port in [53, FIXED] {
                    answered(&net.upstream, (outside, port), SocketAddr::new(address, 53));
                    answered(&net.resolver, (any(v6), port), SocketAddr::new(address, 53));
                }
            }
            assert_eq!(unsolicited(&net.gateway), 0, "{backend} {options:?}");
        }
    }
}

/// A reply that comes when its port is closed was lost before, too; now it leaves no trace.
#[test]
fn late_replies_leave_no_trace() {
    for (backend, options) in [("nft", &[][..]), ("nft", &["--per-query"]), ("iptables-nft", &[])] {
        if !common::can_run(&PROGRAMS) {
            return;
        }
        let net = topology::gateway().unwrap();
        let answer: Answer = std::sync::Arc::new(|_| Some(REPLY.to_vec()));
        let late = Duration::from_millis(2500);
        let _servers = DnsServer::start_with(&net.upstream, &net.servers(), &answer, late).unwrap();
        let up = [&["up", "--no-health", "--backend", backend], options].concat();
        dnsalt(&net.gateway, &up).exits(0);
        let quiet = errors(&net.gateway);
        let clients = ["10.53.1.2", "fd53:1::2"].map(|address| address.parse().unwrap());
        let sockets = clients.map(|address| socket(&net.resolver, address, FIXED));
        for (socket, server) in sockets.iter().zip([net.servers_v4[0], net.servers_v6[0]]) {
            socket.send_to(QUERY, (server, 53)).unwrap();
        }
        common::eventually("both were dropped", Duration::from_secs(5), || {
            unsolicited(&net.gateway) == 2
        });
        assert_eq!((kept(&net.gateway), errors(&net.gateway)), ([0; 2], quiet));
    }
}

/// A folder with an iptables that cannot load what a pattern finds, as long as /run/lacking is there.
fn lacking(pattern: &str) -> tempfile::TempDir {
    let names = ["iptables", "ip6tables"].map(|name| {
        ["", "-save", "-restore"].map(|s| (format!("{name}{s}"), format!("{name}-nft{s}")))
    });
    let mut links: Vec<(&str, &str)> =
        names.iter().flatten().map(|(name, target)| (name.as_str(), target.as_str())).collect();
    links.extend(["sh", "sed", "grep"].map(|name| (name, name)));
    let path = programs(&links);
    for name in ["iptables-restore", "ip6tables-restore"] {
        let restore = path.path().join(name);
        let real = std::fs::read_link(&restore).unwrap();
        // As kernels do: a test goes well, and the tables in front are in when it refuses.
        let script = format!(
            "#!/bin/sh\n\
             real={}\n\
             case \"$*\" in *--test* | *undo*) exec $real \"$@\";; esac\n\
             [ -e /run/lacking ] && grep -q {pattern} \"$4\" || exec $real \"$@\"\n\
             sed '/^.mangle/,$d' \"$4\" > /run/front; $real --noflush /run/front\n\
             echo no such match >&2; exit 4\n",
            real.display()
        );
        std::fs::remove_file(&restore).unwrap();
        std::fs::write(&restore, script).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&restore, executable).unwrap();
    }
    path
}

/// A machine that lacks what the shield needs gets the rules without it, and is told.
#[test]
fn where_the_shield_cannot_be_it_is_left_out() {
    let Some(network) = network(&PROGRAMS) else { return };
    let gateway = &network.net.gateway;
    let before = save(gateway);
    for (pattern, told, left) in
        [("u32", "iptables needs its match u32", 1), ("ctstate", "a table mangle", 0)]
    {
        let path = lacking(pattern);
        let run = |args: &[&str]| dnsalt_with_path(gateway, path.path(), args).exits(0);
        gateway.sh("touch /run/lacking").unwrap();
        let up = run(&["up"]);
        assert!(up.stderr.contains(told), "{}", up.stderr);
        let ports = ports_seen(&network, &network.net.resolver, FIXED, 1);
        assert!(ports.iter().all(|port| *port != FIXED), "{ports:?}");
        let saved = gateway.sh("iptables-nft-save").unwrap();
        assert_eq!(saved.matches("-A DNSALT-DRAWN").count(), left, "{saved}");
        assert_eq!(saved.matches("--comment dnsalt").count(), 3 + left, "{saved}");
        let status = run(&["status"]);
        assert!(status.stdout.contains(told), "{}", status.stdout);
        // Once the machine has it, `up` puts it in, also in place of what is there.
        gateway.sh("rm /run/lacking").unwrap();
        let full = run(&["up"]);
        assert!(!full.stderr.contains("warning"), "{}", full.stderr);
        let again = run(&["up"]);
        assert!(again.stdout.contains("nothing was changed"), "{}", again.stdout);
        assert!(!run(&["status"]).stdout.contains("lacks"));
        // And back: of two families and three tables, those that were done are done again.
        gateway.sh("touch /run/lacking").unwrap();
        let back = run(&["up", "--ports", "20000-20999"]);
        assert!(back.stderr.contains(told), "{}", back.stderr);
        let saved = gateway.sh("iptables-nft-save").unwrap();
        assert_eq!(saved.matches("--comment dnsalt").count(), 3 + left, "{saved}");
        // Empty tables can be deleted with nft alone, which is not in that folder.
        dnsalt(gateway, &["down"]).exits(0);
        assert_eq!(save(gateway), before);
    }
}

#[test]
fn an_nft_without_what_the_shield_needs_does_the_rest() {
    let Some(network) = network(&PROGRAMS) else { return };
    let gateway = &network.net.gateway;
    let path = programs(&[("sh", "sh"), ("cat", "cat"), ("grep", "grep"), ("real", "nft")]);
    let script = "#!/bin/sh\n\
        case \"$*\" in *--file*) cat > /run/in;; *) exec \"${0%/*}/real\" \"$@\";; esac\n\
        grep -q '@th,80' /run/in || exec \"${0%/*}/real\" \"$@\" < /run/in\n\
        echo 'Error: Could not process rule: No such file or directory' >&2; exit 1\n";
    let nft = path.path().join("nft");
    std::fs::write(&nft, script).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&nft, executable).unwrap();
    let up = dnsalt_with_path(gateway, path.path(), &["up"]).exits(0);
    assert!(up.stderr.contains("warning: replies that nobody asked for"), "{}", up.stderr);
    all_answer(&network);
    let status = dnsalt(gateway, &["status"]).exits(0);
    assert!(status.stdout.contains("lacks      replies that nobody"), "{}", status.stdout);
    dnsalt(gateway, &["up"]).exits(0);
    assert_eq!(unsolicited(gateway), 0);
    dnsalt(gateway, &["down"]).exits(0);
    assert_eq!(gateway.sh("nft list ruleset").unwrap(), "");
}

/// Where nft wrote into the table, iptables cannot show it: the rest goes in, and comes out again.
#[test]
fn a_table_that_iptables_cannot_show_is_left_alone() {
    let Some(network) = network(&PROGRAMS) else { return };
    let gateway = &network.net.gateway;
    gateway.sh("nft add table ip mangle; nft 'add chain ip mangle x'; nft add rule ip mangle x meta mark 7 meta mark set numgen inc mod 3").unwrap();
    assert!(gateway.sh("iptables-nft-save").unwrap().contains("is incompatible"));
    let before = save(gateway);
    let up = up(&network, "iptables-nft", &[]);
    assert!(up.stderr.contains("replies that nobody asked for are let in"), "{}", up.stderr);
    all_answer(&network);
    dnsalt(gateway, &["down"]).exits(0);
    assert_eq!(save(gateway), before);
}
