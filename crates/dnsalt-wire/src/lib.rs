//! Typed views on the bytes of links, IP, UDP, TCP and DNS: no IO, no allocation, no opinion.
//!
//! Each view borrows the bytes that it was parsed from and reads its fields where they stand. Parsing
//! checks once that the fixed part is there; accessors cannot fail after that. Hostile bytes give an
//! error, never a panic.
//!
//! ```
//! use dnsalt_wire::dns::{self, Message, Query};
//!
//! let mut buffer = [0; 512];
//! let query = Query { id: 7, recursion_desired: true, name: "example.test", qtype: dns::rrtype::A };
//! let length = dns::write_query(&mut buffer, &query)?;
//! let message = Message::parse(&buffer[..length])?;
//! assert_eq!(message.id(), 7);
//! assert_eq!(message.question()?.name.to_string(), "example.test.");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod dns;
pub mod ip;
pub mod link;
pub mod tcp;
pub mod udp;

use core::fmt;

/// Why bytes are not what they were taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// The bytes end before the header, or before the length that it gives.
    Truncated,
    /// A version, a length or a label that the protocol does not have.
    Malformed,
    /// More IPv6 extension headers than anybody sends in good faith.
    TooManyHeaders,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ParseError::Truncated => "the packet is cut short",
            ParseError::Malformed => "the packet is malformed",
            ParseError::TooManyHeaders => "the packet has too many extension headers",
        })
    }
}

impl core::error::Error for ParseError {}

/// The two bytes at an offset, in network order.
#[inline]
pub(crate) fn be16(bytes: &[u8], at: usize) -> Result<u16, ParseError> {
    match bytes.get(at..at + 2) {
        Some(&[high, low]) => Ok(u16::from_be_bytes([high, low])),
        _ => Err(ParseError::Truncated),
    }
}
