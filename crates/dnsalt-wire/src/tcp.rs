//! TCP (RFC 9293 section 3.1), as far as finding its payload.

use crate::{ParseError, be16};

/// A TCP segment, or as much of it as was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp<'a> {
    src_port: u16,
    dst_port: u16,
    flags: u8,
    payload: &'a [u8],
}

impl<'a> Tcp<'a> {
    /// Parses from the first byte of the header on.
    ///
    /// # Errors
    /// When the header with its options is not all there, or gives a length below 20.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let (src_port, dst_port) = (be16(bytes, 0)?, be16(bytes, 2)?);
        // The data offset counts words of four bytes, in the upper half of byte 12.
        let header = usize::from(*bytes.get(12).ok_or(ParseError::Truncated)? >> 4) * 4;
        if header < 20 {
            return Err(ParseError::Malformed);
        }
        let payload = bytes.get(header..).ok_or(ParseError::Truncated)?;
        Ok(Tcp { src_port, dst_port, flags: bytes[13], payload })
    }

    /// The source port.
    pub fn src_port(&self) -> u16 {
        self.src_port
    }

    /// The destination port.
    pub fn dst_port(&self) -> u16 {
        self.dst_port
    }

    /// Whether it opens a connection: SYN without ACK.
    pub fn opens(&self) -> bool {
        self.flags & 0x12 == 0x02
    }

    /// What it carries.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_passed_over() {
        let mut bytes = [0; 26];
        bytes[..4].copy_from_slice(&[0xad, 0x9c, 0, 53]);
        (bytes[12], bytes[13]) = (6 << 4, 0x02);
        bytes[24..].copy_from_slice(b"hi");
        let tcp = Tcp::parse(&bytes).unwrap();
        assert_eq!((tcp.src_port(), tcp.dst_port(), tcp.payload()), (44444, 53, &b"hi"[..]));
        assert!(tcp.opens());
        bytes[13] = 0x12;
        assert!(!Tcp::parse(&bytes).unwrap().opens());
    }

    #[test]
    fn cut_and_malformed() {
        assert_eq!(Tcp::parse(&[0; 12]), Err(ParseError::Truncated));
        assert_eq!(Tcp::parse(&[0; 20]), Err(ParseError::Malformed));
        let mut options_cut = [0; 20];
        options_cut[12] = 15 << 4;
        assert_eq!(Tcp::parse(&options_cut), Err(ParseError::Truncated));
    }
}
