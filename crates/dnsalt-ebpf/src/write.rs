//! Changes to a packet: each with its checksum.

use dnsalt_salt::head::Ip;
use dnsalt_salt::short::Short;

use crate::skb::Skb;

/// Where in a UDP header its fields stand.
const SRC_PORT: u32 = 0;
const DST_PORT: u32 = 2;
const CHECKSUM: u32 = 6;
/// Where the query ID stands, from the UDP header on.
const ID: u32 = 8;
/// Where the checksum stands in an ICMP header.
const ICMP_CHECKSUM: u32 = 2;

/// Where the transport header stands in the packet.
#[inline(always)]
fn transport(offset: u32, ip: &Ip) -> u32 {
    offset + ip.transport as u32
}

/// Another source port and query ID.
#[inline(always)]
pub fn source(skb: Skb, offset: u32, ip: &Ip, from: [u16; 2], to: [u16; 2]) -> bool {
    ports_and_id(skb, transport(offset, ip), SRC_PORT, from, to)
}

/// Another destination port and query ID.
#[inline(always)]
pub fn destination(skb: Skb, offset: u32, ip: &Ip, from: [u16; 2], to: [u16; 2]) -> bool {
    ports_and_id(skb, transport(offset, ip), DST_PORT, from, to)
}

#[inline(always)]
fn ports_and_id(skb: Skb, udp: u32, port: u32, from: [u16; 2], to: [u16; 2]) -> bool {
    skb.mend(udp + CHECKSUM, from, to, true)
        && skb.store(udp + port, &to[0].to_be())
        && skb.store(udp + ID, &to[1].to_be())
}

/// Another source port and query ID in what an error of ICMP quotes. The checksum that is quoted stays:
/// nobody looks at it.
#[inline(always)]
pub fn quote(
    skb: Skb,
    offset: u32,
    icmp: usize,
    quoted: &Ip,
    has_id: bool,
    from: [u16; 2],
    to: [u16; 2],
) -> bool {
    let udp = transport(offset, quoted);
    skb.mend(offset + icmp as u32 + ICMP_CHECKSUM, from, to, false)
        && skb.store(udp + SRC_PORT, &to[0].to_be())
        && (!has_id || skb.store(udp + ID, &to[1].to_be()))
}

/// The answer that sends a client to TCP.
#[inline(always)]
pub fn short(skb: Skb, offset: u32, ip: &Ip, short: &Short) -> bool {
    skb.cut(offset + short.length)
        && if ip.v6 {
            skb.rewrite(offset, &short.ip, 40) && skb.rewrite(offset + 40, &short.transport, 20)
        } else {
            skb.rewrite(offset, &short.ip, 20) && skb.rewrite(offset + 20, &short.transport, 20)
        }
}
