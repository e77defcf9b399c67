//! Captures, made byte by byte.

use std::path::Path;

use dnsalt_wire::dns::{Query, rrtype, write_query};

/// A DNS packet over UDP.
#[derive(Clone)]
pub(crate) struct Packet {
    /// Nanoseconds since 1970.
    pub(crate) time: u64,
    pub(crate) client: [u8; 4],
    pub(crate) server: [u8; 4],
    pub(crate) port: u16,
    pub(crate) id: u16,
    pub(crate) name: String,
    pub(crate) reply: bool,
}

impl Packet {
    /// A query of a client to 192.0.2.53.
    pub(crate) fn query(time: u64, client: u8, port: u16, id: u16) -> Self {
        Packet {
            time,
            client: [10, 0, 0, client],
            server: [192, 0, 2, 53],
            port,
            id,
            name: format!("q{time}.example.test"),
            reply: false,
        }
    }

    /// The right reply, half a millisecond later.
    pub(crate) fn answered(&self) -> Self {
        Packet { time: self.time + 500_000, reply: true, ..self.clone() }
    }

    /// From the first byte of the IP header on.
    pub(crate) fn ip(&self) -> Vec<u8> {
        let mut dns = [0; 512];
        let query =
            Query { id: self.id, recursion_desired: true, name: &self.name, qtype: rrtype::A };
        let length = write_query(&mut dns, &query).unwrap();
        if self.reply {
            dns[2] |= 0x80;
        }
        let mut bytes = vec![0x45, 0];
        let total = u16::try_from(28 + length).unwrap();
        bytes.extend_from_slice(&total.to_be_bytes());
        bytes.extend_from_slice(&[0, 0, 0, 0, 64, 17, 0, 0]);
        let (from, to) =
            if self.reply { (self.server, self.client) } else { (self.client, self.server) };
        bytes.extend_from_slice(&from);
        bytes.extend_from_slice(&to);
        let (from, to) = if self.reply { (53, self.port) } else { (self.port, 53) };
        for word in [from, to, total - 20, 0] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        bytes.extend_from_slice(&dns[..length]);
        bytes
    }
}

/// A pcap of raw IP with nanoseconds.
pub(crate) fn pcap(packets: &[Packet]) -> Vec<u8> {
    let mut bytes =
        vec![0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0];
    for packet in packets {
        let data = packet.ip();
        let length = u32::try_from(data.len()).unwrap();
        let seconds = u32::try_from(packet.time / 1_000_000_000).unwrap();
        let rest = u32::try_from(packet.time % 1_000_000_000).unwrap();
        for word in [seconds, rest, length, length] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&data);
    }
    bytes
}

/// Writes one.
pub(crate) fn write(path: &Path, packets: &[Packet]) {
    std::fs::write(path, pcap(packets)).unwrap();
}

/// Numbers that are good enough to be taken for random (`SplitMix64`).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub(crate) fn id(&mut self) -> u16 {
        u16::try_from(self.next() >> 48).unwrap()
    }

    pub(crate) fn port(&mut self) -> u16 {
        1024 + u16::try_from(self.next() % 64_512).unwrap()
    }
}
