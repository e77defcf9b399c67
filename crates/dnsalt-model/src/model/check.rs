//! Packets as they have to be.

use std::net::IpAddr;

use super::{Happened, Model, Wrong};
use crate::packet::{Datagram, Ip, Seen, octets, read, sum, udp_sum};
use crate::{DROP, Done, PASS};

impl Model {
    /// The packet is as expected but for its UDP checksum, and that is as right as it was.
    pub(super) fn same_but_for_sum(
        &self,
        ip: &Ip,
        before: &[u8],
        expected: &[u8],
        after: &[u8],
    ) -> Result<(), Wrong> {
        let checksum = ip.transport + 6..ip.transport + 8;
        let mut expected = expected.to_vec();
        if after.len() != expected.len() {
            return Err(format!("{} bytes became {}", expected.len(), after.len()));
        }
        expected[checksum.clone()].copy_from_slice(&after[checksum.clone()]);
        if expected != after {
            let at = expected.iter().zip(after).position(|(one, other)| one != other);
            return Err(format!("something else was changed, at byte {at:?}"));
        }
        if before[checksum.clone()] == [0, 0] {
            return if after[checksum] == [0, 0] {
                Ok(())
            } else {
                Err("a checksum appeared".to_owned())
            };
        }
        if after[checksum] == [0, 0] {
            return Err("the checksum is gone".to_owned());
        }
        let right = if self.partial {
            unfinished(before, ip) == unfinished(after, ip)
        } else {
            udp_sum(before, ip) == udp_sum(after, ip)
        };
        if right { Ok(()) } else { Err("the checksum is wrong".to_owned()) }
    }
}

/// The datagram that a packet has become.
pub(super) fn dns_in(packet: &[u8]) -> Result<(Ip, Datagram), Wrong> {
    match read(packet) {
        Seen::Udp(ip, Some(dns)) => Ok((ip, dns)),
        other => Err(format!("what it became is no DNS: {other:?}")),
    }
}

pub(super) fn lower(question: &[u8]) -> Vec<u8> {
    question.to_ascii_lowercase()
}

pub(super) fn put(packet: &mut [u8], at: usize, number: u16) {
    packet[at..at + 2].copy_from_slice(&number.to_be_bytes());
}

pub(super) fn expect(done: &Done, verdict: i32, what: impl std::fmt::Debug) -> Result<(), Wrong> {
    if done.verdict == verdict {
        return Ok(());
    }
    Err(format!("{what:?} ended with verdict {}, not {verdict}", done.verdict))
}

pub(super) fn untouched(done: &Done) -> Result<Happened, Wrong> {
    expect(done, PASS, "what is none of its business")?;
    Ok(Happened::Nothing)
}

/// Dropped or let through; whoever calls asks whether it was changed.
pub(super) fn harmless(done: &Done) -> Result<Happened, Wrong> {
    match done.verdict {
        PASS => Ok(Happened::Nothing),
        DROP => Ok(Happened::Dropped(None)),
        other => Err(format!("what makes no sense ended with verdict {other}")),
    }
}

/// From, port, to, port, ID.
pub(super) type Between = (IpAddr, u16, IpAddr, u16, u16);

/// An answer with TC=1 and the question alone, whose sums are right.
pub(super) fn is_short(
    ip: &Ip,
    dns: &Datagram,
    packet: &[u8],
    old: &Datagram,
    before: &[u8],
    old_ip: &Ip,
    (src, src_port, dst, dst_port, id): Between,
) -> Result<(), Wrong> {
    if (ip.src, dns.src_port, ip.dst, dns.dst_port, dns.id) != (src, src_port, dst, dst_port, id) {
        return Err(format!("a short answer to {}:{} with ID {}", ip.dst, dns.dst_port, dns.id));
    }
    // Opcode and RD are those of the message; QR, TC and RA are set, RCODE is 0.
    if dns.flags != old.flags & 0x7900 | 0x8280 {
        return Err(format!("a short answer with flags {:04x}", dns.flags));
    }
    let end = dns.question.as_ref().map_or(0, |range| range.end);
    if packet[dns.message + 4..dns.message + 12] != [0, 1, 0, 0, 0, 0, 0, 0] || end != packet.len()
    {
        return Err("a short answer with more than its question".to_owned());
    }
    if ip.options || ip.more || ip.end != packet.len() {
        return Err("a short answer in a packet that is not plain".to_owned());
    }
    if src.is_ipv4() && sum(&[&packet[ip.at..ip.at + 20]]) != 0 {
        return Err("a short answer with a wrong sum of its header".to_owned());
    }
    // What the card is to finish has the sum of the pseudo header alone; by chance any sum is that.
    let fine =
        udp_sum(packet, ip) == 0 || unfinished(before, old_ip) == 0 && unfinished(packet, ip) == 0;
    if fine { Ok(()) } else { Err("a short answer with a wrong checksum".to_owned()) }
}

/// What a checksum that the card is to finish has beside the sum of the pseudo header: 0 if it is right.
pub(super) fn unfinished(packet: &[u8], ip: &Ip) -> u32 {
    let [length, checksum] = [4, 6].map(|at| &packet[ip.transport + at..ip.transport + at + 2]);
    let pseudo = sum(&[&octets(ip.src), &octets(ip.dst), length, &[0, 17]]);
    (sum(&[checksum]) + 65_535 - pseudo) % 65_535
}
