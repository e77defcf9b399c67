//! What leaves, in steps: is it IP, is it a query, what becomes of it.

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use dnsalt_salt::Tables as _;
use dnsalt_salt::case;
use dnsalt_salt::cookies;
use dnsalt_salt::edns::{self, Added};
use dnsalt_salt::egress::{self, Query, Salt, Verdict};
use dnsalt_salt::head::{self, UDP};
use dnsalt_salt::layout::{Counter, flags};
use dnsalt_salt::question;
use dnsalt_salt::short::{Way, short};

use crate::filter::{Direction, Link, ip_of_interest};
use crate::letters::flipped;
use crate::maps::{Kernel, work};
use crate::skb::Skb;
use crate::write;

/// Salts it, if it is a query.
#[inline(always)]
pub fn packet(skb: Skb, link: Link) -> i32 {
    let Some(kernel) = Kernel::new() else { return TC_ACT_UNSPEC };
    let Some(offset) = ip_of_interest(&kernel, skb, link, Direction::Out) else {
        return TC_ACT_UNSPEC;
    };
    if !taken_up(skb, offset) || !is_query(skb) {
        return TC_ACT_UNSPEC;
    }
    look_at_case();
    if kernel.config().has(flags::COOKIES) {
        look_at_end(skb);
    }
    let salt = match decided(skb) {
        PASS => return TC_ACT_UNSPEC,
        DROP => return TC_ACT_SHOT,
        other => other,
    };
    if salt & ANSWER != 0 { answered(skb, link, salt) } else { salted(skb, salt) }
}

#[inline(never)]
fn taken_up(skb: Skb, offset: u32) -> bool {
    let Some(work) = skb.take_up(offset) else { return false };
    let Some(ip) = head::ip(&work.head, 0, work.length as usize) else { return false };
    work.ip = ip;
    work.added = 0;
    ip.protocol == UDP && !ip.later_fragment
}

#[inline(never)]
fn is_query(skb: Skb) -> bool {
    let Some(work) = work() else { return false };
    let Some(kernel) = Kernel::of(work) else { return false };
    let Some(dns) = head::dns(&work.head, &work.ip, work.length as usize) else { return false };
    if dns.is_reply() || !kernel.config().is_dns_port(dns.dst_port) {
        return false;
    }
    let has_pool = kernel.config().has_pool_for(work.ip.dst);
    if !kernel.in_scope(work.ip.src, work.ip.dst) {
        // What comes back for it comes to where all is dropped that was not asked for.
        if has_pool && kernel.in_pool(work.ip.src) {
            dnsalt_salt::pass(&kernel, work.ip.src, dns.src_port);
        }
        return false;
    }
    // The other fragments would leave with the address that they have.
    if skb.is_several() || has_pool && work.ip.more_fragments {
        kernel.count(Counter::Unsalted);
        dnsalt_salt::pass(&kernel, work.ip.src, dns.src_port);
        return false;
    }
    work.dns = dns;
    work.question.length = question::length(&work.head, &dns) as u16;
    true
}

/// Whether letters change their case.
#[inline(never)]
fn look_at_case() {
    let Some(work) = work() else { return };
    let Some(kernel) = Kernel::of(work) else { return };
    let length = usize::from(work.question.length & 0x1ff);
    work.cased = length != 0
        && egress::is_cased(&kernel, work.ip.src, work.ip.dst)
        && !(kernel.config().suffixes != 0
            && case::is_exempt(&kernel, &work.head, &work.dns, length));
}

/// What could be added to it.
#[inline(never)]
fn look_at_end(skb: Skb) {
    let Some(work) = work() else { return };
    let Some(kernel) = Kernel::of(work) else { return };
    // Nothing is put behind padding.
    if skb.length() as usize != work.offset as usize + work.ip.end {
        return;
    }
    let length = usize::from(work.question.length & 0x1ff);
    let room = edns::room(&work.head, &work.ip, &work.dns, length);
    work.added = cookies::added(&kernel, work.ip.src, work.ip.dst, room).bits();
}

/// Verdicts in one number: port and ID, and a bit if it is answered on the spot.
const PASS: u64 = 0;
const DROP: u64 = 1 << 33;
const ANSWER: u64 = 1 << 32;

#[inline(always)]
fn number(salt: Salt) -> u64 {
    u64::from(salt.port) << 16 | u64::from(salt.id)
}

#[inline(always)]
fn salt(number: u64) -> [u16; 2] {
    [(number >> 16) as u16, number as u16]
}

#[inline(never)]
fn decided(skb: Skb) -> u64 {
    let Some(work) = work() else { return PASS };
    let Some(kernel) = Kernel::of(work) else { return PASS };
    let length = usize::from(work.question.length & 0x1ff);
    work.question = question::of_length(&work.head, &work.dns, length, kernel.config().key);
    let query = Query {
        client: work.ip.src,
        server: work.ip.dst,
        client_port: work.dns.src_port,
        server_port: work.dns.dst_port,
        id: work.dns.id,
        link: skb.link(),
        question: work.question,
        cased: work.cased,
        added: Added::of(work.added),
    };
    let (salt, answer) = match egress::query(&kernel, &query) {
        Verdict::Pass => return PASS,
        Verdict::Drop => return DROP,
        Verdict::Salt(salt) => (salt, 0),
        Verdict::Answer(salt) => (salt, ANSWER),
    };
    work.nonce = salt.case.map_or(0, |nonce| nonce.0);
    work.other = salt.source;
    work.added = salt.added.bits();
    number(salt) | answer
}

#[inline(never)]
fn salted(skb: Skb, number: u64) -> i32 {
    let Some(work) = work() else { return TC_ACT_SHOT };
    let mut changed = 0;
    if work.nonce != 0 {
        let Some(kernel) = Kernel::of(work) else { return TC_ACT_SHOT };
        flipped(work.nonce);
        kernel.count(Counter::Cased);
        kernel.add(Counter::CasedLetters, work.changed.letters as u32);
        if !write::name(skb, false) {
            return TC_ACT_SHOT;
        }
        changed = work.changed.sum;
    }
    let from = [work.dns.src_port, work.dns.id];
    let written = write::source(skb, work, from, salt(number), changed)
        && write::address(skb, true)
        && (work.added == 0 || cookie_added(skb));
    if written { TC_ACT_UNSPEC } else { TC_ACT_SHOT }
}

/// Puts a cookie behind it.
#[inline(never)]
fn cookie_added(skb: Skb) -> bool {
    let Some(work) = work() else { return false };
    let Some(kernel) = Kernel::of(work) else { return false };
    let (source, server) = (work.other, work.ip.dst);
    let added = Added::of(work.added);
    let client = edns::client_cookie(kernel.config(), source, server);
    let grown = edns::grown(added, client, cookies::of_server(&kernel, source, server));
    work.tail = grown.tail;
    kernel.count(Counter::Cookied);
    write::grown(skb, added == Added::Record, grown.bytes)
}

/// Turns the query into an answer with TC=1, which comes in as if from the server.
#[inline(never)]
fn answered(skb: Skb, link: Link, number: u64) -> i32 {
    let Some(work) = work() else { return TC_ACT_SHOT };
    if work.ip.options || work.question.length == 0 {
        return TC_ACT_SHOT;
    }
    // As the server would: it is changed back where it comes in.
    if work.nonce != 0 {
        flipped(work.nonce);
        if !write::name(skb, true) {
            return TC_ACT_SHOT;
        }
    }
    let [port, id] = salt(number);
    let way =
        Way { src: work.ip.dst, src_port: work.dns.dst_port, dst: work.other, dst_port: port, id };
    let short = short(&work.head, &work.ip, &work.dns, &work.question, &way);
    if !write::short(skb, work.offset, &work.ip, &short) {
        return TC_ACT_SHOT;
    }
    if link == Link::Ethernet {
        let Some(addresses) = skb.copy::<12>(0) else { return TC_ACT_SHOT };
        let [a, b, c, d, e, f, u, v, w, x, y, z] = addresses;
        if !skb.store(0, &[u, v, w, x, y, z, a, b, c, d, e, f]) {
            return TC_ACT_SHOT;
        }
    }
    skb.turn_back()
}
