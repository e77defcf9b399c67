//! Questions pass the gateway, and the servers see who asked.

mod common;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use dnsalt_lab::actor::DnsServer;
use dnsalt_lab::topology;

const PORT: u16 = 44444;

/// `www.test A` with an OPT record of 1232 bytes.
fn query(id: u16) -> Vec<u8> {
    let mut query = id.to_be_bytes().to_vec();
    query.extend_from_slice(b"\x01\0\0\x01\0\0\0\0\0\x01\x03www\x04test\0\0\x01\0\x01");
    query.extend_from_slice(b"\0\0\x29\x04\xd0\0\0\0\0\0\0");
    query
}

/// The socket before may live a moment longer: in a child of the other test, until it is `sh`.
fn bind(address: &'static str) -> UdpSocket {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match UdpSocket::bind((address, PORT)) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            result => return result.unwrap(),
        }
    }
}

#[test]
fn the_resolver_asks_all_servers() {
    if !common::can_run() {
        return;
    }
    let net = topology::gateway().unwrap();
    let addresses = net.servers();
    let server = DnsServer::start(&net.upstream, &addresses).unwrap();
    for (id, &address) in (1..).zip(&addresses) {
        let own = if address.is_ipv4() { "10.53.1.2" } else { "fd53:1::2" };
        let socket = net.resolver.run(move || bind(own));
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        socket.send_to(&query(id), (address, 53)).unwrap();
        let mut reply = [0; 512];
        let (length, peer) = socket.recv_from(&mut reply).unwrap();
        assert_eq!(peer, SocketAddr::new(address, 53));
        assert_eq!(reply[..2], id.to_be_bytes());
        assert!(reply[..length].windows(4).any(|bytes| bytes == [192, 0, 2, 80]));
        let seen = server.take_seen();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].peer, SocketAddr::new(own.parse().unwrap(), PORT));
        assert_eq!((seen[0].server, seen[0].tcp, seen[0].id), (address, false, id));

        let mut stream = net.resolver.run(move || TcpStream::connect((address, 53)).unwrap());
        let query = query(id);
        let framed = [&u16::try_from(query.len()).unwrap().to_be_bytes(), &query[..]].concat();
        stream.write_all(&framed).unwrap();
        let mut head = [0; 4];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(head[2..], id.to_be_bytes());
        assert!(server.take_seen()[0].tcp);
    }
}

#[test]
fn an_opt_record_is_answered_with_one() {
    if !common::can_run() {
        return;
    }
    let net = topology::gateway().unwrap();
    let _server = DnsServer::start(&net.upstream, &net.servers_v4).unwrap();
    let socket = net.resolver.run(|| UdpSocket::bind("10.53.1.2:0").unwrap());
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket.send_to(&query(9), (net.servers_v4[0], 53)).unwrap();
    let mut reply = [0; 512];
    socket.recv(&mut reply).unwrap();
    assert_eq!(reply[10..12], [0, 1], "ARCOUNT");
}
