//! DNS messages (RFC 1035), as far as header and first question, and queries to write.
//!
//! ```text
//!   0  1  2  3  4  5  6  7  8  9  0  1  2  3  4  5
//! +--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+
//! |                      ID                       |
//! |QR|   Opcode  |AA|TC|RD|RA|   Z    |   RCODE   |
//! |                    QDCOUNT                    |
//! |                    ANCOUNT                    |
//! |                    NSCOUNT                    |
//! |                    ARCOUNT                    |
//! +--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+   section 4.1.1
//! ```

pub mod edns;
mod letters;
mod name;
mod query;

pub use edns::Edns;
pub use letters::Letters;
pub use name::Name;
pub use query::{Query, WriteError, write_query};

use crate::{ParseError, be16};

/// Record types (RFC 1035 section 3.2.2, RFC 3596).
pub mod rrtype {
    /// An IPv4 address.
    pub const A: u16 = 1;
    /// An authoritative name server.
    pub const NS: u16 = 2;
    /// An alias.
    pub const CNAME: u16 = 5;
    /// The start of a zone.
    pub const SOA: u16 = 6;
    /// Text.
    pub const TXT: u16 = 16;
    /// An IPv6 address.
    pub const AAAA: u16 = 28;
    /// EDNS (RFC 6891).
    pub const OPT: u16 = 41;
}

pub(crate) const HEADER: usize = 12;

/// A message, or as much of it as was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    bytes: &'a [u8],
    header: [u16; 6],
}

/// The first question of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// Whom it is about.
    pub name: Name<'a>,
    /// The record type asked for.
    pub qtype: u16,
    /// The class, 1 (IN) as a rule.
    pub qclass: u16,
}

impl<'a> Message<'a> {
    /// Parses the header; what follows is looked at when it is asked for.
    ///
    /// # Errors
    /// When there are less than 12 bytes.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        if bytes.len() < HEADER {
            return Err(ParseError::Truncated);
        }
        let mut header = [0; 6];
        for (word, two) in header.iter_mut().zip(bytes.chunks_exact(2)) {
            *word = u16::from_be_bytes([two[0], two[1]]);
        }
        Ok(Message { bytes, header })
    }

    /// The query ID.
    #[inline]
    pub fn id(&self) -> u16 {
        self.header[0]
    }

    /// Whether it is a reply (QR=1).
    #[inline]
    pub fn is_response(&self) -> bool {
        self.header[1] & 0x8000 != 0
    }

    /// Whether it was truncated (TC=1).
    #[inline]
    pub fn is_truncated(&self) -> bool {
        self.header[1] & 0x0200 != 0
    }

    /// The kind of query, 0 for a standard one.
    pub fn opcode(&self) -> u8 {
        (self.header[1] >> 11 & 0x0f) as u8
    }

    /// The response code, 0 to 15.
    pub fn rcode(&self) -> u8 {
        (self.header[1] & 0x0f) as u8
    }

    /// From QR to RCODE: the third and the fourth byte (RFC 1035 section 4.1.1).
    #[inline]
    pub fn flags(&self) -> u16 {
        self.header[1]
    }

    /// Questions that there should be: one, as a rule.
    #[inline]
    pub fn questions(&self) -> u16 {
        self.header[2]
    }

    /// The first question.
    ///
    /// # Errors
    /// When there is none, or it is cut or malformed.
    #[inline]
    pub fn question(&self) -> Result<Question<'a>, ParseError> {
        if self.header[2] == 0 {
            return Err(ParseError::Malformed);
        }
        let name = Name::parse(&self.bytes[HEADER..])?;
        let behind = HEADER + name.as_wire().len();
        Ok(Question {
            name,
            qtype: be16(self.bytes, behind)?,
            qclass: be16(self.bytes, behind + 2)?,
        })
    }
}

/// The first message of a TCP stream, behind its length (RFC 1035 section 4.2.2); as much of it as
/// is in this segment.
pub fn tcp_payload(segment: &[u8]) -> Option<&[u8]> {
    let (length, message) = segment.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    Some(&message[..message.len().min(length)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString as _;

    #[test]
    fn a_reply() {
        let bytes = b"\x12\x34\x83\x83\0\x01\0\0\0\0\0\0\x03wWw\x04test\0\0\x1c\0\x01";
        let message = Message::parse(bytes).unwrap();
        assert_eq!(message.id(), 0x1234);
        assert!(message.is_response() && message.is_truncated());
        assert_eq!((message.opcode(), message.rcode()), (0, 3));
        let question = message.question().unwrap();
        assert_eq!(question.name.to_string(), "wWw.test.");
        assert_eq!((question.qtype, question.qclass), (rrtype::AAAA, 1));
    }

    #[test]
    fn no_question_and_cut_questions() {
        assert_eq!(Message::parse(&[0; 11]), Err(ParseError::Truncated));
        let none = Message::parse(&[0; 12]).unwrap();
        assert_eq!(none.question(), Err(ParseError::Malformed));
        let whole = b"\0\x01\0\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";
        for cut in HEADER..whole.len() {
            let message = Message::parse(&whole[..cut]).unwrap();
            assert_eq!(message.question(), Err(ParseError::Truncated), "{cut}");
        }
        assert!(Message::parse(whole).unwrap().question().is_ok());
    }

    #[test]
    fn the_length_of_tcp() {
        assert_eq!(tcp_payload(b"\0\x02abc"), Some(&b"ab"[..]));
        assert_eq!(tcp_payload(b"\0\x09abc"), Some(&b"abc"[..]));
        assert_eq!(tcp_payload(b"\0"), None);
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = tcp_payload(&bytes);
            if let Ok(message) = Message::parse(&bytes)
                && let Ok(question) = message.question()
            {
                let _ = question.name.to_string();
            }
        }

        #[test]
        fn what_is_written_is_read(id: u16, name in "[a-zA-Z0-9_-]{1,63}(\\.[a-z0-9]{1,20}){0,6}\\.?") {
            let mut buffer = [0; 512];
            let query = Query { id, recursion_desired: true, name: &name, qtype: rrtype::A };
            let length = write_query(&mut buffer, &query).unwrap();
            let message = Message::parse(&buffer[..length]).unwrap();
            prop_assert_eq!(message.id(), id);
            prop_assert!(!message.is_response());
            let read = message.question().unwrap().name.to_string();
            prop_assert_eq!(read.trim_end_matches('.'), name.trim_end_matches('.'));
        }
    }
}
