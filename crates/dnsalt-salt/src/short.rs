//! The answer that sends a client to TCP: its question, with TC=1 and no records (RFC 2181 section 9).
//!
//! It is made in place, of a reply that comes in or of a query that leaves: the question stays where it
//! is, the headers before it are written anew, and what is behind it is cut off.
//!
//! ```text
//!   | IP header | UDP | DNS header | question |
//!     written     written            kept
//! ```

use crate::Address;
use crate::case::sum_of as sum;
use crate::head::{DNS_HEADER, Dns, Head, Ip, UDP_HEADER};
use crate::question::Question;

/// QR and TC.
const REPLY_AND_TC: u16 = 0x8200;
/// RA.
const RECURSION_AVAILABLE: u16 = 0x0080;
/// What is kept of the flags: opcode and RD.
const KEPT: u16 = 0x7900;
const DONT_FRAGMENT: u64 = 0x40;
const HOPS: u64 = 64;
const UDP: u64 = 17;

/// Where the answer comes from and goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Who seems to send it.
    pub src: Address,
    /// From which port.
    pub src_port: u16,
    /// Whom it is for.
    pub dst: Address,
    /// To which port.
    pub dst_port: u16,
    /// With which query ID.
    pub id: u16,
}

/// The headers, in words as [`Head::word`] has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Short {
    /// The IP header: 20 bytes of it for IPv4, 40 for IPv6.
    pub ip: [u64; 5],
    /// UDP header and DNS header, 20 bytes of it.
    pub transport: [u64; 3],
    /// Bytes of the whole packet, from the IP header on.
    pub length: u32,
}

/// Makes the headers for a packet without IP options, whose question is known.
#[inline(always)]
pub fn short(head: &Head, ip: &Ip, dns: &Dns, question: &Question, way: &Way) -> Short {
    let length = UDP_HEADER + DNS_HEADER + usize::from(question.length);
    let udp_length = length as u16;
    let flags = dns.flags & KEPT | REPLY_AND_TC | RECURSION_AVAILABLE;
    let mut short = Short {
        transport: [
            le(way.src_port) | le(way.dst_port) << 16 | le(udp_length) << 32,
            le(way.id) | le(flags) << 16 | le(1) << 32,
            0,
        ],
        ..Short::default()
    };
    let pseudo = pseudo_header(way.src, way.dst, udp_length);
    // The card, or nobody, adds the rest of the sum, if that was so before.
    let unfinished = fold(pseudo_header(ip.src, ip.dst, raw_length(head, ip)));
    let check = if (head.word(ip.transport) >> 48) as u16 == unfinished {
        fold(pseudo)
    } else {
        let headers = sum(short.transport[0]) + sum(short.transport[1]);
        let at = dns.message + DNS_HEADER;
        match !fold(pseudo + headers + sum_of(head, at, usize::from(question.length))) {
            // 0 would say that there is no checksum (RFC 768).
            0 => 0xffff,
            check => check,
        }
    };
    short.transport[0] |= u64::from(check) << 48;
    if ip.v6 {
        short.ip = v6(head, way, udp_length);
        short.length = u32::from(udp_length) + 40;
    } else {
        short.ip = v4(head, way, udp_length + 20);
        short.length = u32::from(udp_length) + 20;
    }
    short
}

/// The length of the datagram by its own header.
#[inline(always)]
fn raw_length(head: &Head, ip: &Ip) -> u16 {
    head.be16(ip.transport + 4)
}

/// A number as it stands in a word: most significant byte first.
#[inline(always)]
fn le(number: u16) -> u64 {
    u64::from(number.swap_bytes())
}

#[inline(always)]
fn v4(head: &Head, way: &Way, total: u16) -> [u64; 5] {
    let mut words = [
        // Version, length, type of service; total length, identification.
        head.word(0) & 0x0000_0000_0000_ff00
            | 0x45
            | le(total) << 16
            | head.word(0) & 0xffff << 32
            | DONT_FRAGMENT << 48,
        HOPS | UDP << 8 | way.src.low >> 32 << 32,
        way.dst.low >> 32,
        0,
        0,
    ];
    let check = !fold(sum(words[0]) + sum(words[1]) + sum(words[2]));
    words[1] |= u64::from(check) << 16;
    words
}

#[inline(always)]
fn v6(head: &Head, way: &Way, length: u16) -> [u64; 5] {
    [
        // Version, class and flow label are kept.
        head.word(0) & 0xffff_ffff | le(length) << 32 | UDP << 48 | HOPS << 56,
        way.src.high,
        way.src.low,
        way.dst.high,
        way.dst.low,
    ]
}

/// What a checksum of UDP has in it beside the datagram (RFC 768, RFC 8200 section 8.1). The prefix of
/// an IPv4 address as IPv6 maps it adds nothing in sums of ones' complement.
#[inline(always)]
fn pseudo_header(src: Address, dst: Address, length: u16) -> u64 {
    sum(src.high) + sum(src.low) + sum(dst.high) + sum(dst.low) + le(length) + (UDP << 8)
}

/// Of bytes in the buffer, at most those of a question.
#[inline(always)]
fn sum_of(head: &Head, start: usize, length: usize) -> u64 {
    let (mut at, mut left, mut total) = (start, length, 0);
    for _ in 0..33 {
        if left < 8 {
            break;
        }
        total += sum(head.word(at));
        at += 8;
        left -= 8;
    }
    total + sum(head.word(at) & !(u64::MAX << (8 * (left as u32 & 7))))
}

/// A sum in ones' complement.
#[inline(always)]
fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::{self, HEAD};
    use crate::question::question;
    use std::net::IpAddr;
    use std::vec::Vec;

    /// A checksum from scratch.
    fn plain_sum(bytes: &[u8]) -> u16 {
        let word = |two: &[u8]| u32::from(two[0]) << 8 | u32::from(*two.get(1).unwrap_or(&0));
        let mut sum: u32 = bytes.chunks(2).map(word).sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    fn pseudo_bytes(src: IpAddr, dst: IpAddr, udp: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for address in [src, dst] {
            match address {
                IpAddr::V4(v4) => bytes.extend_from_slice(&v4.octets()),
                IpAddr::V6(v6) => bytes.extend_from_slice(&v6.octets()),
            }
        }
        bytes.extend_from_slice(&[0, 17]);
        bytes.extend_from_slice(&(udp.len() as u16).to_be_bytes());
        bytes
    }

    fn packet(src: IpAddr, dst: IpAddr, finished: bool) -> Vec<u8> {
        let mut udp = b"\xad\x9c\0\x35\0\0\0\0\x12\x34\x01\x20\0\x01\0\0\0\0\0\x01\x03wWw\x04test\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0".to_vec();
        let length = udp.len() as u16;
        udp[4..6].copy_from_slice(&length.to_be_bytes());
        let pseudo = pseudo_bytes(src, dst, &udp);
        let check =
            if finished { !plain_sum(&[&pseudo[..], &udp].concat()) } else { plain_sum(&pseudo) };
        udp[6..8].copy_from_slice(&check.to_be_bytes());
        let mut ip = match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let mut ip = b"\x45\x04\0\0\xab\xcd\x20\0\x40\x11\0\0".to_vec();
                ip[2..4].copy_from_slice(&(length + 20).to_be_bytes());
                ip.extend_from_slice(&src.octets());
                ip.extend_from_slice(&dst.octets());
                ip
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let mut ip = b"\x60\x12\x34\x56\0\0\x11\x40".to_vec();
                ip[4..6].copy_from_slice(&length.to_be_bytes());
                ip.extend_from_slice(&src.octets());
                ip.extend_from_slice(&dst.octets());
                ip
            }
            _ => unreachable!(),
        };
        ip.extend_from_slice(&udp);
        ip
    }

    /// What the kernel makes of the packet: headers written, the rest cut off.
    fn shortened(packet: &[u8], swapped: bool) -> Vec<u8> {
        let head = Head::of(packet);
        let length = packet.len().min(HEAD);
        let ip = head::ip(&head, 0, length).unwrap();
        let dns = head::dns(&head, &ip, length).unwrap();
        let asked = question(&head, &dns, [1, 2]);
        let (src, dst) = if swapped { (ip.dst, ip.src) } else { (ip.src, ip.dst) };
        let way = Way { src, src_port: 53, dst, dst_port: 44444, id: 0x4321 };
        let short = short(&head, &ip, &dns, &asked, &way);
        let bytes = |words: &[u64]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
        let ip_length = if ip.v6 { 40 } else { 20 };
        let mut made = packet.to_vec();
        made[..ip_length].copy_from_slice(&bytes(&short.ip)[..ip_length]);
        made[ip.transport..ip.transport + 20].copy_from_slice(&bytes(&short.transport)[..20]);
        made.truncate(short.length as usize);
        made
    }

    #[test]
    fn both_families_with_sums_that_are_right() {
        let pairs = [["192.0.2.1", "198.51.100.53"], ["2001:db8::1", "2001:db8:1::53"]];
        for [src, dst] in pairs.map(|pair| pair.map(|text| text.parse::<IpAddr>().unwrap())) {
            for (swapped, finished) in [(false, true), (true, true), (false, false), (true, false)]
            {
                let made = shortened(&packet(src, dst, finished), swapped);
                let (from, to) = if swapped { (dst, src) } else { (src, dst) };
                let parsed = dnsalt_wire::ip::Packet::parse(&made).unwrap();
                assert_eq!((parsed.src(), parsed.dst()), (from, to));
                assert!(!parsed.transport().fragmented);
                let udp = parsed.transport().payload;
                let header = made.len() - udp.len();
                if src.is_ipv4() {
                    assert_eq!(plain_sum(&made[..header]), 0xffff);
                }
                let pseudo = pseudo_bytes(from, to, udp);
                if finished {
                    assert_eq!(plain_sum(&[&pseudo[..], udp].concat()), 0xffff);
                } else {
                    assert_eq!(udp[6..8], plain_sum(&pseudo).to_be_bytes());
                }
                assert_eq!(udp[..4], [0, 53, 0xad, 0x9c]);
                assert_eq!(usize::from(u16::from_be_bytes([udp[4], udp[5]])), udp.len());
                let expected = b"\x43\x21\x83\x80\0\x01\0\0\0\0\0\0\x03wWw\x04test\0\0\x01\0\x01";
                assert_eq!(&udp[8..], expected);
            }
        }
    }
}
