//! A gateway of the lab with the engine on it, clients that check every answer, and servers of which
//! each test makes what it wants.

// Each test file uses some of it.
#![allow(dead_code)]

pub(crate) mod packet;

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use dnsalt_bpf::{Hook, Installed};
use dnsalt_lab::topology::{Gateway, gateway};
use dnsalt_lab::{Host, require, require_root};
use dnsalt_policy::Settings;
use dnsalt_salt::layout::Counter;
use dnsalt_wire::dns::{Message, Query, rrtype, write_query};

pub(crate) const BPFFS: &str = "/run/bpf";

/// None, with its reason printed, where there can be no hosts.
pub(crate) fn network(programs: &[&str]) -> Option<Gateway> {
    let needed = require_root().and_then(|()| require(&[&["ip", "tc"], programs].concat()));
    needed.inspect_err(|skip| println!("skipped: {skip}")).ok()?;
    let network = gateway().unwrap();
    network
        .gateway
        .sh("mount -t tmpfs tmpfs /run; mkdir /run/bpf; mount -t bpf bpf /run/bpf")
        .unwrap();
    Some(network)
}

/// What can hold programs in this kernel; what cannot is named, once for each test that asks.
pub(crate) fn hooks() -> Vec<Hook> {
    if Hook::of_kernel() == Hook::Tcx {
        return vec![Hook::Tcx, Hook::Clsact];
    }
    println!("skipped: the half with tcx, which Linux has since 6.6");
    vec![Hook::Clsact]
}

/// Installs the engine on the outer interface.
pub(crate) fn up(network: &Gateway, settings: &Settings) {
    up_on(&network.gateway, "wan0", Hook::of_kernel(), settings);
}

/// The same on any interface of any host that has a bpffs.
pub(crate) fn up_on(host: &Host, interface: &'static str, hook: Hook, settings: &Settings) {
    let policy = settings.clone().resolve().unwrap();
    host.run(move || {
        dnsalt_bpf::install(Path::new(BPFFS), &policy, &[interface.to_owned()], hook).unwrap();
    });
}

/// Installed, and past the time in which replies to what was asked before are let through.
pub(crate) fn up_for_a_while(network: &Gateway, settings: &Settings) {
    up_on_for_a_while(&network.gateway, "wan0", Hook::of_kernel(), settings);
}

/// The same on any interface of any host that has a bpffs.
pub(crate) fn up_on_for_a_while(
    host: &Host,
    interface: &'static str,
    hook: Hook,
    settings: &Settings,
) {
    let short = Settings { lifetime: Some(1), ..settings.clone() };
    up_on(host, interface, hook, &short);
    std::thread::sleep(Duration::from_millis(1100));
    up_on(host, interface, hook, settings);
}

pub(crate) fn down(host: &Host) {
    host.run(|| dnsalt_bpf::remove(Path::new(BPFFS)).unwrap());
}

pub(crate) fn installed(host: &Host) -> Option<Installed> {
    host.run(|| dnsalt_bpf::installed(Path::new(BPFFS)).unwrap())
}

/// What the engine on the gateway counted of one kind.
pub(crate) fn count(network: &Gateway, counter: Counter) -> u64 {
    installed(&network.gateway).unwrap().count(counter)
}

/// Checksums of resolver and server: that the card is to finish them (on), or that they are finished (off).
pub(crate) fn set_offload(network: &Gateway, offload: &str) {
    for host in [&network.resolver, &network.upstream] {
        host.sh(&format!("ethtool -K eth0 tx {offload}")).unwrap();
    }
}

/// Whether the client is told at once that nobody listens where it asks.
pub(crate) fn is_refused(network: &Gateway, server: IpAddr) -> bool {
    let client = client(network, server.is_ipv6());
    client.connect((server, 53)).unwrap();
    client.send(&query(1, "dead.test")).unwrap();
    client.recv(&mut [0; 512]).unwrap_err().kind() == ErrorKind::ConnectionRefused
}

/// Asks, and gives what the server saw, and from where.
pub(crate) fn asked(
    client: &UdpSocket,
    server: &UdpSocket,
    at: IpAddr,
    query: &[u8],
) -> (Vec<u8>, SocketAddr) {
    client.send_to(query, (at, 53)).unwrap();
    await_next(server)
}

/// A socket of a host, with patience. A program that another test starts at the moment has the sockets
/// that were open until it runs: so the port may not be free yet.
pub(crate) fn socket(host: &Host, address: impl Into<SocketAddr>) -> UdpSocket {
    let address = address.into();
    let deadline = Instant::now() + Duration::from_secs(5);
    let socket = host.run(move || {
        loop {
            match UdpSocket::bind(address) {
                Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                bound => return bound.unwrap(),
            }
        }
    });
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

/// A socket of the resolver, bound to port 44444.
pub(crate) fn client(network: &Gateway, v6: bool) -> UdpSocket {
    let any: SocketAddr = if v6 { "[::]:44444" } else { "0.0.0.0:44444" }.parse().unwrap();
    socket(&network.resolver, any)
}

/// A query as it is on the wire.
pub(crate) fn query(id: u16, name: &str) -> Vec<u8> {
    let mut buffer = [0; 600];
    let query = Query { id, recursion_desired: true, name, qtype: rrtype::A };
    let length = write_query(&mut buffer, &query).unwrap();
    buffer[..length].to_vec()
}

/// The reply to a query: its question, and an answer of 192.0.2.80.
pub(crate) fn reply(query: &[u8]) -> Vec<u8> {
    let mut reply = query.to_vec();
    reply[2] |= 0x80;
    reply[7] = 1;
    reply.extend_from_slice(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x50");
    reply
}

/// The same with another query ID.
pub(crate) fn with_id(mut message: Vec<u8>, id: u16) -> Vec<u8> {
    message[..2].copy_from_slice(&id.to_be_bytes());
    message
}

/// What comes next; none if nothing does for a while.
pub(crate) fn next(socket: &UdpSocket, patience: Duration) -> Option<(Vec<u8>, SocketAddr)> {
    let mut buffer = [0; 4096];
    socket.set_read_timeout(Some(patience)).unwrap();
    match socket.recv_from(&mut buffer) {
        Ok((length, from)) => Some((buffer[..length].to_vec(), from)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        Err(error) => panic!("{error}"),
    }
}

/// What comes next, and has to.
pub(crate) fn await_next(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    next(socket, Duration::from_secs(5)).expect("a packet within 5 seconds")
}

/// Whether nothing comes.
pub(crate) fn is_quiet(socket: &UdpSocket) -> bool {
    next(socket, Duration::from_millis(200)).is_none()
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn eventually(mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !so() {
        assert!(Instant::now() < deadline, "not within 5 seconds");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Asks and waits; the ID and the question have to be those that were asked.
pub(crate) fn ask(socket: &UdpSocket, server: IpAddr, id: u16, name: &str) {
    socket.send_to(&query(id, name), (server, 53)).unwrap();
    let (answer, from) = await_next(socket);
    let answer = Message::parse(&answer).unwrap();
    assert_eq!(from, SocketAddr::new(server, 53));
    assert_eq!((answer.id(), answer.is_response(), answer.is_truncated()), (id, true, false));
    assert_eq!(answer.question().unwrap().name.to_string(), format!("{name}."));
}
