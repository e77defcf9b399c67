//! Queries and replies, from the IP header on.
// Fields of headers: what is cut off was meant to be.
#![allow(clippy::cast_possible_truncation)]

use std::net::Ipv4Addr;

const IP: usize = 20;
const UDP: usize = 8;
const DNS: usize = 12;
/// Where the question begins.
const QUESTION: usize = IP + UDP + DNS;
/// `xxxxxxxx.bench.example` A IN: digits that say which query it is.
const NAME: &[u8] = b"\x0800000000\x05bench\x07example\0\0\x01\0\x01";
/// Where the digits stand.
const DIGITS: usize = QUESTION + 1;
/// A pointer to the question's name, A IN, a minute, 192.0.2.1.
const ANSWER: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01";

/// Bytes of a query.
pub const QUERY: usize = QUESTION + NAME.len();
/// Bytes of a reply.
pub const REPLY: usize = QUERY + ANSWER.len();

/// What tells one query from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tag {
    /// Stands in the name.
    pub number: u32,
    /// The address of who asks.
    pub client: u32,
    /// The address of who is asked.
    pub server: u32,
    /// The source port.
    pub port: u16,
    /// The query ID.
    pub id: u16,
}

/// Writes a query.
pub fn query(tag: Tag) -> [u8; QUERY] {
    let mut packet = [0; QUERY];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(QUERY as u16).to_be_bytes());
    (packet[8], packet[9]) = (64, dnsalt_wire::ip::UDP);
    packet[12..16].copy_from_slice(&tag.client.to_be_bytes());
    packet[16..20].copy_from_slice(&tag.server.to_be_bytes());
    packet[20..22].copy_from_slice(&tag.port.to_be_bytes());
    packet[22..24].copy_from_slice(&53_u16.to_be_bytes());
    packet[24..26].copy_from_slice(&((QUERY - IP) as u16).to_be_bytes());
    packet[28..30].copy_from_slice(&tag.id.to_be_bytes());
    // RD, one question.
    (packet[30], packet[33]) = (1, 1);
    packet[QUESTION..].copy_from_slice(NAME);
    for (place, digit) in packet[DIGITS..DIGITS + 8].iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(tag.number >> (28 - 4 * place) & 15) as usize];
    }
    seal(&mut packet);
    packet
}

/// Makes the reply out of a query; none if it is none.
pub fn reply(packet: &[u8]) -> Option<[u8; REPLY]> {
    // Programs that forward may add an OPT record, which is not answered.
    let question = packet.get(QUESTION..QUERY).filter(|_| is_udp(packet))?;
    if packet[22..24] != [0, 53] || packet[30] & 0x80 != 0 {
        return None;
    }
    let mut reply = [0; REPLY];
    reply[..QUESTION].copy_from_slice(&packet[..QUESTION]);
    reply[QUESTION..QUERY].copy_from_slice(question);
    reply[QUERY..].copy_from_slice(ANSWER);
    reply[2..4].copy_from_slice(&(REPLY as u16).to_be_bytes());
    reply[8] = 64;
    reply[12..16].copy_from_slice(&packet[16..20]);
    reply[16..20].copy_from_slice(&packet[12..16]);
    reply[20..22].copy_from_slice(&packet[22..24]);
    reply[22..24].copy_from_slice(&packet[20..22]);
    reply[24..26].copy_from_slice(&((REPLY - IP) as u16).to_be_bytes());
    // QR, AA; RA. One question, one answer.
    reply[30] |= 0x84;
    reply[31] = 0x80;
    reply[32..40].copy_from_slice(&[0, 1, 0, 1, 0, 0, 0, 0]);
    seal(&mut reply);
    Some(reply)
}

/// Which query a reply answers, by what it says; none if it is no whole reply.
pub fn tag(packet: &[u8]) -> Option<Tag> {
    let word = |at: usize| Some(u32::from_be_bytes(*packet.get(at..)?.first_chunk()?));
    let short = |at: usize| Some(u16::from_be_bytes(*packet.get(at..)?.first_chunk()?));
    let is_reply = is_udp(packet) && short(20)? == 53 && packet.get(30)? & 0x80 != 0;
    // No error, and an answer.
    if !is_reply || packet.get(31)? & 0x0f != 0 || short(34)? == 0 {
        return None;
    }
    let name = packet.get(QUESTION..QUERY)?;
    let mut number = 0;
    for digit in &name[1..9] {
        number = number << 4 | char::from(*digit).to_digit(16)?;
    }
    let behind = name[9..] == NAME[9..];
    behind.then_some(Tag {
        number,
        client: word(16)?,
        server: word(12)?,
        port: short(22)?,
        id: short(28)?,
    })
}

fn is_udp(packet: &[u8]) -> bool {
    packet.first() == Some(&0x45) && packet.get(9) == Some(&dnsalt_wire::ip::UDP)
}

/// Writes the checksum of UDP; the kernel writes that of IP.
fn seal(packet: &mut [u8]) {
    packet[26..28].fill(0);
    let words = packet[12..].chunks(2);
    let sum: u32 =
        words.map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |b| u32::from(*b))).sum();
    let mut sum = sum + u32::from(dnsalt_wire::ip::UDP) + (packet.len() - IP) as u32;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let checksum = if sum == 0xffff { 0xffff } else { !(sum as u16) };
    packet[26..28].copy_from_slice(&checksum.to_be_bytes());
}

/// An address so many behind another one.
pub(super) fn behind(first: Ipv4Addr, by: u32) -> u32 {
    u32::from(first).wrapping_add(by)
}

#[cfg(test)]
mod tests {
    use dnsalt_wire::dns::Message;
    use dnsalt_wire::ip::Packet;
    use dnsalt_wire::udp::Udp;

    use super::*;

    #[test]
    fn a_reply_answers_its_query() {
        let asked = Tag {
            number: 0x00c0_ffee,
            client: behind(super::super::CLIENTS, 3),
            server: behind(super::super::SERVERS, 999),
            port: 44444,
            id: 7,
        };
        let query = query(asked);
        assert_eq!(tag(&query), None, "no reply");
        let reply = reply(&query).unwrap();
        assert_eq!(tag(&reply), Some(asked));
        assert!(super::reply(&reply).is_none(), "no query");
        for packet in [&query[..], &reply] {
            let ip = Packet::parse(packet).unwrap();
            let udp = Udp::parse(ip.transport().payload).unwrap();
            let question = Message::parse(udp.payload()).unwrap().question().unwrap();
            assert_eq!(question.name.to_string(), "00c0ffee.bench.example.");
        }
        for length in 0..REPLY {
            let _ = (tag(&reply[..length]), super::reply(&query[..length.min(QUERY)]));
        }
    }
}
