//! Letter case of names: queries that mix it at random (draft-vixie-dnsext-dns0x20) carry more for an
//! attacker to guess; for the question that is asked, case means nothing (RFC 4343).

use super::Name;

/// What a name has of letters, with a hash of it that does not depend on their case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Letters {
    /// A hash of the name in lower case; not for use against somebody who chooses names.
    pub hash: u64,
    /// ASCII letters.
    pub letters: u8,
    /// Upper-case letters among them.
    pub upper: u8,
}

const EACH: u64 = 0x0101_0101_0101_0101;
const TOP: u64 = 0x80 * EACH;

impl Letters {
    /// Looks at bytes as they are, lengths of labels included: those are no letters.
    #[inline]
    pub fn of(bytes: &[u8]) -> Self {
        let (mut hash, mut letters, mut upper) = (bytes.len() as u64, 0, 0);
        let mut take = |word: u64| {
            let (all, big) = masks(word);
            letters += marked(all);
            upper += marked(big);
            // Bit 7 of each upper-case letter, moved to bit 5.
            hash = (hash ^ (word | big >> 2)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        };
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            take(u64::from_le_bytes(*word));
        }
        take(match bytes.last_chunk::<8>() {
            // What is left over stands at the top of the last eight bytes.
            Some(eight) if !rest.is_empty() => u64::from_le_bytes(*eight) >> (64 - 8 * rest.len()),
            _ => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        });
        let byte = |count: u64| u8::try_from(count).unwrap_or(u8::MAX);
        Letters { hash: hash ^ (hash >> 32), letters: byte(letters), upper: byte(upper) }
    }
}

/// Bytes whose bit 7 is set, where no other bits are: added up in the highest byte.
#[inline]
fn marked(mask: u64) -> u64 {
    (mask >> 7).wrapping_mul(EACH) >> 56
}

impl Name<'_> {
    /// The letters of the name.
    #[inline]
    pub fn letters(&self) -> Letters {
        Letters::of(self.as_wire())
    }
}

/// Bit 7 of each byte that is a letter, and of each that is an upper-case one.
#[inline]
fn masks(word: u64) -> (u64, u64) {
    // In lower case, and without bit 7: no carry crosses a byte.
    let lower = (word | (EACH * 0x20)) & !TOP;
    let from = lower + EACH * u64::from(0x80 - b'a');
    let beyond = lower + EACH * u64::from(0x7f - b'z');
    let all = from & !beyond & !word & TOP;
    // Bit 5 tells the cases of a letter apart.
    (all, all & !(word << 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn counts_and_hash_are_those_of_the_plain_way(
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let seen = Letters::of(&bytes);
            let count = |f: fn(&u8) -> bool| bytes.iter().filter(|b| f(b)).count();
            prop_assert_eq!(usize::from(seen.letters), count(u8::is_ascii_alphabetic));
            prop_assert_eq!(usize::from(seen.upper), count(u8::is_ascii_uppercase));
            let lower: Vec<u8> = bytes.iter().map(u8::to_ascii_lowercase).collect();
            prop_assert_eq!(seen.hash, Letters::of(&lower).hash);
        }
    }

    #[test]
    fn different_names_differ() {
        let hash = |name: &[u8]| Letters::of(name).hash;
        assert_ne!(hash(b"\x01a\x04test\0"), hash(b"\x01b\x04test\0"));
        assert_ne!(hash(b"[\x04test"), hash(b"{\x04test"));
        assert_ne!(hash(b"a"), hash(b"a\0"));
    }
}
