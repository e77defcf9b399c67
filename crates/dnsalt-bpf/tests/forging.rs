//! What an attacker can do who does not see the queries, and what the engine makes of it, in a real
//! kernel. The servers of the lab forge their own replies, so that addresses are always right.

mod common;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{
    BPFFS, await_next, client, count, down, eventually, installed, is_quiet, network, query, reply,
    socket, up_for_a_while, with_id,
};
use dnsalt_bpf::{Events, Told};
use dnsalt_lab::topology::Gateway;
use dnsalt_policy::{OnNearMiss, Settings};
use dnsalt_salt::layout::Counter;
use dnsalt_wire::dns::Message;

/// The question alone, with TC=1.
#[track_caller]
fn assert_sends_to_tcp(answer: &[u8], asked: &[u8]) {
    let message = Message::parse(answer).unwrap();
    assert!(message.is_response() && message.is_truncated());
    assert_eq!(answer.len(), asked.len());
    assert_eq!((&answer[..2], &answer[12..]), (&asked[..2], &asked[12..]));
}

#[test]
fn after_a_near_miss_the_client_is_sent_to_tcp() {
    let Some(network) = network(&[]) else { return };
    up_for_a_while(&network, &Settings::default());
    for address in [network.servers_v4[0], network.servers_v6[0]] {
        let server = socket(&network.upstream, (address, 53));
        let client = client(&network, address.is_ipv6());
        let asked = query(7, "www.taint.test");
        client.send_to(&asked, (address, 53)).unwrap();
        let (seen, from) = await_next(&server);
        let id = u16::from_be_bytes([seen[0], seen[1]]);
        server.send_to(&with_id(reply(&seen), id ^ 1), from).unwrap();
        assert!(is_quiet(&client));
        server.send_to(&reply(&seen), from).unwrap();
        let (answer, who) = await_next(&client);
        assert_eq!(who, SocketAddr::new(address, 53));
        assert_sends_to_tcp(&answer, &asked);
        // Sent again while it is tainted, a query is answered on the spot.
        let asked = query(8, "again.taint.test");
        client.send_to(&asked, (address, 53)).unwrap();
        let (seen, from) = await_next(&server);
        let id = u16::from_be_bytes([seen[0], seen[1]]);
        server.send_to(&with_id(reply(&seen), id ^ 1), from).unwrap();
        assert!(is_quiet(&client));
        client.send_to(&asked, (address, 53)).unwrap();
        assert_sends_to_tcp(&await_next(&client).0, &asked);
        assert!(is_quiet(&server));
    }
    assert_eq!(count(&network, Counter::WrongId), 4);
    assert_eq!(count(&network, Counter::AnsweredTc), 2);
    // And somebody is told.
    let events: Vec<Told> = network.gateway.run(|| {
        let events = Events::open(Path::new(BPFFS)).unwrap();
        assert!(dnsalt_bpf::wait_for_events(&events, Duration::from_secs(5)).unwrap());
        events.collect()
    });
    assert_eq!(events.len(), 4);
    for Told { event, packet } in events {
        // IPv4 or IPv6 without options, UDP, and the ID.
        let at = if packet[0] == 0x45 { 28 } else { 48 };
        assert_eq!(packet[at..at + 2], event.id.to_be_bytes());
        assert_eq!((event.counter, event.id ^ 1), (Counter::WrongId as u32, event.wanted_id));
        assert!(network.servers().contains(&IpAddr::from(event.server)), "{event:?}");
    }
}

#[test]
fn a_retransmission_looks_as_the_first_did() {
    let Some(network) = network(&[]) else { return };
    up_for_a_while(&network, &Settings::default());
    let address = network.servers_v4[0];
    let server = socket(&network.upstream, (address, 53));
    let client = client(&network, false);
    let asked = query(7, "again.test");
    client.send_to(&asked, (address, 53)).unwrap();
    let first = await_next(&server);
    client.send_to(&asked, (address, 53)).unwrap();
    assert_eq!(await_next(&server), first);
    server.send_to(&reply(&first.0), first.1).unwrap();
    assert_eq!(await_next(&client).0, reply(&asked));
}

#[test]
fn identical_queries_are_capped() {
    let Some(network) = network(&[]) else { return };
    up_for_a_while(&network, &Settings::default());
    let address = network.servers_v4[0];
    let server = socket(&network.upstream, (address, 53));
    let client = client(&network, false);
    for id in 0..20 {
        client.send_to(&query(id, "same.test"), (address, 53)).unwrap();
    }
    for _ in 0..4 {
        await_next(&server);
    }
    assert!(is_quiet(&server));
    assert_eq!(count(&network, Counter::Identical), 16);
}

#[test]
fn a_server_that_answers_in_another_case_is_asked_over_tcp() {
    let Some(network) = network(&[]) else { return };
    up_for_a_while(&network, &Settings::default());
    let address = network.servers_v4[0];
    let server = socket(&network.upstream, (address, 53));
    let client = client(&network, false);
    let asked = query(7, "MiXed.test");
    client.send_to(&asked, (address, 53)).unwrap();
    let (seen, from) = await_next(&server);
    let lower = |message: &[u8]| [&message[..12], &message[12..].to_ascii_lowercase()].concat();
    server.send_to(&lower(&reply(&seen)), from).unwrap();
    let (answer, _) = await_next(&client);
    assert_sends_to_tcp(&answer, &lower(&asked));
}

#[test]
fn many_near_misses_lock_the_server_down() {
    let Some(network) = network(&[]) else { return };
    up_for_a_while(&network, &Settings { lockdown_after: Some(8), ..Settings::default() });
    for address in [network.servers_v4[0], network.servers_v6[0]] {
        let server = socket(&network.upstream, (address, 53));
        let client = client(&network, address.is_ipv6());
        for n in 0..8 {
            client.send_to(&query(n, &format!("n{n}.lock.test")), (address, 53)).unwrap();
            let (seen, from) = await_next(&server);
            let id = u16::from_be_bytes([seen[0], seen[1]]);
            server.send_to(&with_id(reply(&seen), id ^ 1), from).unwrap();
        }
        assert!(is_quiet(&client));
        let asked = query(99, "www.locked.test");
        client.send_to(&asked, (address, 53)).unwrap();
        let (answer, who) = await_next(&client);
        assert_eq!(who, SocketAddr::new(address, 53));
        assert_sends_to_tcp(&answer, &asked);
        assert!(is_quiet(&server), "nothing leaves that could be raced");
    }
    // Others are asked as ever.
    let other = network.servers_v4[1];
    let server = socket(&network.upstream, (other, 53));
    let client = client(&network, false);
    let asked = query(100, "www.other.test");
    client.send_to(&asked, (other, 53)).unwrap();
    let (seen, from) = await_next(&server);
    server.send_to(&reply(&seen), from).unwrap();
    assert_eq!(await_next(&client).0, reply(&asked));
    assert_eq!(count(&network, Counter::Lockdowns), 2);
}

/// Where the queries of the client of these tests come from.
fn address_of_client(server: IpAddr) -> IpAddr {
    if server.is_ipv4() { "10.53.1.2" } else { "fd53:1::2" }.parse().unwrap()
}

#[test]
fn many_unsolicited_replies_lock_the_server_down() {
    let Some(network) = network(&[]) else { return };
    up_for_a_while(&network, &Settings::default());
    for address in [network.servers_v4[0], network.servers_v6[0]] {
        let server = socket(&network.upstream, (address, 53));
        let client = client(&network, address.is_ipv6());
        if address.is_ipv4() {
            // As many as may come.
            flood(&server, address_of_client(address), 1000);
            let asked = query(98, "www.flood.test");
            client.send_to(&asked, (address, 53)).unwrap();
            let (seen, from) = await_next(&server);
            server.send_to(&reply(&seen), from).unwrap();
            assert_eq!(await_next(&client).0, reply(&asked));
        }
        let before = count(&network, Counter::Lockdowns);
        flood(&server, address_of_client(address), 2000);
        eventually(|| count(&network, Counter::Lockdowns) == before + 1);
        let asked = query(99, "www.flood.test");
        client.send_to(&asked, (address, 53)).unwrap();
        let (answer, who) = await_next(&client);
        assert_eq!(who, SocketAddr::new(address, 53));
        assert_sends_to_tcp(&answer, &asked);
        assert!(is_quiet(&server), "nothing leaves that could be raced");
    }
    // Others are asked as ever.
    let other = network.servers_v4[1];
    let server = socket(&network.upstream, (other, 53));
    let client = client(&network, false);
    let asked = query(100, "www.other.test");
    client.send_to(&asked, (other, 53)).unwrap();
    let (seen, from) = await_next(&server);
    server.send_to(&reply(&seen), from).unwrap();
    assert_eq!(await_next(&client).0, reply(&asked));
    let counters = [Counter::Lockdowns, Counter::AnsweredTc, Counter::Truncated];
    assert_eq!(counters.map(|counter| count(&network, counter)), [2, 2, 0]);
    // And somebody is told why.
    let events: Vec<Told> =
        network.gateway.run(|| Events::open(Path::new(BPFFS)).unwrap().collect());
    let told = events
        .iter()
        .map(|told| told.event)
        .map(|event| (event.counter, event.cause, IpAddr::from(event.server)));
    let lockdown = |server| (Counter::Lockdowns as u32, Counter::Forged as u32, server);
    assert!(told.eq([network.servers_v4[0], network.servers_v6[0]].map(lockdown)), "{events:?}");
}

#[test]
fn a_query_that_waits_when_a_lockdown_begins_is_not_won_either() {
    let Some(network) = network(&[]) else { return };
    let drop = Settings { on_near_miss: Some(OnNearMiss::Drop), ..Settings::default() };
    up_for_a_while(&network, &drop);
    let address = network.servers_v4[0];
    let server = socket(&network.upstream, (address, 53));
    let client = client(&network, false);
    let asked = query(7, "waits.test");
    client.send_to(&asked, (address, 53)).unwrap();
    let (seen, from) = await_next(&server);
    flood(&server, address_of_client(address), 2000);
    eventually(|| count(&network, Counter::Lockdowns) == 1);
    server.send_to(&reply(&seen), from).unwrap();
    assert_sends_to_tcp(&await_next(&client).0, &asked);
    assert_eq!(count(&network, Counter::Truncated), 1);
}

#[test]
fn during_a_flood_no_query_leaves() {
    let Some(network) = network(&[]) else { return };
    up_for_a_while(&network, &Settings::default());
    let address = network.servers_v4[0];
    let server = socket(&network.upstream, (address, 53));
    let forger = server.try_clone().unwrap();
    let client = client(&network, false);
    let flooding = AtomicBool::new(true);
    let mut queries = 0_u64;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            flood(&forger, address_of_client(address), 200_000);
            flooding.store(false, Ordering::Relaxed);
        });
        eventually(|| count(&network, Counter::Lockdowns) == 1);
        while flooding.load(Ordering::Relaxed) {
            let [.., a, b] = queries.to_be_bytes();
            let asked = query(u16::from_be_bytes([a, b]), &format!("n{queries}.flood.test"));
            client.send_to(&asked, (address, 53)).unwrap();
            assert_sends_to_tcp(&await_next(&client).0, &asked);
            queries += 1;
        }
    });
    println!("{queries} queries sent to TCP");
    assert!(queries > 10, "{queries}");
    assert!(is_quiet(&server));
    assert_eq!(count(&network, Counter::AnsweredTc), queries);
    let counters = [Counter::Salted, Counter::Truncated];
    assert_eq!(counters.map(|counter| count(&network, counter)), [0, 0]);
}

#[test]
fn clients_that_cannot_do_tcp_know_no_lockdown() {
    let Some(network) = network(&[]) else { return };
    let no_tcp = Some(vec!["10.53.1.2".parse().unwrap()]);
    up_for_a_while(&network, &Settings { no_tcp, ..Settings::default() });
    let address = network.servers_v4[0];
    let server = socket(&network.upstream, (address, 53));
    let client = client(&network, false);
    flood(&server, address_of_client(address), 2000);
    eventually(|| count(&network, Counter::Lockdowns) == 1);
    let asked = query(7, "www.notcp.test");
    client.send_to(&asked, (address, 53)).unwrap();
    let (seen, from) = await_next(&server);
    server.send_to(&reply(&seen), from).unwrap();
    assert_eq!(await_next(&client).0, reply(&asked));
}

/// Counts the ICMP errors that leave the gateway.
fn errors_sent(network: &Gateway) -> u64 {
    let text = network.gateway.run(|| {
        std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap()
            + &std::fs::read_to_string("/proc/thread-self/net/snmp6").unwrap()
    });
    let icmp: Vec<&str> = text.lines().filter(|line| line.starts_with("Icmp:")).collect();
    let names = icmp[0].split_whitespace();
    let v4 = names.zip(icmp[1].split_whitespace()).find(|(name, _)| *name == "OutDestUnreachs");
    let v6 = text.lines().find(|line| line.starts_with("Icmp6OutDestUnreachs"));
    let v6 = v6.and_then(|line| line.split_whitespace().nth(1)).unwrap_or("0");
    v4.map_or(0, |(_, value)| value.parse().unwrap()) + v6.parse::<u64>().unwrap()
}

#[test]
fn a_flood_of_forged_replies_gets_nowhere() {
    const FORGED: u64 = 1_000_000;
    let Some(network) = network(&[]) else { return };
    // Without lockdown, which would end it at once: what is left is what each query has for itself.
    let never =
        Settings { lockdown_after: Some(0), lockdown_unsolicited: Some(0), ..Settings::default() };
    // The gateway's own client: its address is where forged replies arrive.
    up_for_a_while(&network, &never);
    let address = network.servers_v4[0];
    let server = socket(&network.upstream, (address, 53));
    let forger = server.try_clone().unwrap();
    let ours = IpAddr::from([10, 53, 2, 1]);
    let client = socket(&network.gateway, SocketAddr::from(([0, 0, 0, 0], 44444)));
    let before = errors_sent(&network);
    let asked = Instant::now();
    let (flooding, mut good, mut to_tcp) = (AtomicBool::new(true), 0_u64, 0_u64);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            flood(&forger, ours, FORGED);
            flooding.store(false, Ordering::Relaxed);
        });
        let mut id = 0_u16;
        while flooding.load(Ordering::Relaxed) {
            id = id.wrapping_add(1);
            let asked = query(id, &format!("n{id}.flood.test"));
            client.send_to(&asked, (address, 53)).unwrap();
            let (seen, from) = await_next(&server);
            server.send_to(&reply(&seen), from).unwrap();
            let (answer, _) = await_next(&client);
            // By chance a forged reply hits the port of a query.
            if answer == reply(&asked) {
                good += 1;
            } else {
                assert_sends_to_tcp(&answer, &asked);
                to_tcp += 1;
            }
        }
    });
    println!("{good} good answers in {:?}, {to_tcp} sent to TCP", asked.elapsed());
    // The last of them may still be on their way. One that meets a query at the moment it leaves finds no
    // query of this server at first, and then one of some server.
    let all_forged = || {
        let there = installed(&network.gateway).unwrap();
        let near = [Counter::WrongId, Counter::WrongQuestion, Counter::WrongServer];
        [Counter::Forged].into_iter().chain(near).map(|counter| there.count(counter)).sum::<u64>()
    };
    eventually(|| all_forged() == FORGED);
    let there = installed(&network.gateway).unwrap();
    assert_eq!(there.count(Counter::Restored), good);
    assert_eq!(there.count(Counter::Truncated), to_tcp);
    assert_eq!(there.count(Counter::Salted), good + to_tcp);
    assert!(good > 100, "{good}");
    assert_eq!(errors_sent(&network), before, "no port is told closed");
    assert!(is_quiet(&client));
}

/// Forged replies to all ports, with all query IDs.
fn flood(forger: &UdpSocket, to: IpAddr, count: u64) {
    let mut message = reply(&query(0, "n1.flood.test"));
    for n in 0..count {
        let [.., a, b, c, d] = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        message[0] = a;
        message[1] = b;
        let port = u16::from_be_bytes([c, d]).max(1);
        while forger.send_to(&message, (to, port)).is_err() {
            std::thread::yield_now();
        }
    }
}

#[test]
fn without_the_engine_such_a_flood_is_answered_with_errors() {
    let Some(network) = network(&[]) else { return };
    let server = socket(&network.upstream, (network.servers_v4[0], 53));
    flood(&server, IpAddr::from([10, 53, 2, 1]), 100);
    let deadline = Instant::now() + Duration::from_secs(5);
    while errors_sent(&network) == 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(errors_sent(&network) > 0);
}

#[test]
fn errors_of_icmp_that_quote_nothing_are_dropped() {
    let Some(network) = network(&[]) else { return };
    up_for_a_while(&network, &Settings::default());
    let address = network.servers_v4[0];
    let client = client(&network, false);
    client.connect((address, 53)).unwrap();
    // The server is dead, and its host says so, but the query has been answered by then.
    let server = socket(&network.upstream, (address, 53));
    client.send(&query(1, "quote.test")).unwrap();
    let (seen, from) = await_next(&server);
    server.send_to(&reply(&seen), from).unwrap();
    await_next(&client);
    let before = count(&network, Counter::IcmpDropped);
    // Quotes port 44444, which the query did not leave from.
    network.upstream.run(move || icmp(address, "10.53.1.2".parse().unwrap(), 44444));
    // And the port that it did leave from, which is shut.
    let port = from.port();
    network.upstream.run(move || icmp(address, "10.53.1.2".parse().unwrap(), port));
    assert!(is_quiet(&client));
    assert_eq!(count(&network, Counter::IcmpDropped), before + 2);
    down(&network.gateway);
    network.upstream.run(move || icmp(address, "10.53.1.2".parse().unwrap(), 44444));
    let refused = client.recv(&mut [0; 512]).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

/// Sends "port unreachable" that quotes a query of this client to this server.
fn icmp(server: IpAddr, client: IpAddr, port: u16) {
    use rustix::net::{AddressFamily, SocketType, ipproto, sendto, socket};
    let (IpAddr::V4(from), IpAddr::V4(to)) = (client, server) else { unreachable!() };
    let mut packet = vec![3, 3, 0, 0, 0, 0, 0, 0];
    let quoted = [0x45, 0, 0, 60, 0, 0, 0, 0, 63, 17, 0, 0];
    packet.extend_from_slice(&quoted);
    packet.extend_from_slice(&from.octets());
    packet.extend_from_slice(&to.octets());
    packet.extend_from_slice(&port.to_be_bytes());
    packet.extend_from_slice(&[0, 53, 0, 40, 0, 0, 0, 1, 1, 0, 0, 1]);
    let sum: u32 = packet
        .chunks(2)
        .map(|two| u32::from(u16::from_be_bytes([two[0], *two.get(1).unwrap_or(&0)])))
        .sum();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    packet[2..4].copy_from_slice(&sum.to_be_bytes());
    let raw = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)).unwrap();
    let to: SocketAddr = (client, 0).into();
    sendto(&raw, &packet, rustix::net::SendFlags::empty(), &to).unwrap();
}
