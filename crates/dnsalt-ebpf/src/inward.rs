//! What comes in, in steps: is it IP, is it a reply or an error of ICMP, what becomes of it.

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use dnsalt_salt::Tables as _;
use dnsalt_salt::case::{self, Nonce};
use dnsalt_salt::edns::{self, TAIL};
use dnsalt_salt::head::{self, DNS_HEADER, ICMP, ICMPV6, UDP};
use dnsalt_salt::icmp::{self, Quote};
use dnsalt_salt::ingress::{self, Origin, Reply, Verdict};
use dnsalt_salt::layout::{Counter, flags};
use dnsalt_salt::question;
use dnsalt_salt::short::{Way, short};

use crate::filter::{Direction, Link, ip_of_interest};
use crate::letters::flipped;
use crate::maps::{Kernel, work};
use crate::skb::Skb;
use crate::write;

/// Lets it in, if it is what somebody waits for, or nothing that we judge.
#[inline(always)]
pub fn packet(skb: Skb, link: Link) -> i32 {
    let Some(kernel) = Kernel::new() else { return TC_ACT_UNSPEC };
    let Some(offset) = ip_of_interest(&kernel, skb, link, Direction::In) else {
        return TC_ACT_UNSPEC;
    };
    match taken_up(skb, offset) {
        Kind::Reply => reply(skb, kernel.config().has(flags::COOKIES)),
        Kind::Error => error(skb),
        Kind::Other => TC_ACT_UNSPEC,
        Kind::Unreadable => {
            kernel.count(Counter::Unreadable);
            TC_ACT_SHOT
        }
    }
}

/// What a packet is, at first sight.
#[derive(Clone, Copy)]
#[repr(u32)]
enum Kind {
    Other,
    Reply,
    Error,
    Unreadable,
}

#[inline(never)]
fn taken_up(skb: Skb, offset: u32) -> Kind {
    let Some(work) = skb.take_up(offset) else { return Kind::Other };
    let Some(kernel) = Kernel::of(work) else { return Kind::Other };
    let Some(ip) = head::ip(&work.head, 0, work.length as usize) else {
        // More extension headers than anybody sends in good faith could hide a reply.
        return Kind::Unreadable;
    };
    work.ip = ip;
    work.brought.read = false;
    if ip.later_fragment {
        let unwanted = ip.protocol == UDP
            && kernel.config().has(flags::NO_FRAGMENTS)
            && kernel.expects(ip.dst, ip.src);
        return if unwanted { Kind::Unreadable } else { Kind::Other };
    }
    match (ip.protocol, ip.v6) {
        (UDP, _) => Kind::Reply,
        (ICMP, false) | (ICMPV6, true) => Kind::Error,
        _ => Kind::Other,
    }
}

#[inline(always)]
fn reply(skb: Skb, looks_at_ends: bool) -> i32 {
    match is_reply(skb) {
        Kind::Reply => {}
        Kind::Unreadable => return TC_ACT_SHOT,
        _ => return TC_ACT_UNSPEC,
    }
    if looks_at_ends {
        look_at_end(skb);
        understand_end();
    }
    let origin = match decided() {
        PASS => return TC_ACT_UNSPEC,
        DROP => return TC_ACT_SHOT,
        other => other,
    };
    if origin & TRUNCATE != 0 { truncated(skb, origin) } else { restored(skb, origin) }
}

#[inline(never)]
fn is_reply(skb: Skb) -> Kind {
    let Some(work) = work() else { return Kind::Other };
    let Some(kernel) = Kernel::of(work) else { return Kind::Other };
    let ip = &work.ip;
    let Some(dns) = head::dns(&work.head, ip, work.length as usize) else {
        // A first fragment may be too short to show what it is.
        let (src, _) = head::ports(&work.head, ip.transport);
        let hides =
            ip.more_fragments && kernel.config().is_dns_port(src) && kernel.expects(ip.dst, ip.src);
        return if hides { unreadable(&kernel) } else { Kind::Other };
    };
    if !dns.is_reply()
        || !kernel.config().is_dns_port(dns.src_port)
        || !kernel.expects(ip.dst, ip.src)
    {
        return Kind::Other;
    }
    if skb.is_several() {
        return unreadable(&kernel);
    }
    work.dns = dns;
    work.question.length = question::length(&work.head, &dns) as u16;
    Kind::Reply
}

#[inline(always)]
fn unreadable(kernel: &Kernel) -> Kind {
    kernel.count(Counter::Unreadable);
    Kind::Unreadable
}

/// Reads its last bytes, where a cookie stands if there is one.
#[inline(never)]
fn look_at_end(skb: Skb) {
    let Some(work) = work() else { return };
    let end = work.ip.end;
    if work.ip.more_fragments
        || end != work.ip.transport + usize::from(work.head.be16(work.ip.transport + 4))
        || end < TAIL
    {
        return;
    }
    work.brought.read = skb.read(work.offset + (end - TAIL) as u32, &mut work.tail);
}

/// What its last bytes tell. A step of its own, so that what it found is nothing but numbers to the verifier.
#[inline(never)]
fn understand_end() {
    let Some(work) = work() else { return };
    let Some(kernel) = Kernel::of(work) else { return };
    if !work.brought.read {
        return;
    }
    let client = edns::client_cookie(kernel.config(), work.ip.dst, work.ip.src);
    let question = work.dns.message + DNS_HEADER + usize::from(work.question.length);
    let room = work.ip.end.wrapping_sub(question);
    // None where the end lies before it.
    let room = if room > usize::from(u16::MAX) { 0 } else { room };
    work.brought = edns::brought(&work.head, &work.dns, &work.tail, room, client);
}

/// Verdicts in one number: port and ID, and a bit if it is cut down.
const PASS: u64 = 1 << 34;
const DROP: u64 = 1 << 33;
const TRUNCATE: u64 = 1 << 32;

#[inline(always)]
fn number(origin: Origin) -> u64 {
    u64::from(origin.port) << 16 | u64::from(origin.id)
}

#[inline(always)]
fn origin(number: u64) -> [u16; 2] {
    [(number >> 16) as u16, number as u16]
}

#[inline(never)]
fn decided() -> u64 {
    let Some(work) = work() else { return PASS };
    let Some(kernel) = Kernel::of(work) else { return PASS };
    let length = usize::from(work.question.length & 0x1ff);
    work.question = question::of_length(&work.head, &work.dns, length, kernel.config().key);
    let reply = Reply {
        server: work.ip.src,
        to: work.ip.dst,
        server_port: work.dns.src_port,
        port: work.dns.dst_port,
        id: work.dns.id,
        question: work.question,
        bare_error: work.dns.is_bare_error(),
        bare_tc: work.dns.is_bare_tc(work.question.length),
        fragmented: work.ip.more_fragments,
        brought: &work.brought,
    };
    work.nonce = 0;
    // Steps of their own, which read anew how long the name is: how often a loop went round makes no
    // difference to the verifier then.
    let restore = |nonce: Nonce, case| flipped(nonce.0) && (has_case(case) || lowered());
    let (origin, truncate) = match ingress::reply(&kernel, &reply, restore) {
        Verdict::Pass => return PASS,
        Verdict::Drop => return DROP,
        Verdict::Restore(origin) => (origin, 0),
        Verdict::Truncate(origin) => (origin, TRUNCATE),
    };
    work.other = origin.client;
    let (bytes, whole) = edns::not_asked_for(origin.added, reply.brought);
    (work.strip, work.added) = (bytes, u16::from(whole));
    number(origin) | truncate
}

/// Whether they have the case that the client chose.
#[inline(never)]
fn has_case(case: u32) -> bool {
    let Some(work) = work() else { return false };
    let length = usize::from(work.question.length & 0x1ff);
    case::is(&work.head, &work.dns, length, case)
}

/// Brings them to lower case, as they are none that anybody chose; says that they are not.
#[inline(never)]
fn lowered() -> bool {
    if let Some(work) = work() {
        let length = usize::from(work.question.length & 0x1ff);
        case::lower(&mut work.head, &work.dns, length);
    }
    false
}

#[inline(never)]
fn restored(skb: Skb, number: u64) -> i32 {
    let Some(work) = work() else { return TC_ACT_SHOT };
    let mut changed = 0;
    if work.nonce != 0 {
        if !write::name(skb, false) {
            return TC_ACT_SHOT;
        }
        changed = work.changed.sum;
    }
    let from = [work.dns.dst_port, work.dns.id];
    let written = write::destination(skb, work, from, origin(number), changed)
        && write::address(skb, false)
        && (work.strip == 0 || write::stripped(skb));
    if written { TC_ACT_UNSPEC } else { TC_ACT_SHOT }
}

#[inline(never)]
fn truncated(skb: Skb, number: u64) -> i32 {
    let Some(work) = work() else { return TC_ACT_SHOT };
    // Without a question there is nothing to ask again; options would have to be taken out.
    if work.ip.options || work.question.length == 0 {
        return TC_ACT_SHOT;
    }
    let [dst_port, id] = origin(number);
    let way = Way { src: work.ip.src, src_port: work.dns.src_port, dst: work.other, dst_port, id };
    let short = short(&work.head, &work.ip, &work.dns, &work.question, &way);
    let written = (work.nonce == 0 || write::name(skb, true))
        && write::short(skb, work.offset, &work.ip, &short);
    if written { TC_ACT_UNSPEC } else { TC_ACT_SHOT }
}

/// Bytes of an ICMP header.
const ICMP_HEADER: usize = 8;

/// Errors quote the packet that they are about.
#[inline(always)]
fn error(skb: Skb) -> i32 {
    if quotes() { translated(skb) } else { TC_ACT_UNSPEC }
}

/// Whether it quotes UDP; the header that is quoted takes the place of the packet's own, whose
/// transport is kept as the place of a message.
#[inline(never)]
fn quotes() -> bool {
    let Some(work) = work() else { return false };
    let transport = work.ip.transport;
    let kind = work.head.byte(transport);
    // Unreachable, source quench, redirect, time exceeded, parameter problem (RFC 792); unreachable,
    // too big, time exceeded, parameter problem (RFC 4443).
    let quotes =
        if work.ip.v6 { matches!(kind, 1..=4) } else { matches!(kind, 3 | 4 | 5 | 11 | 12) };
    if !quotes {
        return false;
    }
    let length = work.length as usize;
    let Some(quoted) = head::ip(&work.head, transport + ICMP_HEADER, length) else { return false };
    work.dns.message = transport;
    work.other = work.ip.dst;
    work.ip = quoted;
    quoted.protocol == UDP && !quoted.later_fragment
}

#[inline(never)]
fn translated(skb: Skb) -> i32 {
    let Some(work) = work() else { return TC_ACT_UNSPEC };
    let Some(kernel) = Kernel::of(work) else { return TC_ACT_UNSPEC };
    let (quoted, length) = (&work.ip, work.length as usize);
    if quoted.transport + 8 > length {
        return TC_ACT_UNSPEC;
    }
    let (src_port, dst_port) = head::ports(&work.head, quoted.transport);
    let has_id = quoted.transport + 12 <= length;
    // A reply of a server on this machine is quoted.
    let is_reply = has_id && work.head.byte(quoted.transport + 10) & 0x80 != 0;
    let unclear = !has_id && kernel.config().is_dns_port(src_port);
    if is_reply
        || unclear
        || !kernel.config().is_dns_port(dst_port)
        || !kernel.expects(quoted.src, quoted.dst)
    {
        return TC_ACT_UNSPEC;
    }
    let quote =
        Quote { source: quoted.src, server: quoted.dst, port: src_port, server_port: dst_port };
    let origin = match icmp::error(&kernel, &quote) {
        icmp::Verdict::Pass => return TC_ACT_UNSPEC,
        icmp::Verdict::Drop => return TC_ACT_SHOT,
        icmp::Verdict::Translate(origin) => origin,
    };
    let id = if has_id { work.head.be16(quoted.transport + 8) } else { origin.id };
    let from = [src_port, id];
    let to = [origin.port, origin.id];
    let moves = origin.client != quoted.src;
    if moves && work.other != quoted.src {
        // It is not for whom it quotes.
        kernel.count(Counter::IcmpDropped);
        return TC_ACT_SHOT;
    }
    let written = write::quote(skb, work.offset, work.dns.message, quoted, has_id, from, to);
    work.other = origin.client;
    if written && (!moves || write::quoted_address(skb, ICMP_HEADER as u32)) {
        TC_ACT_UNSPEC
    } else {
        TC_ACT_SHOT
    }
}
