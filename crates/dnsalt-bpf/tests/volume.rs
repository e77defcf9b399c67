//! A million queries as fast as they go: none is lost, none gets the answer of another, and the judge
//! finds nothing in what the servers saw.

mod common;

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use common::{down, installed, network, query, reply, socket, up};
use dnsalt_audit::attack::Attacker;
use dnsalt_audit::judge::Scratch;
use dnsalt_audit::judgement::{Judgement, Terms, judge_series};
use dnsalt_audit::predict::Effort;
use dnsalt_audit::series::Series;
use dnsalt_lab::topology::Gateway;
use dnsalt_policy::{DEFAULT_AVOID, Settings};
use dnsalt_salt::layout::Counter;

/// Queries that a client has outstanding: with those of all clients, fewer than fill the buffer of a
/// server's socket.
const WINDOW: u32 = 32;
/// Where the number of a query stands in the message: in hexadecimal digits, in its name.
const NUMBER: std::ops::Range<usize> = 13..21;

/// What a server saw of a query.
#[derive(Clone, Copy)]
struct Seen {
    time: Duration,
    client: IpAddr,
    server: u32,
    port: u16,
    id: u16,
    question: u32,
}

/// A client: asks from one socket, all of them from the same port and with the same IDs.
struct Client {
    socket: UdpSocket,
    number: u32,
    count: u32,
}

impl Client {
    /// Asks for names that nobody else asks for, a window at a time; each answer has to be of one of
    /// them, with its ID and its question.
    fn asks(&self) {
        let mut number = 0;
        while number < self.count {
            let window = WINDOW.min(self.count - number);
            let mut open: Vec<Vec<u8>> = (number..number + window).map(|n| self.query(n)).collect();
            for query in &open {
                self.socket.send(query).expect("it is sent");
            }
            let mut buffer = [0; 512];
            while !open.is_empty() {
                let length = self.socket.recv(&mut buffer).unwrap_or_else(|error| {
                    panic!(
                        "client {}: no answer to {} of {window}: {error}",
                        self.number,
                        open.len()
                    )
                });
                let answer = &buffer[..length];
                let place = open.iter().position(|query| query[..2] == answer[..2]);
                let query = open.swap_remove(place.expect("an answer with an ID that is open"));
                assert_eq!(answer, reply(&query), "client {}", self.number);
            }
            number += window;
        }
        let more = self.socket.set_nonblocking(true).and_then(|()| self.socket.recv(&mut [0; 512]));
        assert!(more.is_err(), "an answer that nobody asked for");
    }

    fn query(&self, number: u32) -> Vec<u8> {
        let [.., a, b] = number.to_be_bytes();
        query(u16::from_be_bytes([a, b]), &format!("{:08x}.test", self.number << 24 | number))
    }
}

/// Answers until it has seen so many; what it saw.
fn serves(socket: &UdpSocket, server: u32, count: u32, start: Instant) -> Vec<Seen> {
    let mut all = Vec::new();
    let mut buffer = [0; 512];
    while all.len() < count as usize {
        let (length, from) = socket.recv_from(&mut buffer).expect("all queries arrive");
        let query = &buffer[..length];
        let number = std::str::from_utf8(&query[NUMBER]).unwrap();
        all.push(Seen {
            time: start.elapsed(),
            client: from.ip(),
            server,
            port: from.port(),
            id: u16::from_be_bytes([query[0], query[1]]),
            question: u32::from_str_radix(number, 16).unwrap(),
        });
        socket.send_to(&reply(query), from).expect("it is sent");
    }
    all
}

/// Who asks: two addresses of each family, each from two ports.
const ADDRESSES: [[&str; 2]; 2] = [["10.53.1.2", "10.53.1.3"], ["fd53:1::2", "fd53:1::3"]];
const PORTS: [u16; 2] = [44444, 44445];

/// Asks two servers, one of each family, so often in all; what was seen, in the order of time.
fn asked(network: &Gateway, total: u32) -> Vec<Seen> {
    let servers = [network.servers_v4[0], network.servers_v6[0]];
    let sockets = servers.map(|server| socket(&network.upstream, (server, 53)));
    let mut clients = Vec::new();
    for (addresses, server) in ADDRESSES.into_iter().zip(servers) {
        for (address, port) in addresses.into_iter().flat_map(|a| PORTS.map(|port| (a, port))) {
            let number = u32::try_from(clients.len()).unwrap();
            let socket = socket(&network.resolver, (address.parse::<IpAddr>().unwrap(), port));
            socket.connect(SocketAddr::new(server, 53)).unwrap();
            clients.push(Client { socket, number, count: total / 8 });
        }
    }
    let start = Instant::now();
    let mut all = std::thread::scope(|scope| {
        let serving: Vec<_> = sockets
            .iter()
            .zip(0..)
            .map(|(socket, server)| scope.spawn(move || serves(socket, server, total / 2, start)))
            .collect();
        for client in &clients {
            scope.spawn(|| client.asks());
        }
        serving.into_iter().flat_map(|server| server.join().unwrap()).collect::<Vec<_>>()
    });
    println!("{total} queries in {:?}", start.elapsed());
    all.sort_by_key(|seen| seen.time);
    all
}

/// What the judge says of a resolver that asks so.
fn judged<'a>(seen: impl IntoIterator<Item = &'a Seen>) -> Judgement {
    let mut series = Series::default();
    for one in seen {
        let time = u64::try_from(one.time.as_nanos()).unwrap();
        series.push(time, one.server, one.port, one.id, one.question);
    }
    let terms = Terms { attacker: Attacker::default(), effort: Effort::Normal, min_entropy: false };
    judge_series(&series, terms, &mut Scratch::default())
}

/// The lab's network, with another address for clients.
fn with_two_clients() -> Option<Gateway> {
    let network = network(&[])?;
    network.resolver.address("eth0", "10.53.1.3/24").unwrap();
    network.resolver.address("eth0", "fd53:1::3/64").unwrap();
    Some(network)
}

#[test]
fn a_million_queries_come_through_and_nothing_is_found_in_them() {
    const TOTAL: u32 = 1_000_000;
    let Some(network) = with_two_clients() else { return };
    up(&network, &Settings::default());
    let seen = asked(&network, TOTAL);
    let there = installed(&network.gateway).unwrap();
    let is_letters = |counter| counter == Counter::CasedLetters;
    let counted = Counter::ALL.into_iter().filter(|c| there.count(*c) > 0 && !is_letters(*c));
    let counted: Vec<_> = counted.map(|counter| (counter, there.count(counter))).collect();
    let total = u64::from(TOTAL);
    let all = [Counter::Salted, Counter::Restored, Counter::Cased];
    assert_eq!(counted, all.map(|counter| (counter, total)));
    assert!(there.count(Counter::CasedLetters) > 4 * total);

    let ports: HashSet<u16> = seen.iter().map(|one| one.port).collect();
    let ids: HashSet<u16> = seen.iter().map(|one| one.id).collect();
    // All that are allowed: one of 64,508 ports is missing in the mean of 84 runs.
    assert!(ports.iter().all(|port| *port >= 1024 && !DEFAULT_AVOID.contains(port)));
    assert!(ports.len() >= 64_508 - 3, "{}", ports.len());
    assert!(ids.len() >= 65_536 - 3, "{}", ids.len());

    // As one whom both servers see, and single clients.
    let single = |text: &str| {
        let client: IpAddr = text.parse().unwrap();
        judged(seen.iter().filter(|one| one.client == client).take(100_000))
    };
    let judgements = std::thread::scope(|scope| {
        let all = scope.spawn(|| judged(&seen));
        let [a, b] = ADDRESSES.map(|[first, _]| single(first));
        [all.join().unwrap(), a, b]
    });
    for (judgement, sample) in judgements.into_iter().zip([1_000_000, 100_000, 100_000]) {
        assert_eq!(judgement.sample, sample);
        assert!(judgement.findings.is_empty(), "{judgement:#?}");
    }
}

#[test]
fn ports_stay_within_what_is_allowed() {
    let Some(network) = with_two_clients() else { return };
    let ports = |settings: &Settings| {
        up(&network, settings);
        let seen = asked(&network, 40_000);
        down(&network.gateway);
        seen.iter().map(|one| one.port).collect::<HashSet<u16>>()
    };
    let range = Settings { ports: Some("20000-20999".parse().unwrap()), ..Settings::default() };
    // e^-40 is the chance that one is missing.
    assert_eq!(ports(&range), (20_000..=20_999).collect());
    let avoid = ["20000-20099", "20500", "20900-20999"].map(|range| range.parse().unwrap());
    let holes = Settings { avoid: Some(avoid.to_vec()), ..range };
    assert_eq!(ports(&holes), (20_100..20_900).filter(|port| *port != 20_500).collect());
}
