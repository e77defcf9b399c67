//! Packets for tests that look at little of them.

use dnsalt_model::packet::{Datagram, Seen, read};

/// A packet with an Ethernet header, whose sums nobody looks at.
pub(crate) fn packet(from: [u8; 4], to: [u8; 4], ports: [u16; 2], dns: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + dns.len()).unwrap();
    let total = (20 + length).to_be_bytes();
    let udp = [ports[0], ports[1], length, 0].map(u16::to_be_bytes);
    let mut packet = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    packet.extend_from_slice(&[0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend_from_slice(&[from, to].concat());
    packet.extend_from_slice(udp.as_flattened());
    packet.extend_from_slice(dns);
    packet
}

/// What there is of DNS in a packet.
pub(crate) fn dns(packet: &[u8]) -> Datagram {
    match read(packet) {
        Seen::Udp(_, Some(dns)) => dns,
        other => panic!("{other:?}"),
    }
}
