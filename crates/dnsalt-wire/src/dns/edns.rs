//! EDNS (RFC 6891): the OPT record, as far as its size, DO and a cookie (RFC 7873).
//!
//! ```text
//!   name 0 | type 41 | payload size (2) | extended RCODE, version | DO, Z (2) | length | options
//!   option: code (2) | length (2) | data      10: client cookie (8), server cookie (8 to 32)
//! ```

use super::{HEADER, Message, rrtype};
use crate::be16;

/// Codes of options.
pub mod option {
    /// Name server identifier (RFC 5001).
    pub const NSID: u16 = 3;
    /// Cookies (RFC 7873).
    pub const COOKIE: u16 = 10;
}
/// Bytes of an OPT record without options.
const FIXED: usize = 11;
/// An OPT record further from the end than this is not looked for.
const FARTHEST: usize = 512;

/// What an OPT record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns<'a> {
    /// The payload size that the sender takes.
    pub size: u16,
    /// The version, 0 so far.
    pub version: u8,
    /// Whether DNSSEC records are wanted (RFC 3225).
    pub dnssec_ok: bool,
    options: &'a [u8],
}

impl<'a> Message<'a> {
    /// The OPT record of a message without answers; of another, the OPT record that ends it, as
    /// nearly all do. None if there is none, or it was cut off.
    #[inline]
    pub fn edns(&self) -> Option<Edns<'a>> {
        let [_, _, questions, answers, authorities, additional] = self.header;
        if additional == 0 {
            return None;
        }
        if questions == 1 && answers == 0 && authorities == 0 {
            let name = self.question().ok()?.name.as_wire().len();
            return Edns::parse(self.bytes.get(HEADER + name + 4..)?);
        }
        // Behind compressed names: from the end back, without walking all the records.
        let first = self.bytes.len().checked_sub(FIXED)?;
        let nearest = first.saturating_sub(FARTHEST).max(HEADER);
        let (at, found) = (nearest..=first).rev().find_map(|at| {
            let bytes = &self.bytes[at..];
            let to_the_end = usize::from(be16(bytes, 9).ok()?) == bytes.len() - FIXED;
            let found = (bytes[..3] == [0, 0, 41] && to_the_end).then(|| Edns::parse(bytes))??;
            Some((at, found))
        })?;
        // What only looks like one may be a part of the name that is asked for.
        let asked = if questions == 1 { self.question().ok() } else { None };
        let behind = asked.map_or(HEADER, |asked| HEADER + asked.name.as_wire().len() + 4);
        (at >= behind).then_some(found)
    }
}

impl<'a> Edns<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        if bytes.first() != Some(&0) || be16(bytes, 1).ok()? != rrtype::OPT {
            return None;
        }
        let length = usize::from(be16(bytes, 9).ok()?);
        let options = bytes.get(FIXED..)?;
        Some(Edns {
            size: be16(bytes, 3).ok()?,
            version: *bytes.get(6)?,
            dnssec_ok: be16(bytes, 7).ok()? & 0x8000 != 0,
            options: &options[..options.len().min(length)],
        })
    }

    /// The data of the first option with this code; none behind one that is cut off.
    #[inline]
    pub fn option(&self, wanted: u16) -> Option<&'a [u8]> {
        let mut rest = self.options;
        loop {
            let (code, length) = (be16(rest, 0).ok()?, usize::from(be16(rest, 2).ok()?));
            let data = rest.get(4..4 + length)?;
            if code == wanted {
                return Some(data);
            }
            rest = &rest[4 + length..];
        }
    }

    /// The client cookie, and whether a server cookie stands behind it.
    #[inline]
    pub fn cookie(&self) -> Option<([u8; 8], bool)> {
        let data = self.option(option::COOKIE)?;
        Some((*data.first_chunk()?, data.len() >= 16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const QUESTION: &[u8] = b"\x01a\0\0\x01\0\x01";
    const WITH_COOKIE: &[u8] = b"\0\0\x29\x04\xd0\0\0\x80\0\0\x14\0\x0a\0\x10clientcoservercok";

    fn message(counts: [u8; 4], parts: &[&[u8]]) -> Vec<u8> {
        let mut bytes = std::vec![0, 7, 1, 0];
        for count in counts {
            bytes.extend_from_slice(&[0, count]);
        }
        bytes.extend_from_slice(&parts.concat());
        bytes
    }

    #[test]
    fn of_a_query() {
        let bytes = message([1, 0, 0, 1], &[QUESTION, &WITH_COOKIE[..31]]);
        let edns = Message::parse(&bytes).unwrap().edns().unwrap();
        assert_eq!((edns.size, edns.dnssec_ok), (1232, true));
        assert_eq!(edns.cookie(), Some((*b"clientco", true)));
        let bytes = message([1, 0, 0, 1], &[QUESTION, b"\0\0\x29\x10\0\0\0\0\0\0\0"]);
        let edns = Message::parse(&bytes).unwrap().edns().unwrap();
        assert_eq!((edns.size, edns.dnssec_ok, edns.cookie()), (4096, false, None));
        assert_eq!(Message::parse(&message([1, 0, 0, 0], &[QUESTION])).unwrap().edns(), None);
    }

    #[test]
    fn of_a_reply_behind_other_records() {
        let answer = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x29";
        let bytes = message([1, 1, 0, 1], &[QUESTION, answer, &WITH_COOKIE[..31]]);
        let edns = Message::parse(&bytes).unwrap().edns().unwrap();
        assert_eq!(edns.cookie(), Some((*b"clientco", true)));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 12..120)) {
            let edns = Message::parse(&bytes).unwrap().edns();
            let _ = edns.and_then(|edns| edns.cookie());
        }
    }
}
