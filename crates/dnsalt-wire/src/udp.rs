//! UDP (RFC 768).
//!
//! ```text
//!  0      7 8     15 16    23 24    31
//! +--------+--------+--------+--------+
//! |   source port   | destination port|
//! +--------+--------+--------+--------+
//! |     length      |    checksum     |
//! +--------+--------+--------+--------+
//! ```

use crate::{ParseError, be16};

const HEADER: usize = 8;

/// A UDP datagram, or as much of it as was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp<'a> {
    src_port: u16,
    dst_port: u16,
    payload: &'a [u8],
}

impl<'a> Udp<'a> {
    /// Parses from the first byte of the header on. What lies behind the length of the header is
    /// not payload; if there is less, the payload is what there is.
    ///
    /// # Errors
    /// When the header is not all there, or gives a length below its own.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let (src_port, dst_port) = (be16(bytes, 0)?, be16(bytes, 2)?);
        let length = usize::from(be16(bytes, 4)?);
        if length < HEADER {
            return Err(ParseError::Malformed);
        }
        let payload = bytes.get(HEADER..).ok_or(ParseError::Truncated)?;
        Ok(Udp { src_port, dst_port, payload: &payload[..payload.len().min(length - HEADER)] })
    }

    /// The source port.
    #[inline]
    pub fn src_port(&self) -> u16 {
        self.src_port
    }

    /// The destination port.
    #[inline]
    pub fn dst_port(&self) -> u16 {
        self.dst_port
    }

    /// What it carries.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram() {
        let bytes = [0xad, 0x9c, 0, 53, 0, 10, 0, 0, b'h', b'i', b'!'];
        let udp = Udp::parse(&bytes).unwrap();
        assert_eq!((udp.src_port(), udp.dst_port(), udp.payload()), (44444, 53, &b"hi"[..]));
    }

    #[test]
    fn cut_and_malformed() {
        assert_eq!(Udp::parse(&[0, 1, 0, 2, 0, 8, 0]), Err(ParseError::Truncated));
        assert_eq!(Udp::parse(&[0, 1, 0, 2, 0, 7, 0, 0]), Err(ParseError::Malformed));
        let cut = Udp::parse(&[0, 1, 0, 2, 0, 99, 0, 0, 5]).unwrap();
        assert_eq!(cut.payload(), [5]);
    }
}
