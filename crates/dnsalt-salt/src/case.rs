//! The case of letters: each letter of a name that is asked for is a bit that whoever forges the reply has
//! to guess, as servers copy the question as it came (Dagon et al. 2008, "0x20").
//!
//! Which letters change is a keyed function of what the slot holds anyhow, so nothing is kept for it: the
//! same function applied once more gives the client back what it sent.

use crate::Tables;
use crate::head::{DNS_HEADER, Dns, HEAD, Head};
use crate::layout::{SUFFIX_WORDS, SUFFIXES, Suffix};
use crate::question::{EACH, MOST_WORDS, below, case_of, letters, lower as lowered};
use crate::siphash::{Key, draw};

/// What tells one query from all others: port, ID and the generation of its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce(pub u64);

/// What was changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// What a checksum over the name has to take in.
    pub sum: u64,
    /// Letters that there are: bits to guess. More than 64 are as good as 64.
    pub letters: u64,
}

/// Type and class, behind a name.
const TYPE_AND_CLASS: usize = 4;

/// Changes the case of letters in a question, whose length is known; or changes it back. What `from` has is
/// added to.
#[inline(always)]
pub fn flip(
    head: &mut Head,
    dns: &Dns,
    length: usize,
    key: Key,
    nonce: Nonce,
    from: Changed,
) -> Changed {
    let random = draw(key, nonce.0);
    // Each of eight words has bits of its own, which come again for the next eight: more than 64 letters
    // are as good as 64.
    change(head, dns, length, from, |i, word| random.rotate_right(i as u32 & 7) & letters(word))
}

/// Whether a question that was changed back has the case that the client chose.
#[inline(always)]
pub fn is(head: &Head, dns: &Dns, length: usize, case: u32) -> bool {
    case_of(head, dns, length) == case
}

/// Brings the letters of a question to lower case, as most clients ask.
#[inline(always)]
pub fn lower(head: &mut Head, dns: &Dns, length: usize) {
    change(head, dns, length, Changed::default(), |_, word| lowered(word).1 >> 2);
}

/// Flips bits in the words of a name, those that the function wants of each.
#[inline(always)]
fn change(
    head: &mut Head,
    dns: &Dns,
    length: usize,
    from: Changed,
    bits: impl Fn(usize, u64) -> u64,
) -> Changed {
    let start = dns.message + DNS_HEADER;
    let name = length.saturating_sub(TYPE_AND_CLASS);
    let Changed { mut sum, letters: mut lanes } = from;
    let mut one = |i: usize, at: usize, mask: u64| {
        let word = head.word(start + at);
        let flips = bits(i, word) & mask;
        head.flip(start + at, flips);
        // New words in, old ones out, in ones' complement.
        sum += sum_of(word ^ flips) + sum_of(!word);
        lanes += (letters(word) & mask) >> 5;
    };
    for i in 0..MOST_WORDS {
        if i >= name / 8 {
            break;
        }
        one(i, 8 * i, u64::MAX);
    }
    // Counted from the start again: how the loop ended makes no difference to the verifier then.
    one(name >> 3, name & !7, below(name & 7));
    Changed { sum, letters: lanes.wrapping_mul(EACH) >> 56 }
}

/// The four words of 16 bits in a word, added up.
#[inline(always)]
pub(crate) fn sum_of(word: u64) -> u64 {
    (word & 0xffff) + (word >> 16 & 0xffff) + (word >> 32 & 0xffff) + (word >> 48)
}

/// Whether the name of a question ends with one of the suffixes whose case is left alone. Without branches,
/// which the verifier would follow both ways each time: offsets are masked, whatever they are.
#[inline(always)]
pub fn is_exempt<T: Tables>(tables: &T, head: &Head, dns: &Dns, length: usize) -> bool {
    let suffixes = tables.config().suffixes;
    let end = dns.message + DNS_HEADER + length - TYPE_AND_CLASS;
    let mut found = 0;
    for index in 0..SUFFIXES {
        if index >= suffixes {
            break;
        }
        let Some(suffix) = tables.suffix(index) else { break };
        // Negative, so that the highest bit is set, where the name is shorter.
        let before = (length as u64).wrapping_sub(TYPE_AND_CLASS as u64 + suffix.length);
        let differ =
            before >> 63 | difference(head, end.wrapping_sub(suffix.length as usize), suffix);
        found |= !((differ | differ.wrapping_neg()) >> 63) & 1;
    }
    found != 0
}

#[inline(always)]
fn difference(head: &Head, at: usize, suffix: &Suffix) -> u64 {
    let mut differ = 0;
    for i in 0..SUFFIX_WORDS {
        differ |=
            (lowered(head.word(at.wrapping_add(8 * i))).0 ^ suffix.words[i]) & suffix.masks[i];
    }
    differ
}

const _: () = assert!(MOST_WORDS * 8 + 8 < HEAD);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::{dns, ip};
    use crate::question::question;
    use proptest::prelude::*;
    use std::vec::Vec;

    const KEY: Key = [3, 4];

    fn packet(labels: &[std::string::String]) -> Vec<u8> {
        let mut packet = std::vec![0_u8; 40];
        (packet[0], packet[9], packet[33]) = (0x45, 17, 1);
        for label in labels {
            packet.push(label.len() as u8);
            packet.extend_from_slice(label.as_bytes());
        }
        // A type and a class that look like letters.
        packet.extend_from_slice(b"\0\0AAA");
        let total = packet.len();
        packet[2..4].copy_from_slice(&(total as u16).to_be_bytes());
        packet[24..26].copy_from_slice(&(total as u16 - 20).to_be_bytes());
        packet
    }

    fn bytes(head: &Head, length: usize) -> Vec<u8> {
        (0..length).map(|at| head.byte(at)).collect()
    }

    fn folded(mut sum: u64) -> u64 {
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum
    }

    fn summed(packet: &[u8]) -> u64 {
        folded(
            packet
                .chunks(2)
                .map(|two| u64::from(two[0]) | u64::from(*two.get(1).unwrap_or(&0)) << 8)
                .sum(),
        )
    }

    proptest! {
        #[test]
        fn letters_change_and_come_back(
            labels in proptest::collection::vec("[a-zA-Z0-9@`\\[{_-]{1,40}", 1..6),
            nonce in any::<u64>(),
        ) {
            let sent = packet(&labels);
            let mut head = Head::of(&sent);
            let there = ip(&head, 0, sent.len()).unwrap();
            let dns = dns(&head, &there, sent.len()).unwrap();
            let asked = question(&head, &dns, KEY);
            let length = usize::from(asked.length);
            prop_assert!(length != 0);
            let changed = flip(&mut head, &dns, length, KEY, Nonce(nonce), Changed::default());
            let left = bytes(&head, sent.len());
            let (name, rest) = (40..sent.len() - 4, sent.len() - 4..sent.len());
            prop_assert!(left[name.clone()].eq_ignore_ascii_case(&sent[name.clone()]));
            prop_assert_eq!(&left[rest.clone()], &sent[rest]);
            prop_assert_eq!(&left[..40], &sent[..40]);
            let letters = sent[name].iter().filter(|byte| byte.is_ascii_alphabetic()).count();
            prop_assert_eq!(changed.letters as usize, letters);
            prop_assert_eq!(question(&head, &dns, KEY).hash, asked.hash);
            prop_assert_eq!(folded(summed(&sent) + changed.sum) % 0xffff, summed(&left) % 0xffff);
            let mut back = head.clone();
            flip(&mut back, &dns, length, KEY, Nonce(nonce), Changed::default());
            prop_assert!(is(&back, &dns, length, asked.case));
            prop_assert_eq!(bytes(&back, sent.len()), sent.clone());
            // Somebody who does not know it.
            if letters > 24 {
                flip(&mut head, &dns, length, KEY, Nonce(!nonce), Changed::default());
                prop_assert!(!is(&head, &dns, length, asked.case));
                super::lower(&mut head, &dns, length);
                let lower = bytes(&head, sent.len());
                prop_assert!(!lower[40..sent.len() - 4].iter().any(u8::is_ascii_uppercase));
                prop_assert!(lower.eq_ignore_ascii_case(&sent));
            }
        }
    }

    #[test]
    fn half_of_the_letters_change_each_on_its_own() {
        let sent = packet(&[
            "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz".into(),
            "abcdefghijklmnopqrst".into(),
        ]);
        let (mut counts, mut pairs) = (std::vec![0_u32; sent.len()], std::vec![0_u32; sent.len()]);
        for nonce in 0..4000 {
            let mut head = Head::of(&sent);
            let there = ip(&head, 0, sent.len()).unwrap();
            let dns = dns(&head, &there, sent.len()).unwrap();
            let length = question(&head, &dns, KEY).length.into();
            flip(&mut head, &dns, length, KEY, Nonce(nonce), Changed::default());
            let left = bytes(&head, sent.len());
            for at in 41..sent.len() {
                counts[at] += u32::from(left[at] != sent[at]);
                pairs[at] += u32::from((left[at] != sent[at]) == (left[at - 1] != sent[at - 1]));
            }
        }
        // 2,000 with a deviation of 32.
        for at in (41..93).chain(94..114) {
            assert!((1_850..2_150).contains(&counts[at]), "{at}: {}", counts[at]);
            if at != 41 && at != 94 {
                assert!((1_850..2_150).contains(&pairs[at]), "{at}: {}", pairs[at]);
            }
        }
    }
}
