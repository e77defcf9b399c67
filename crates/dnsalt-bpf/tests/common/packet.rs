//! Packets of DNS, made byte by byte with all their sums, and what of one may change on its way.

use std::net::{IpAddr, SocketAddr};

use dnsalt_wire::dns::Message;
use dnsalt_wire::ip::{Packet, UDP};
use dnsalt_wire::udp::Udp;

/// What is unusual about a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// IPv4: options behind the fixed header, in words. IPv6: a header of options for the destination.
    pub(crate) options: bool,
    /// No UDP checksum.
    pub(crate) unsummed: bool,
}

/// The sum of words of 16 bits, folded (RFC 1071).
fn sum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u32 = words
        .map(|two| u32::from(u16::from_be_bytes([two[0], two.get(1).copied().unwrap_or(0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The sum over a UDP datagram and its pseudo header: 0xffff if its checksum is right.
fn udp_sum(from: IpAddr, to: IpAddr, datagram: &[u8]) -> u16 {
    let length = u16::try_from(datagram.len()).unwrap().to_be_bytes();
    sum(&[&octets(from), &octets(to), &length, &[0, UDP], datagram])
}

/// An IP packet of a UDP datagram.
pub(crate) fn packet(from: SocketAddr, to: SocketAddr, payload: &[u8], shape: Shape) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    let head = [from.port(), to.port(), length, 0].map(u16::to_be_bytes);
    let mut datagram = [head.as_flattened(), payload].concat();
    if !shape.unsummed {
        let checksum = match !udp_sum(from.ip(), to.ip(), &datagram) {
            0 => 0xffff,
            sum => sum,
        };
        datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
    }
    let addresses = [octets(from.ip()), octets(to.ip())].concat();
    if from.is_ipv4() {
        // Router alert (RFC 2113), as if it were any option; no operation; end.
        let options: &[u8] = if shape.options { &[0x94, 4, 0, 0, 1, 1, 1, 0] } else { &[] };
        let header = 20 + u8::try_from(options.len()).unwrap();
        let total = (u16::from(header) + length).to_be_bytes();
        let fixed = [0x40 + header / 4, 0, total[0], total[1], 0x12, 0x34, 0, 0, 64, UDP, 0, 0];
        let mut ip = [&fixed[..], &addresses, options].concat();
        let checksum = !sum(&[&ip]);
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());
        return [ip, datagram].concat();
    }
    // Of 8 bytes, filled up with PadN (RFC 8200 section 4.2).
    let options: &[u8] = if shape.options { &[UDP, 0, 1, 4, 0, 0, 0, 0] } else { &[] };
    let next = if shape.options { 60 } else { UDP };
    let below = (u16::try_from(options.len()).unwrap() + length).to_be_bytes();
    let fixed = [0x60, 0, 0, 0, below[0], below[1], next, 64];
    [&fixed[..], &addresses, options, &datagram].concat()
}

/// What a packet of DNS shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) id: u16,
    /// The message.
    pub(crate) dns: Vec<u8>,
    /// Where in the packet the UDP header begins.
    pub(crate) transport: usize,
}

/// Reads a packet; none if it is not DNS over UDP. All its sums have to be right; a UDP checksum may be
/// missing in IPv4 alone.
pub(crate) fn shown(bytes: &[u8]) -> Option<Shown> {
    let ip = Packet::parse(bytes).ok()?;
    let carried = ip.transport();
    if carried.protocol != UDP {
        return None;
    }
    let udp = Udp::parse(carried.payload).ok()?;
    if udp.src_port() != 53 && udp.dst_port() != 53 {
        return None;
    }
    let missing = carried.payload[6..8] == [0, 0];
    assert!(!missing || ip.src().is_ipv4(), "a packet in IPv6 without a checksum: {bytes:x?}");
    let checked = missing || udp_sum(ip.src(), ip.dst(), carried.payload) == 0xffff;
    assert!(checked, "the UDP checksum is wrong: {bytes:x?}");
    let header = 4 * usize::from(bytes[0] & 0xf);
    let checked = ip.src().is_ipv6() || sum(&[&bytes[..header]]) == 0xffff;
    assert!(checked, "the checksum of the IP header is wrong: {bytes:x?}");
    Some(Shown {
        from: SocketAddr::new(ip.src(), udp.src_port()),
        to: SocketAddr::new(ip.dst(), udp.dst_port()),
        id: Message::parse(udp.payload()).ok()?.id(),
        dns: udp.payload().to_vec(),
        transport: carried.payload.as_ptr() as usize - bytes.as_ptr() as usize,
    })
}

/// A packet without what the engine changes: one of the ports, the UDP checksum if there is one, the query
/// ID, and the case of letters behind the DNS header.
pub(crate) fn unsalted(mut bytes: Vec<u8>, transport: usize, port: usize) -> Vec<u8> {
    bytes[transport + port..][..2].fill(0);
    if bytes[transport + 6..][..2] != [0, 0] {
        bytes[transport + 6..][..2].fill(0xff);
    }
    bytes[transport + 8..][..2].fill(0);
    bytes[transport + 20..].make_ascii_lowercase();
    bytes
}

/// Where the source port stands in a UDP header.
pub(crate) const SOURCE: usize = 0;
/// Where the destination port stands.
pub(crate) const DESTINATION: usize = 2;
