//! Links of all kinds, and packets of all shapes, as they are on the wire: with tags of VLANs, without
//! any header before IP, with options, without a checksum. Every sum is worked out anew.

mod common;

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use common::packet::{DESTINATION, SOURCE, Shape, Shown, packet, shown, unsalted};
use common::{
    BPFFS, await_next, down, installed, is_quiet, network, query, reply, socket, up_on,
    up_on_for_a_while,
};
use dnsalt_bpf::Hook;
use dnsalt_lab::actor::{Frames, Tun};
use dnsalt_lab::{Host, link, require_root};
use dnsalt_policy::Settings;
use dnsalt_salt::layout::Counter;
use dnsalt_wire::link::{LinkType, Network};

const PATIENCE: Duration = Duration::from_secs(5);
/// The port that clients ask from.
const FIXED: u16 = 44444;

/// Those that no link here needs are not loaded otherwise.
#[test]
fn the_kernel_takes_the_programs_for_all_links() {
    if let Err(skip) = require_root() {
        println!("skipped: {skip}");
        return;
    }
    let verified = dnsalt_bpf::verified().unwrap();
    assert_eq!(verified.len(), 4);
    for (program, instructions) in verified {
        // Since Linux 5.16 it is told; a million are the most.
        println!("{program}: {instructions}");
        assert!(instructions < 900_000, "{program}: {instructions}");
    }
}

/// A link without headers, with addresses.
fn tun(host: &Host) -> Option<Tun> {
    let made = Tun::new(host, "tun0");
    let tun = made.inspect_err(|why| println!("skipped: this kernel has no tun: {why}")).ok()?;
    for address in ["10.53.8.1/24", "fd53:8::1/64"] {
        host.address("tun0", address).unwrap();
    }
    host.up("tun0").unwrap();
    Some(tun)
}

/// The next packet of DNS that leaves by a link.
fn next_query(tun: &Tun) -> (Vec<u8>, Shown) {
    loop {
        let packet = tun.next(PATIENCE).unwrap().expect("a packet within 5 seconds");
        if let Some(shown) = shown(&packet) {
            return (packet, shown);
        }
    }
}

#[test]
fn a_link_without_headers() {
    let Some(network) = network(&[]) else { return };
    let gateway = &network.gateway;
    let Some(tun) = tun(gateway) else { return };
    for hook in [Hook::Tcx, Hook::Clsact] {
        up_on_for_a_while(gateway, "tun0", hook, &Settings::default());
        let mut forged = 0;
        for server in ["10.53.8.53", "fd53:8::53"] {
            let server = SocketAddr::new(server.parse().unwrap(), 53);
            let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
            // Behind the gateway, and on it.
            for host in [&network.resolver, gateway] {
                let client = socket(host, (any, FIXED));
                let (mut ports, mut ids) = (HashSet::new(), 0);
                for id in 0..200 {
                    let asked = query(id, &format!("n{id}.test"));
                    client.send_to(&asked, server).unwrap();
                    let (_, seen) = next_query(&tun);
                    assert_eq!(seen.to, server);
                    assert!(seen.dns[2..].eq_ignore_ascii_case(&asked[2..]));
                    ports.insert(seen.from.port());
                    ids += u32::from(seen.id == id);
                    let answer = |to, id| {
                        let message = common::with_id(reply(&seen.dns), id);
                        packet(server, to, &message, Shape::default())
                    };
                    // Not to the port that the client has, unless that was drawn by chance.
                    if seen.from.port() != FIXED {
                        tun.send(&answer((seen.from.ip(), FIXED).into(), seen.id)).unwrap();
                        forged += 1;
                    }
                    tun.send(&answer(seen.from, seen.id)).unwrap();
                    assert_eq!(await_next(&client), (reply(&asked), server));
                }
                assert!(ports.len() > 190, "{}", ports.len());
                assert!(ids < 5, "{ids} kept their IDs");
                assert!(is_quiet(&client));
            }
        }
        let there = installed(gateway).unwrap();
        assert_eq!(there.interfaces, [("tun0".to_owned(), hook)]);
        let counted = [Counter::Salted, Counter::Restored, Counter::Forged].map(|c| there.count(c));
        assert_eq!(counted, [800, 800, forged]);
        down(gateway);
    }
}

#[test]
fn a_near_miss_on_a_link_without_headers_sends_to_tcp() {
    let Some(network) = network(&[]) else { return };
    let gateway = &network.gateway;
    let Some(tun) = tun(gateway) else { return };
    up_on(gateway, "tun0", Hook::of_kernel(), &Settings::default());
    for server in ["10.53.8.53", "fd53:8::53"] {
        let server = SocketAddr::new(server.parse().unwrap(), 53);
        let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let client = socket(gateway, (any, FIXED));
        for again in [false, true] {
            let asked = query(7, &format!("www.{again}.test"));
            client.send_to(&asked, server).unwrap();
            let (_, seen) = next_query(&tun);
            let answer = |id| {
                let message = common::with_id(reply(&seen.dns), id);
                packet(server, seen.from, &message, Shape::default())
            };
            tun.send(&answer(seen.id ^ 1)).unwrap();
            if again {
                // It is answered on the spot, and nothing leaves.
                client.send_to(&asked, server).unwrap();
            } else {
                // It is cut down.
                tun.send(&answer(seen.id)).unwrap();
            }
            let (answered, from) = await_next(&client);
            assert_eq!((from, &answered[12..]), (server, &asked[12..]));
            assert_eq!((&answered[..2], answered[2] & 0x82), (&asked[..2], 0x82));
            // It comes too late.
            tun.send(&answer(seen.id)).unwrap();
            assert!(is_quiet(&client));
            while let Some(packet) = tun.next(Duration::ZERO).unwrap() {
                assert_eq!(shown(&packet), None, "nothing more leaves");
            }
        }
    }
}

/// Tags of VLANs, outermost first.
const TAGS: [(&str, &[u8]); 3] = [
    ("no tag", &[]),
    ("one tag", &[0x81, 0x00, 0xa0, 7]),
    ("QinQ", &[0x88, 0xa8, 0, 9, 0x81, 0, 0x20, 7]),
];

/// Ethernet addresses of a client and a server.
const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 0x11], [2, 0, 0, 0, 0, 0x22]];

fn frame(from: [u8; 6], to: [u8; 6], tags: &[u8], packet: &[u8], padding: usize) -> Vec<u8> {
    let kind = if packet[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] };
    [&to, &from, tags, &kind, packet, &vec![0xee; padding]].concat()
}

/// The next frame of DNS, with what it shows.
fn next_frame(frames: &Frames) -> (Vec<u8>, Shown) {
    loop {
        let frame = frames.next(PATIENCE).unwrap().expect("a frame within 5 seconds");
        let Ok(Network::Ip(packet)) = dnsalt_wire::link::network(LinkType::ETHERNET, &frame) else {
            continue;
        };
        let before = packet.as_ptr() as usize - frame.as_ptr() as usize;
        if let Some(mut shown) = shown(packet) {
            shown.transport += before;
            return (frame, shown);
        }
    }
}

/// A client and a server at a bridge, on which the engine is.
///
/// ```text
///   client eth0 ───── lan0 ┐ bridge br0 ┌ wan0 ───── eth0 server
/// ```
struct Bridge {
    host: Host,
    client: Frames,
    server: Frames,
    _hosts: [Host; 2],
}

fn bridge() -> Option<Bridge> {
    // Whether there can be hosts at all.
    drop(network(&[])?);
    let [client, host, server] =
        ["client", "bridge", "server"].map(|name| Host::new(name).unwrap());
    for host in [&client, &host, &server] {
        // No frames but ours.
        host.sysctl("net/ipv6/conf/all/disable_ipv6", "1").unwrap();
        host.sysctl("net/ipv6/conf/default/disable_ipv6", "1").unwrap();
    }
    link((&client, "eth0"), (&host, "lan0")).unwrap();
    link((&host, "wan0"), (&server, "eth0")).unwrap();
    host.sh(&format!("mkdir {BPFFS}; mount -t bpf bpf {BPFFS}")).unwrap();
    if let Err(refused) = host
        .sh("ip link add br0 type bridge; ip link set lan0 master br0; ip link set wan0 master br0
         ip link set br0 up")
    {
        println!("skipped: this kernel has no bridges: {refused}");
        return None;
    }
    // The filters of netfilter would cut off padding, were they there.
    let filters = "for key in /proc/sys/net/bridge/bridge-nf-call-*; do
                       [ ! -e $key ] || echo 0 > $key; done";
    host.sh(filters).unwrap();
    Some(Bridge {
        client: Frames::open(&client, "eth0").unwrap(),
        server: Frames::open(&server, "eth0").unwrap(),
        host,
        _hosts: [client, server],
    })
}

#[test]
fn frames_of_all_shapes_come_through_with_nothing_else_changed() {
    let Some(bridge) = bridge() else { return };
    let mut cases = 0;
    for hook in [Hook::Tcx, Hook::Clsact] {
        up_on(&bridge.host, "wan0", hook, &Settings::default());
        for (client, server) in [("192.0.2.7", "192.0.2.53"), ("2001:db8::7", "2001:db8::53")] {
            let server = SocketAddr::new(server.parse().unwrap(), 53);
            let client = SocketAddr::new(client.parse().unwrap(), FIXED);
            for (name, tags) in TAGS {
                for (options, unsummed, padding) in [
                    (false, false, 0),
                    (true, false, 0),
                    (false, true, 0),
                    (true, true, 0),
                    (false, false, 9),
                ] {
                    if unsummed && client.is_ipv6() {
                        continue;
                    }
                    cases += 1;
                    let shape = Shape { options, unsummed };
                    let said = format!("{hook}, {client}, {name}, {shape:?}, {padding} of padding");
                    println!("{said}");
                    let asked = query(cases, &format!("n{cases}.test"));
                    let there = [client, server];
                    passes(&bridge, there, &asked, shape, tags, padding);
                }
            }
        }
        let there = installed(&bridge.host).unwrap();
        let counted = [Counter::Salted, Counter::Restored, Counter::Passed].map(|c| there.count(c));
        assert_eq!(counted, [24, 24, 0]);
        down(&bridge.host);
    }
}

/// A query and its reply, both ways through the bridge.
fn passes(
    bridge: &Bridge,
    [client, server]: [SocketAddr; 2],
    asked: &[u8],
    shape: Shape,
    tags: &[u8],
    padding: usize,
) {
    let sent = frame(MACS[0], MACS[1], tags, &packet(client, server, asked, shape), padding);
    bridge.client.send(&sent).unwrap();
    let (salted, seen) = next_frame(&bridge.server);
    let id = u16::from_be_bytes([asked[0], asked[1]]);
    assert_ne!((seen.from.port(), seen.id), (client.port(), id));
    assert_eq!(without(&salted, &seen, SOURCE), without(&sent, &seen, SOURCE));
    assert_eq!(has_sum(&salted, &seen), !shape.unsummed);
    let answer = reply(&seen.dns);
    let sent = frame(MACS[1], MACS[0], tags, &packet(server, seen.from, &answer, shape), padding);
    bridge.server.send(&sent).unwrap();
    let (restored, seen) = next_frame(&bridge.client);
    assert_eq!((seen.from, seen.to, seen.dns), (server, client, reply(asked)));
    let same = |frame: &[u8]| unsalted(frame.to_vec(), seen.transport, DESTINATION);
    assert_eq!(same(&restored), same(&sent));
    assert_eq!(restored[seen.transport + 6..][..2] == [0, 0], shape.unsummed);
}

fn without(frame: &[u8], shown: &Shown, port: usize) -> Vec<u8> {
    unsalted(frame.to_vec(), shown.transport, port)
}

fn has_sum(frame: &[u8], shown: &Shown) -> bool {
    frame[shown.transport + 6..][..2] != [0, 0]
}

/// What a packet socket of the gateway itself sends has its tags in the packet; from a bridge the
/// outermost comes beside it.
#[test]
fn tags_that_are_in_the_packet() {
    let Some(network) = network(&[]) else { return };
    let gateway = &network.gateway;
    let (near, far) =
        (Frames::open(gateway, "wan0").unwrap(), Frames::open(&network.upstream, "eth0").unwrap());
    for hook in [Hook::Tcx, Hook::Clsact] {
        up_on(gateway, "wan0", hook, &Settings::default());
        let mut restored = 0;
        for (client, server) in [("10.53.9.1", "10.53.9.53"), ("fd53:9::1", "fd53:9::53")] {
            let server = SocketAddr::new(server.parse().unwrap(), 53);
            let client = SocketAddr::new(client.parse().unwrap(), FIXED);
            for (name, tags) in TAGS {
                for options in [false, true] {
                    let shape = Shape { options, unsummed: false };
                    println!("{hook}, {client}, {name}, {shape:?}");
                    let asked = query(7, &format!("n{restored}.test"));
                    let sent =
                        frame(MACS[0], MACS[1], tags, &packet(client, server, &asked, shape), 0);
                    near.send(&sent).unwrap();
                    let (salted, seen) = next_frame(&far);
                    assert_ne!((seen.from.port(), seen.id), (FIXED, 7));
                    assert_eq!(without(&salted, &seen, SOURCE), without(&sent, &seen, SOURCE));
                    let answer = packet(server, seen.from, &reply(&seen.dns), shape);
                    far.send(&frame(MACS[1], MACS[0], tags, &answer, 0)).unwrap();
                    // It came in, as far as here.
                    next_frame(&near);
                    restored += 1;
                }
            }
        }
        common::eventually(|| installed(gateway).unwrap().count(Counter::Restored) == restored);
        assert_eq!(installed(gateway).unwrap().count(Counter::Salted), restored);
        down(gateway);
    }
}
