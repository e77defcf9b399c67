//! The first question of a message, as a keyed hash.
//!
//! ```text
//!   3 w w w 4 t e s t 0 | type | class        bytes 12 .. of the message (RFC 1035 section 4.1.2)
//! ```
//!
//! The hash is of the bytes with letters in lower case; a second number stands for their case. A server
//! that answers in another case than it was asked in is told apart from one that answers another
//! question.

use crate::head::{DNS_HEADER, Dns, HEAD, Head};
use crate::siphash::{Key, SipHash};

/// The longest name, 255 bytes, has at most so many labels, the empty one included.
const MOST_LABELS: usize = 128;
/// Name, type and class at most.
pub(crate) const MOST: usize = 255 + 4;
/// As words, the last of them not full.
pub const MOST_WORDS: usize = MOST / 8 + 1;

/// What was asked. All zero: no question, or none that can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// SipHash-2-4 of name in lower case, type and class. What cannot be foreseen cannot be met by
    /// another question: two of them have the same hash by a chance of 2^-64.
    pub hash: u64,
    /// A hash of which letters are capitals.
    pub case: u32,
    /// Its bytes.
    pub length: u16,
}

/// The first question of a message.
#[inline(always)]
pub fn question(head: &Head, dns: &Dns, key: Key) -> Question {
    of_length(head, dns, length(head, dns), key)
}

/// Bytes of the first question; 0 if there is none, or it is cut or malformed.
#[inline(always)]
pub fn length(head: &Head, dns: &Dns) -> usize {
    let start = dns.message + DNS_HEADER;
    let mut at = start;
    if dns.questions == 0 {
        return 0;
    }
    for _ in 0..MOST_LABELS {
        if at >= dns.end || at >= HEAD {
            return 0;
        }
        let label = usize::from(head.byte(at));
        if label > 63 {
            return 0;
        }
        at += 1 + label;
        if label == 0 {
            let length = at + 4 - start;
            return if at + 4 <= dns.end && length <= MOST { length } else { 0 };
        }
    }
    0
}

/// The first question, whose length is known.
#[inline(always)]
pub fn of_length(head: &Head, dns: &Dns, length: usize, key: Key) -> Question {
    if length == 0 {
        return Question::default();
    }
    let start = dns.message + DNS_HEADER;
    let mut hash = SipHash::new(key);
    let mut case = 0;
    for i in 0..MOST_WORDS {
        if i >= length / 8 {
            break;
        }
        let (word, capitals) = lower(head.word(start + 8 * i));
        hash.word(word);
        case = next_case(case, capitals);
    }
    // Counted from the start again: how the loop ended makes no difference to the verifier then.
    let rest = head.word(start + (length & !7)) & below(length & 7);
    let (word, capitals) = lower(rest);
    case = next_case(case, capitals);
    Question {
        hash: hash.finish(word, length as u64),
        case: (case ^ case >> 32) as u32,
        length: length as u16,
    }
}

/// The case of a question whose length is known, as [`Question::case`] has it.
#[inline(always)]
pub(crate) fn case_of(head: &Head, dns: &Dns, length: usize) -> u32 {
    let start = dns.message + DNS_HEADER;
    let mut case = 0;
    for i in 0..MOST_WORDS {
        if i >= length / 8 {
            break;
        }
        case = next_case(case, lower(head.word(start + 8 * i)).1);
    }
    let rest = head.word(start + (length & !7)) & below(length & 7);
    case = next_case(case, lower(rest).1);
    (case ^ case >> 32) as u32
}

/// A mask of the first bytes of a word, fewer than eight.
#[inline(always)]
pub(crate) fn below(bytes: usize) -> u64 {
    !(u64::MAX << (8 * (bytes as u32 & 7)))
}

#[inline(always)]
fn next_case(case: u64, capitals: u64) -> u64 {
    (case.rotate_left(23) ^ capitals).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

pub(crate) const EACH: u64 = 0x0101_0101_0101_0101;
const TOP: u64 = 0x80 * EACH;

/// The bit in each of eight bytes that tells capitals from other letters.
const CASE: u64 = 0x20 * EACH;

/// Eight bytes with their letters in lower case, and bit 7 of each byte that was a capital. Lengths of
/// labels are below the letters, types and classes of the same question are the same anyhow.
#[inline(always)]
pub(crate) fn lower(word: u64) -> (u64, u64) {
    let capitals = between(word, b'A', b'Z');
    (word | capitals >> 2, capitals)
}

/// Bit 5 of each of eight bytes that is a letter: the one that tells capitals.
#[inline(always)]
pub(crate) fn letters(word: u64) -> u64 {
    between(word | CASE, b'a', b'z') >> 2
}

/// Bit 7 of each of eight bytes that lies between two that are below 128.
#[inline(always)]
fn between(word: u64, first: u8, last: u8) -> u64 {
    let low = word & !TOP;
    let from_first = low + EACH * u64::from(0x80 - first);
    let beyond_last = low + EACH * u64::from(0x7f - last);
    from_first & !beyond_last & !word & TOP
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::{dns, ip};
    use proptest::prelude::*;
    use std::vec::Vec;

    const KEY: Key = [1, 2];

    /// The question of a query in IPv4 and UDP.
    fn of(question: &[u8]) -> Question {
        let mut packet = std::vec![0_u8; 40];
        (packet[0], packet[9], packet[33]) = (0x45, 17, 1);
        let total = 40 + question.len();
        packet[2..4].copy_from_slice(&(total as u16).to_be_bytes());
        packet[24..26].copy_from_slice(&(total as u16 - 20).to_be_bytes());
        packet.extend_from_slice(question);
        let head = Head::of(&packet);
        let length = packet.len().min(HEAD);
        let found = ip(&head, 0, length).unwrap();
        super::question(&head, &dns(&head, &found, length).unwrap(), KEY)
    }

    #[test]
    fn case_is_told_apart_from_another_question() {
        let asked = of(b"\x03www\x04test\0\0\x01\0\x01");
        let capitals = of(b"\x03wWw\x04tesT\0\0\x01\0\x01");
        assert_eq!(asked.length, 14);
        assert_eq!(asked.hash, capitals.hash);
        assert_ne!(asked.case, capitals.case);
        for other in [
            &b"\x03wwx\x04test\0\0\x01\0\x01"[..],
            b"\x03www\x04test\0\0\x1c\0\x01",
            b"\x03www\x04test\0\0\x01\0\x03",
            b"\x03www\x04tes[\0\0\x01\0\x01",
            b"\x04wwww\x03est\0\0\x01\0\x01",
        ] {
            assert_ne!(asked.hash, of(other).hash, "{other:?}");
        }
    }

    #[test]
    fn what_is_cut_or_malformed_is_no_question() {
        for bytes in [&b"\x03www\x04test\0\0\x01\0"[..], b"\xc0\x0c\0\x01\0\x01", b"\x40", b""] {
            assert_eq!(of(bytes), Question::default(), "{bytes:?}");
        }
        let mut long =
            b"\x3faaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".repeat(4);
        long.extend_from_slice(b"\0\0\x01\0\x01");
        assert_eq!(of(&long), Question::default());
    }

    proptest! {
        #[test]
        fn equal_questions_alone_are_equal(
            labels in proptest::collection::vec("[a-zA-Z0-9@`\\[{]{1,20}", 1..9),
            flips in proptest::collection::vec(any::<bool>(), 200),
            change in any::<(prop::sample::Index, u8)>(),
        ) {
            let mut wire = Vec::new();
            for label in &labels {
                wire.push(label.len() as u8);
                wire.extend_from_slice(label.as_bytes());
            }
            wire.extend_from_slice(b"\0\0\x01\0\x01");
            let asked = of(&wire);
            prop_assert_eq!(usize::from(asked.length), wire.len());
            let mut flipped = wire.clone();
            for (byte, flip) in flipped.iter_mut().zip(flips) {
                if flip && byte.is_ascii_alphabetic() {
                    *byte ^= 0x20;
                }
            }
            prop_assert_eq!(of(&flipped).hash, asked.hash);
            prop_assert_eq!(of(&flipped).case == asked.case, flipped == wire);
            let mut changed = wire.clone();
            let at = change.0.index(wire.len());
            changed[at] = change.1;
            let same = changed.eq_ignore_ascii_case(&wire);
            prop_assert_eq!(of(&changed).hash == asked.hash, same);
        }
    }
}
