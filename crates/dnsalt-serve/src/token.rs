//! Tokens: what ties the queries of one lookup together, and shows that its name was given out by us.
//!
//! ```text
//!   token = base32(body (8 bytes), tag (5 bytes))     tag = SipHash(key, hour, body)
//!   body  = drawn at random
//! ```

use data_encoding::BASE32_DNSSEC;
use siphasher::sip::SipHasher24;

/// Bytes of a body.
const BODY: usize = 8;
/// Bytes of a tag.
const TAG: usize = 5;
/// Letters of a token.
pub(crate) const LENGTH: usize = (BODY + TAG) * 8 / 5 + 1;
/// What a tag is good for, and the hour after it.
const HOUR: u64 = 3600;

/// What a session is known by.
pub(crate) type Body = u64;
/// A token as a label.
pub(crate) type Token = [u8; LENGTH];

/// Makes tokens, and knows its own.
#[derive(Debug)]
pub(crate) struct Tokens {
    key: [u8; 16],
}

impl Tokens {
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Tokens { key }
    }

    /// The token of a body, good for one hour at least. `now` is in seconds since 1970.
    pub(crate) fn of(&self, body: Body, now: u64) -> Token {
        let mut bytes = [0; BODY + TAG];
        bytes[..BODY].copy_from_slice(&body.to_be_bytes());
        bytes[BODY..].copy_from_slice(&self.tag(body, now / HOUR));
        let mut token = [0; LENGTH];
        BASE32_DNSSEC.encode_mut(&bytes, &mut token);
        token
    }

    /// The body of a token of ours that is still good.
    pub(crate) fn body(&self, label: &[u8], now: u64) -> Option<Body> {
        let mut bytes = [0; BODY + TAG];
        if label.len() != LENGTH {
            return None;
        }
        BASE32_DNSSEC.decode_mut(label, &mut bytes).ok()?;
        let (body, tag) = bytes.split_first_chunk::<BODY>()?;
        let body = u64::from_be_bytes(*body);
        let hour = now / HOUR;
        let good = self.tag(body, hour) == tag || self.tag(body, hour.wrapping_sub(1)) == tag;
        good.then_some(body)
    }

    fn tag(&self, body: Body, hour: u64) -> [u8; TAG] {
        let mut input = [0; 16];
        input[..8].copy_from_slice(&body.to_be_bytes());
        input[8..].copy_from_slice(&hour.to_be_bytes());
        let hash = SipHasher24::new_with_key(&self.key).hash(&input).to_be_bytes();
        let mut tag = [0; TAG];
        tag.copy_from_slice(&hash[..TAG]);
        tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000;

    #[test]
    fn a_token_is_good_for_one_hour_and_less_than_two() {
        let tokens = Tokens::new([1; 16]);
        let token = tokens.of(7, NOW);
        assert!(token.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
        assert_eq!(tokens.body(&token, NOW), Some(7));
        assert_eq!(tokens.body(&token.to_ascii_uppercase(), NOW + HOUR), Some(7));
        assert_eq!(tokens.body(&token, NOW + 2 * HOUR), None);
        assert_eq!(Tokens::new([3; 16]).body(&token, NOW), None);
        assert_eq!(tokens.body(&token[1..], NOW), None);
    }

    proptest! {
        #[test]
        fn what_was_not_given_out_is_not_known(label in proptest::collection::vec(any::<u8>(), 0..64)) {
            let tokens = Tokens::new([1; 16]);
            prop_assert_eq!(tokens.body(&label, NOW), None);
        }

        #[test]
        fn what_was_given_out_is(body: u64) {
            let tokens = Tokens::new([1; 16]);
            prop_assert_eq!(tokens.body(&tokens.of(body, NOW), NOW), Some(body));
        }
    }
}
