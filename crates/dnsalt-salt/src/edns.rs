//! DNS cookies (RFC 7873, RFC 9018) where the client has none: what a query gets, and what its reply brings
//! back.
//!
//! ```text
//!   question | 0 | 41 | 512 | 0 | length | 10 | 8 or 24 | client cookie | server cookie
//!              \------- OPT record ------/ \----------------- option -----------------/
//!                        11 bytes                         12 or 28 bytes
//! ```
//!
//! A query without EDNS gets both, one with it the option alone. They stand at the end of a message, and so does
//! what servers send back: only there is it looked for.

use crate::Address;
use crate::case::sum_of;
use crate::head::{DNS_HEADER, Dns, Head, Ip};
use crate::layout::Config;
use crate::siphash::SipHash;

/// Tells a draw from the others that have the same key.
const FOR_COOKIES: u64 = 1 << 62;
/// Packets that are longer stay as they are: they would not fit through every link.
const LONGEST: usize = 400;
/// Options of a query that are looked at.
const MOST_OPTIONS: usize = 8;
/// The type of the record, the code of the option.
const OPT: u16 = 41;
const COOKIE: u16 = 10;
/// Bytes of the record without options.
const RECORD: u16 = 11;
/// Bytes of the option without a server cookie.
const OPTION: u16 = 12;
/// Bytes of a server cookie that is sent back, and kept.
const SERVER: u16 = 16;

/// The end of a message in words.
pub type Tail = [u64; 5];
/// Its bytes.
pub const TAIL: usize = 40;

/// What was added to a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Added {
    /// Nothing.
    #[default]
    Nothing,
    /// The option, to a record that it had.
    Option,
    /// Both.
    Record,
}

impl Added {
    /// As a number of two bits.
    #[inline(always)]
    pub fn bits(self) -> u16 {
        match self {
            Added::Nothing => 0,
            Added::Option => 1,
            Added::Record => 2,
        }
    }

    /// From such a number.
    #[inline(always)]
    pub fn of(bits: u16) -> Self {
        match bits {
            1 => Added::Option,
            2 => Added::Record,
            _ => Added::Nothing,
        }
    }
}

/// What could be added to a query, whose question has so many bytes.
#[inline(always)]
pub fn room(head: &Head, ip: &Ip, dns: &Dns, question: usize) -> Added {
    let udp_end = ip.transport + usize::from(head.be16(ip.transport + 4));
    let whole = udp_end == ip.end && dns.end == udp_end && !ip.more_fragments;
    // Standard queries alone: an update or a notification is something else.
    let is_plain = dns.flags & 0x7800 == 0 && dns.questions == 1 && dns.records == 0;
    if question == 0 || !whole || udp_end > LONGEST || !is_plain {
        return Added::Nothing;
    }
    let at = dns.message + DNS_HEADER + question;
    match head.be16(dns.message + 10) {
        0 if at == udp_end => Added::Record,
        1 if head.byte(at) == 0
            && head.be16(at + 1) == OPT
            // The version.
            && head.byte(at + 6) == 0
            && at + usize::from(RECORD) + usize::from(head.be16(at + 9)) == udp_end
            && !has_cookie(head, at + usize::from(RECORD), head.be16(at + 9)) =>
        {
            Added::Option
        }
        _ => Added::Nothing,
    }
}

/// Whether there is a cookie among options; also where that cannot be told. It counts what is left: a place that
/// was compared with the end would lose the mask that the verifier wants to see.
#[inline(always)]
fn has_cookie(head: &Head, from: usize, bytes: u16) -> bool {
    let (mut at, mut left) = (from, i32::from(bytes));
    let mut found = false;
    for _ in 0..MOST_OPTIONS {
        if left <= 0 {
            break;
        }
        found |= head.be16(at) == COOKIE;
        let option = 4 + i32::from(head.be16(at + 2));
        // Never below 0.
        at += option.cast_unsigned() as usize;
        left -= option;
    }
    found || left != 0
}

/// The client cookie for a server: as RFC 7873 section 4.1 wants it, a function of both addresses and a secret.
#[inline(always)]
pub fn client_cookie(config: &Config, source: Address, server: Address) -> u64 {
    let mut hash = SipHash::new(config.nonce_key);
    for word in [FOR_COOKIES, source.high, source.low, server.high, server.low] {
        hash.word(word);
    }
    hash.finish(0, 40)
}

/// What is put behind a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grown {
    /// Bytes; they stand in the tail from its beginning on, or, without the record, behind the room for it.
    pub bytes: u16,
    /// The tail.
    pub tail: Tail,
}

/// Makes it.
#[inline(always)]
pub fn grown(added: Added, client: u64, server: Option<[u64; 2]>) -> Grown {
    let option = OPTION + if server.is_some() { SERVER } else { 0 };
    let [high, low] = server.unwrap_or_default();
    let mut tail = [0; 5];
    let mut put = |at: usize, value: u64, bits: u32| {
        let shift = (at as u32 & 7) * 8;
        tail[at / 8] |= value << shift;
        if shift + bits > 64 {
            tail[at / 8 + 1] |= value >> (64 - shift);
        }
    };
    if added == Added::Record {
        put(1, u64::from(OPT.swap_bytes()), 16);
        // 512 bytes, as without EDNS.
        put(3, 2, 16);
        put(9, u64::from(option.swap_bytes()), 16);
    }
    put(11, u64::from(COOKIE.swap_bytes()), 16);
    put(13, u64::from((option - 4).swap_bytes()), 16);
    put(15, client, 64);
    put(23, high, 64);
    put(31, low, 64);
    Grown { bytes: option + if added == Added::Record { RECORD } else { 0 }, tail }
}

/// What a reply brings, as far as its last bytes tell.
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Brought {
    /// Whether its end could be read; if not, the rest tells nothing.
    pub read: bool,
    /// The client cookie that was sent.
    pub cookie: bool,
    /// A server cookie that can be kept.
    pub server: Option<[u64; 2]>,
    /// Bytes of an OPT record at its end that has no other option; 0 if there is none.
    pub record: u16,
    /// Bytes of the cookie in that.
    pub option: u16,
    /// BADCOOKIE: the server cookie was stale (RFC 7873 section 5.2.3).
    pub bad: bool,
    /// An error as of servers that know no EDNS.
    pub refused: bool,
    /// Whether it has additional records.
    pub more: bool,
}

/// Looks at the end of a reply; `room` bytes of it are behind the question.
#[inline(always)]
pub fn brought(head: &Head, dns: &Dns, tail: &Tail, room: usize, client: u64) -> Brought {
    let byte = |at: usize| (tail[at / 8] >> (8 * (at as u32 & 7))) as u8;
    let be16 = |at: usize| u16::from(byte(at)) << 8 | u16::from(byte(at + 1));
    let record_at = |at: usize| byte(at) == 0 && be16(at + 1) == OPT;
    let rcode = dns.flags & 0xf;
    let mut brought = Brought {
        read: true,
        // FORMERR and NOTIMP (RFC 6891 section 7).
        refused: rcode == 1 || rcode == 4,
        more: head.be16(dns.message + 10) != 0,
        ..Brought::default()
    };
    if room >= 28 && be16(12) == COOKIE && be16(14) == 24 && tail[2] == client {
        brought.cookie = true;
        brought.server = Some([tail[3], tail[4]]);
        if room >= 39 && record_at(1) && be16(10) == 28 {
            (brought.record, brought.option) = (39, 28);
            brought.bad = byte(6) == 1 && rcode == 7;
        }
    } else if room >= 20 && be16(20) == COOKIE && be16(22) == 16 && tail[3] == client {
        brought.cookie = true;
        if room >= 31 && record_at(9) && be16(18) == 20 {
            (brought.record, brought.option) = (31, 20);
            brought.bad = byte(14) == 1 && rcode == 7;
        }
    } else if room >= 11 && record_at(29) && be16(38) == 0 {
        brought.record = RECORD;
    }
    brought
}

/// How many bytes at the end of a reply are not for the client, and whether they are the whole record.
#[inline(always)]
pub fn not_asked_for(added: Added, brought: &Brought) -> (u16, bool) {
    match added {
        Added::Option if brought.read => (brought.option, false),
        Added::Record if brought.read => (brought.record, true),
        _ => (0, false),
    }
}

/// What a checksum has to take in for bytes that appear in a tail whose first byte is at an even or odd place of
/// the datagram: those from an index on.
#[inline(always)]
pub fn sum_from(tail: &Tail, from: u16, is_odd: bool) -> u64 {
    let mut sum = 0;
    for (i, word) in (0..).zip(tail) {
        // Bytes of this word that do not count.
        let without = u32::from(from).saturating_sub(8 * i).min(8);
        let kept = if without == 8 { 0 } else { *word >> (8 * without) << (8 * without) };
        sum += sum_of(kept);
    }
    at(sum, is_odd)
}

/// The same for a number that becomes another.
#[inline(always)]
pub fn sum_of_change(from: u16, to: u16, is_odd: bool) -> u64 {
    at(u64::from((!from).to_be()) + u64::from(to.to_be()), is_odd)
}

/// A sum of what stands at an odd place is that with its bytes the other way round (RFC 1071).
#[inline(always)]
fn at(sum: u64, is_odd: bool) -> u64 {
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = ((folded & 0xffff) + (folded >> 16)) as u16;
    u64::from(if is_odd { folded.swap_bytes() } else { folded })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn bytes(tail: &Tail) -> Vec<u8> {
        tail.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn record_and_option_are_as_the_rfcs_draw_them() {
        let client = u64::from_le_bytes(*b"CLIENTCO");
        let server = [u64::from_le_bytes(*b"SERVERCO"), u64::from_le_bytes(*b"OKIE....")];
        let both = grown(Added::Record, client, Some(server));
        let wanted = b"\0\0\x29\x02\0\0\0\0\0\0\x1c\0\x0a\0\x18CLIENTCOSERVERCOOKIE....\0";
        assert_eq!((both.bytes, &bytes(&both.tail)[..]), (39, &wanted[..]));
        let both = grown(Added::Record, client, None);
        let wanted = b"\0\0\x29\x02\0\0\0\0\0\0\x0c\0\x0a\0\x08CLIENTCO\0";
        assert_eq!((both.bytes, &bytes(&both.tail)[..24]), (23, &wanted[..]));
        let option = grown(Added::Option, client, None);
        assert_eq!((option.bytes, &bytes(&option.tail)[..11]), (12, &[0; 11][..]));
        assert_eq!(&bytes(&option.tail)[11..23], b"\0\x0a\0\x08CLIENTCO");
    }

    #[test]
    fn sums_are_those_of_the_bytes() {
        let tail = [0x0102_0304_0506_0708, 3, 0xffff_ffff_ffff_ffff, 9, 0x1122_3344_5566_7788];
        for from in [0, 1, 9, 11, 20, 29] {
            for odd in [false, true] {
                let mut datagram = Vec::new();
                if odd {
                    datagram.push(0);
                }
                datagram.extend(
                    bytes(&tail)
                        .iter()
                        .enumerate()
                        .map(|(i, byte)| if i < usize::from(from) { 0 } else { *byte }),
                );
                datagram.push(0);
                let plain: u64 = datagram
                    .chunks(2)
                    .map(|two| u64::from(u16::from_le_bytes([two[0], *two.get(1).unwrap_or(&0)])))
                    .sum();
                let fold = |sum: u64| sum % 0xffff;
                assert_eq!(fold(sum_from(&tail, from, odd)), fold(plain), "{from} {odd}");
            }
        }
    }
}
