//! A packet, read the plain way: slices, and nothing read that is not there.

use std::net::IpAddr;
use std::ops::Range;

/// Bytes from the IP header on that the engine looks at.
pub const WINDOW: usize = 512;
const MOST_TAGS: usize = 2;
/// Extension headers that the engine passes over.
const MOST_HEADERS: usize = 5;

/// What a packet is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing that concerns anybody here.
    Other,
    /// IP whose header makes no sense, or more of it than is looked at: dropped or let through, never changed.
    Malformed,
    /// A fragment without a UDP header, of UDP.
    LaterFragment(Ip),
    /// UDP.
    Udp(Ip, Option<Datagram>),
    /// An error of ICMP.
    Error(Ip, Quote),
}

/// IP as far as it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Where it begins in the packet.
    pub at: usize,
    /// Who sent it.
    pub src: IpAddr,
    /// Whom it is for.
    pub dst: IpAddr,
    /// What is in it.
    pub protocol: u8,
    /// Where that begins in the packet.
    pub transport: usize,
    /// Where what is there of it ends.
    pub end: usize,
    /// Whether there is more between the header and that.
    pub options: bool,
    /// Whether it is a fragment, but the first.
    pub later: bool,
    /// Whether fragments follow.
    pub more: bool,
}

/// UDP with a DNS header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Ports.
    pub src_port: u16,
    /// Ports.
    pub dst_port: u16,
    /// The query ID.
    pub id: u16,
    /// QR to RCODE.
    pub flags: u16,
    /// QDCOUNT.
    pub questions: u16,
    /// Whether there are answers or authorities.
    pub has_records: bool,
    /// Where the message begins in the packet.
    pub message: usize,
    /// Where what is looked at of it ends.
    pub end: usize,
    /// Where its first question is, if that can be read: name, type and class.
    pub question: Option<Range<usize>>,
}

/// What an error of ICMP quotes, if it is UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The header that is quoted.
    pub ip: Ip,
    /// Ports.
    pub src_port: u16,
    /// Ports.
    pub dst_port: u16,
    /// The query ID, if that is quoted as well.
    pub id: Option<u16>,
    /// Whether what is quoted is a reply, if that is quoted.
    pub is_reply: bool,
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// Reads a packet with an Ethernet header.
pub fn read(packet: &[u8]) -> Seen {
    let Some(mut kind) = be16(packet, 12) else { return Seen::Other };
    let mut at = 14;
    for _ in 0..MOST_TAGS {
        if kind != 0x8100 && kind != 0x88a8 {
            break;
        }
        let Some(inner) = be16(packet, at + 2) else { return Seen::Other };
        kind = inner;
        at += 4;
    }
    let version = match kind {
        0x0800 => 4,
        0x86dd => 6,
        _ => return Seen::Other,
    };
    let Some(first) = packet.get(at) else { return Seen::Other };
    if first >> 4 != version {
        return Seen::Malformed;
    }
    // Nothing behind the window is looked at.
    let window = &packet[..packet.len().min(at + WINDOW)];
    let Some(ip) = ip(window, at) else { return Seen::Malformed };
    match (ip.protocol, ip.src) {
        (17, _) if ip.later => Seen::LaterFragment(ip),
        (17, _) => {
            let datagram = datagram(window, &ip);
            Seen::Udp(ip, datagram)
        }
        (1, IpAddr::V4(_)) | (58, IpAddr::V6(_)) if !ip.later => match quote(window, &ip) {
            Some(quote) => Seen::Error(ip, quote),
            None => Seen::Other,
        },
        _ => Seen::Other,
    }
}

fn ip(bytes: &[u8], at: usize) -> Option<Ip> {
    match bytes.get(at)? >> 4 {
        4 => ipv4(bytes, at),
        6 => ipv6(bytes, at),
        _ => None,
    }
}

fn ipv4(bytes: &[u8], at: usize) -> Option<Ip> {
    let header = usize::from(bytes[at] & 15) * 4;
    let fixed: &[u8; 20] = bytes.get(at..at + 20)?.try_into().ok()?;
    let total = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    let fragment = u16::from_be_bytes([fixed[6], fixed[7]]);
    if header < 20 || total < header || bytes.len() < at + header {
        return None;
    }
    let address = |from: usize| <[u8; 4]>::try_from(&fixed[from..from + 4]).unwrap_or_default();
    Some(Ip {
        at,
        src: address(12).into(),
        dst: address(16).into(),
        protocol: fixed[9],
        transport: at + header,
        end: (at + total).min(bytes.len()),
        options: header > 20,
        later: fragment & 0x1fff != 0,
        more: fragment & 0x2000 != 0,
    })
}

fn ipv6(bytes: &[u8], at: usize) -> Option<Ip> {
    let fixed: &[u8; 40] = bytes.get(at..at + 40)?.try_into().ok()?;
    let length = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    let address = |from: usize| <[u8; 16]>::try_from(&fixed[from..from + 16]).unwrap_or_default();
    let end = (at + 40 + length).min(bytes.len());
    let mut ip = Ip {
        at,
        src: address(8).into(),
        dst: address(24).into(),
        protocol: fixed[6],
        transport: at + 40,
        end,
        options: false,
        later: false,
        more: false,
    };
    for _ in 0..=MOST_HEADERS {
        let here = ip.transport;
        let header = match ip.protocol {
            0 | 43 | 60 | 135 => 8 + 8 * usize::from(*bytes.get(here + 1)?),
            51 => 8 + 4 * usize::from(*bytes.get(here + 1)?),
            44 => 8,
            _ => return Some(ip),
        };
        if here + 8 > end {
            return None;
        }
        if ip.protocol == 44 {
            let fragment = be16(bytes, here + 2)?;
            (ip.later, ip.more) = (fragment & 0xfff8 != 0, fragment & 1 != 0);
        }
        ip.protocol = bytes[here];
        ip.transport = here + header;
        ip.options = true;
        if ip.later {
            return Some(ip);
        }
        if ip.transport > end {
            return None;
        }
    }
    None
}

fn datagram(bytes: &[u8], ip: &Ip) -> Option<Datagram> {
    let bytes = &bytes[..ip.end.max(ip.at)];
    let udp = ip.transport;
    let message = udp + 8;
    let header = bytes.get(message..message + 12)?;
    let length = usize::from(be16(bytes, udp + 4)?);
    if length < 20 {
        return None;
    }
    let mut datagram = Datagram {
        src_port: be16(bytes, udp)?,
        dst_port: be16(bytes, udp + 2)?,
        id: be16(header, 0)?,
        flags: be16(header, 2)?,
        questions: be16(header, 4)?,
        has_records: header[6..10] != [0; 4],
        message,
        end: (udp + length).min(bytes.len()),
        question: None,
    };
    if datagram.questions > 0 {
        datagram.question = question(&bytes[..datagram.end], message + 12);
    }
    Some(datagram)
}

/// Name, type and class: whole, uncompressed, no longer than a name may be.
fn question(bytes: &[u8], start: usize) -> Option<Range<usize>> {
    let mut at = start;
    loop {
        let label = usize::from(*bytes.get(at)?);
        at += 1 + label;
        match label {
            0 => break,
            1..=63 => {}
            _ => return None,
        }
    }
    let whole = at - start <= 255 && at + 4 <= bytes.len();
    whole.then_some(start..at + 4)
}

fn quote(bytes: &[u8], outer: &Ip) -> Option<Quote> {
    let kind = *bytes.get(outer.transport)?;
    let is_error = match outer.src {
        IpAddr::V4(_) => [3, 4, 5, 11, 12].contains(&kind),
        IpAddr::V6(_) => [1, 2, 3, 4].contains(&kind),
    };
    let ip = ip(bytes, outer.transport + 8).filter(|_| is_error)?;
    if ip.protocol != 17 || ip.later {
        return None;
    }
    let udp = bytes.get(ip.transport..ip.transport + 8)?;
    // As far as it is quoted: padding behind the packet is quoted by nobody, and read as if it were.
    let dns = bytes.get(ip.transport + 8..ip.transport + 12);
    Some(Quote {
        src_port: be16(udp, 0)?,
        dst_port: be16(udp, 2)?,
        id: dns.and_then(|dns| be16(dns, 0)),
        is_reply: dns.is_some_and(|dns| dns[2] & 0x80 != 0),
        ip,
    })
}

/// The sum of words of 16 bits modulo 65535, 0 and 65535 being the same (RFC 1071).
pub fn sum(parts: &[&[u8]]) -> u32 {
    let word = |two: &[u8]| u32::from(two[0]) << 8 | u32::from(two.get(1).copied().unwrap_or(0));
    parts
        .iter()
        .flat_map(|part| part.chunks(2))
        .map(word)
        .fold(0, |sum, word| (sum + word) % 65_535)
}

/// Of a UDP datagram with its pseudo header: 0 where its checksum is right.
pub fn udp_sum(packet: &[u8], ip: &Ip) -> u32 {
    let end = ip.end.max(ip.transport);
    let datagram = &packet[ip.transport..end];
    let length =
        [0, 0, datagram.get(4).copied().unwrap_or(0), datagram.get(5).copied().unwrap_or(0)];
    sum(&[&octets(ip.src), &octets(ip.dst), &length, &[0, 17], datagram])
}

/// An address as it is on the wire.
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
