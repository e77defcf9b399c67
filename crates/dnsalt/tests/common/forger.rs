//! An attacker off the path: whole frames from the upstream host to the gateway, from any address.

use std::net::{IpAddr, SocketAddr};

use dnsalt_lab::Host;
use dnsalt_lab::actor::Frames;
use dnsalt_lab::topology::Gateway;

/// UDP, in an IP header.
const UDP: u8 = 17;
/// A header of IPv6 that says nothing: destination options with padding (RFC 8200 section 4.6).
const NOTHING: [u8; 8] = [UDP, 0, 1, 4, 0, 0, 0, 0];

/// It sends by the upstream host's wire to the gateway's outer interface.
pub(crate) struct Forger {
    frames: Frames,
    /// Destination, source.
    macs: Vec<u8>,
}

impl Forger {
    pub(crate) fn new(net: &Gateway) -> Self {
        let macs = [mac(&net.gateway, "wan0"), mac(&net.upstream, "eth0")].concat();
        Forger { frames: Frames::open(&net.upstream, "eth0").unwrap(), macs }
    }

    /// A datagram from whoever to whomever.
    pub(crate) fn send(&self, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        self.frame(&packet(from, to, &[], payload));
    }

    /// The same in IPv6, with another header in front of UDP.
    pub(crate) fn send_behind_options(&self, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        self.frame(&packet(from, to, &NOTHING, payload));
    }

    fn frame(&self, packet: &[u8]) {
        let ethertype: [u8; 2] = if packet[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] };
        self.frames.send(&[&self.macs, &ethertype[..], packet].concat()).unwrap();
    }
}

fn mac(host: &Host, interface: &str) -> Vec<u8> {
    let text = host.sh(&format!("cat /sys/class/net/{interface}/address")).unwrap();
    text.trim().split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn packet(from: SocketAddr, to: SocketAddr, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    let mut udp = [from.port(), to.port(), length, 0].map(u16::to_be_bytes).concat();
    udp.extend_from_slice(payload);
    let addresses = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
        (IpAddr::V6(from), IpAddr::V6(to)) => [from.octets(), to.octets()].concat(),
        _ => panic!("{from} and {to} are of two families"),
    };
    let pseudo = [&addresses[..], &length.to_be_bytes(), &[0, UDP], &udp].concat();
    udp[6..8].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    let mut head = if from.is_ipv4() {
        let mut head = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, UDP, 0, 0];
        head[2..4].copy_from_slice(&(20 + length).to_be_bytes());
        let sum = checksum(&[&head[..], &addresses].concat());
        head[10..12].copy_from_slice(&sum.to_be_bytes());
        head
    } else {
        let behind = length + u16::try_from(options.len()).unwrap();
        let next = if options.is_empty() { UDP } else { 60 };
        [&[0x60, 0, 0, 0], &behind.to_be_bytes()[..], &[next, 64]].concat()
    };
    head.extend_from_slice(&addresses);
    head.extend_from_slice(options);
    [head, udp].concat()
}

/// RFC 1071; 0 would mean none (RFC 768).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| [word[0], word.get(1).copied().unwrap_or(0)]);
    let mut sum: u32 = words.map(|word| u32::from(u16::from_be_bytes(word))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    match !u16::try_from(sum).unwrap() {
        0 => 0xffff,
        some => some,
    }
}
