//! Changes to a packet: each with its checksum.

use dnsalt_salt::Address;
use dnsalt_salt::edns;
use dnsalt_salt::head::{DNS_HEADER, Ip};
use dnsalt_salt::question::MOST_WORDS;
use dnsalt_salt::short::Short;

use crate::maps::{Work, work};
use crate::skb::Skb;

/// Where in a UDP header its fields stand.
const SRC_PORT: u32 = 0;
const DST_PORT: u32 = 2;
const LENGTH: u32 = 4;
const CHECKSUM: u32 = 6;
/// Where the query ID stands, from the UDP header on.
const ID: u32 = 8;
/// Where the checksum stands in an IPv4 header.
const IP_CHECKSUM: u32 = 10;
/// Where the checksum stands in an ICMP header.
const ICMP_CHECKSUM: u32 = 2;

/// Where the transport header stands in the packet.
#[inline(always)]
fn transport(offset: u32, ip: &Ip) -> u32 {
    offset + ip.transport as u32
}

/// Another source port and query ID, and whatever else of the datagram changed.
#[inline(always)]
pub fn source(skb: Skb, work: &Work, from: [u16; 2], to: [u16; 2], changed: u64) -> bool {
    ports_and_id(skb, transport(work.offset, &work.ip), SRC_PORT, from, to, changed)
}

/// Another destination port and query ID, and whatever else of the datagram changed.
#[inline(always)]
pub fn destination(skb: Skb, work: &Work, from: [u16; 2], to: [u16; 2], changed: u64) -> bool {
    ports_and_id(skb, transport(work.offset, &work.ip), DST_PORT, from, to, changed)
}

#[inline(always)]
fn ports_and_id(skb: Skb, udp: u32, port: u32, from: [u16; 2], to: [u16; 2], changed: u64) -> bool {
    skb.mend(udp + CHECKSUM, changed + difference(from, to), true)
        && skb.store(udp + port, &to[0].to_be())
        && skb.store(udp + ID, &to[1].to_be())
}

/// What a checksum has to take in for two numbers that become others.
#[inline(always)]
fn difference(from: [u16; 2], to: [u16; 2]) -> u64 {
    let word = |number: u16| u64::from(number.to_be());
    word(to[0]) + word(to[1]) + word(!from[0]) + word(!from[1])
}

/// The name that is asked for, as it is in the head now. A step of its own: how long the name is makes no
/// difference to the verifier then for what follows.
#[inline(never)]
pub fn name(skb: Skb, rewrite: bool) -> bool {
    let Some(work) = work() else { return false };
    let length = usize::from(work.question.length & 0x1ff);
    let start = work.dns.message + DNS_HEADER;
    let put = |at: usize, bytes: usize| {
        let offset = work.offset + (start + at) as u32;
        skb.store_some(offset, work.head.word(start + at), bytes, rewrite)
    };
    for i in 0..MOST_WORDS {
        if i >= length / 8 {
            break;
        }
        if !put(8 * i, 8) {
            return false;
        }
    }
    // Counted from the start again: how the loop ended makes no difference to the verifier then.
    length & 7 == 0 || put(length & !7, length & 7)
}

/// Another address in the IP header, if there is to be another: that of the source, or of the destination.
#[inline(never)]
pub fn address(skb: Skb, is_source: bool) -> bool {
    let Some(work) = work() else { return false };
    let old = if is_source { work.ip.src } else { work.ip.dst };
    if old == work.other {
        return true;
    }
    let changed = old.difference(work.other);
    skb.mend_pseudo(transport(work.offset, &work.ip) + CHECKSUM, changed, true)
        && put(skb, work.offset, work.ip.v6, is_source, changed, work.other)
}

/// Writes an address into the IP header.
#[inline(always)]
fn put(skb: Skb, offset: u32, v6: bool, is_source: bool, changed: u64, to: Address) -> bool {
    if v6 {
        // There is no sum in this header that would make up for it in that of the whole packet.
        skb.rewrite(offset + if is_source { 8 } else { 24 }, &to, 16)
    } else {
        put_v4(skb, offset, is_source, changed, to)
    }
}

#[inline(always)]
fn put_v4(skb: Skb, offset: u32, is_source: bool, changed: u64, to: Address) -> bool {
    skb.mend_header(offset + IP_CHECKSUM, changed)
        && skb.store(offset + if is_source { 12 } else { 16 }, &((to.low >> 32) as u32))
}

/// Another address in an error of ICMP, as whom it is for and, in what it quotes, as the source.
#[inline(never)]
pub fn quoted_address(skb: Skb, icmp_header: u32) -> bool {
    let Some(work) = work() else { return false };
    let icmp = work.offset + work.dns.message as u32;
    let quoted = icmp + icmp_header;
    let changed = work.ip.src.difference(work.other);
    // What IPv4 quotes has a sum of its own, which makes up for the address; ICMP there has no pseudo header.
    let quote = if work.ip.v6 {
        skb.mend(icmp + ICMP_CHECKSUM, changed, false)
            && skb.store(quoted + 8, &work.other)
            && skb.mend_pseudo(icmp + ICMP_CHECKSUM, changed, false)
    } else {
        put_v4(skb, quoted, true, changed, work.other)
    };
    quote && put(skb, work.offset, work.ip.v6, false, changed, work.other)
}

/// Lengths of IP and UDP, for so many bytes more or less; with what else changed in the datagram.
#[inline(always)]
fn lengths(skb: Skb, work: &Work, more: u16, changed: u64) -> bool {
    let udp = transport(work.offset, &work.ip);
    let old = work.head.be16(work.ip.transport + 4);
    let udp_length = old.wrapping_add(more);
    let longer = edns::sum_of_change(old, udp_length, false);
    // It stands in the header, and in the pseudo-header.
    let datagram = skb.store(udp + LENGTH, &udp_length.to_be())
        && skb.mend(udp + CHECKSUM, changed + longer, true)
        && skb.mend_pseudo(udp + CHECKSUM, longer, true);
    if work.ip.v6 {
        let length = work.head.be16(4).wrapping_add(more);
        // As for addresses: nothing in this header makes up for it.
        datagram && skb.rewrite(work.offset + 4, &length.to_be(), 2)
    } else {
        let old = work.head.be16(2);
        let length = old.wrapping_add(more);
        datagram
            && skb.mend_header(work.offset + IP_CHECKSUM, edns::sum_of_change(old, length, false))
            && skb.store(work.offset + 2, &length.to_be())
    }
}

/// Puts so many bytes of the tail behind the datagram.
#[inline(never)]
pub fn grown(skb: Skb, is_record: bool, bytes: u16) -> bool {
    let Some(work) = work() else { return false };
    let end = work.offset + work.ip.end as u32;
    if !skb.cut(end + u32::from(bytes)) {
        return false;
    }
    let written = match bytes {
        39 => skb.store_tail(end, &work.tail, 0, 39),
        23 => skb.store_tail(end, &work.tail, 0, 23),
        28 => skb.store_tail(end, &work.tail, 11, 28),
        12 => skb.store_tail(end, &work.tail, 11, 12),
        _ => false,
    };
    // Where the first place of the tail would be; without the record that is 11 bytes ahead.
    let is_odd = is_odd(work, work.ip.end) != !is_record;
    let sum = edns::sum_from(&work.tail, 0, is_odd);
    let number = if is_record {
        count(skb, work, 1)
    } else {
        let at = work.dns.message + DNS_HEADER + usize::from(work.question.length & 0x1ff) + 9;
        let options = (work.ip.end - at - 2) as u16;
        put_number(skb, work, at, options, options + bytes)
    };
    written && number.is_some_and(|changed| lengths(skb, work, bytes, sum + changed))
}

/// Takes out of a reply what its client did not ask for: the last bytes.
#[inline(never)]
pub fn stripped(skb: Skb) -> bool {
    let Some(work) = work() else { return false };
    let bytes = work.strip;
    let at = work.offset + work.ip.end as u32 - u32::from(bytes);
    // As far from the end as the tail is long, which is even.
    let is_odd = is_odd(work, work.ip.end);
    // First they are nothing, so that the sums of card and kernel stay right when they go.
    let zero = [0_u64; 5];
    let (written, sum) = match bytes {
        39 => (skb.store_tail(at, &zero, 0, 39), edns::sum_from(&work.tail, 1, is_odd)),
        31 => (skb.store_tail(at, &zero, 0, 31), edns::sum_from(&work.tail, 9, is_odd)),
        28 => (skb.store_tail(at, &zero, 0, 28), edns::sum_from(&work.tail, 12, is_odd)),
        20 => (skb.store_tail(at, &zero, 0, 20), edns::sum_from(&work.tail, 20, is_odd)),
        11 => (skb.store_tail(at, &zero, 0, 11), edns::sum_from(&work.tail, 29, is_odd)),
        _ => (false, 0),
    };
    let number = if work.added != 0 {
        count(skb, work, u16::MAX)
    } else {
        // It was the only option.
        put_number(skb, work, work.ip.end - usize::from(bytes) - 2, bytes, 0)
    };
    // What goes counts as its complement.
    let changed = number.map(|changed| changed + 0xffff - sum);
    written
        && changed.is_some_and(|changed| lengths(skb, work, 0_u16.wrapping_sub(bytes), changed))
        && skb.cut(at)
}

/// Whether a place of the packet is an odd one of its datagram.
#[inline(always)]
fn is_odd(work: &Work, at: usize) -> bool {
    (at ^ work.ip.transport) & 1 != 0
}

/// One additional record more or less.
#[inline(always)]
fn count(skb: Skb, work: &Work, more: u16) -> Option<u64> {
    let at = work.dns.message + 10;
    let old = work.head.be16(at);
    put_number(skb, work, at, old, old.wrapping_add(more))
}

/// Another number in the datagram, at any place; what its checksum has to take in.
#[inline(always)]
fn put_number(skb: Skb, work: &Work, at: usize, from: u16, to: u16) -> Option<u64> {
    let written = skb.store(work.offset + at as u32, &to.to_be());
    written.then(|| edns::sum_of_change(from, to, is_odd(work, at)))
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
    skb.mend(offset + icmp as u32 + ICMP_CHECKSUM, difference(from, to), false)
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
