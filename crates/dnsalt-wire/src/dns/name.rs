//! Names as they stand in a question: labels with their lengths, never compressed there.

use core::fmt;

use crate::ParseError;

/// Labels of 63 bytes at most, 255 in all (RFC 1035 section 2.3.4).
pub(super) const MOST_LABEL: usize = 63;
pub(super) const MOST_NAME: usize = 255;

/// An uncompressed name, with the empty label at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    wire: &'a [u8],
}

impl<'a> Name<'a> {
    /// Parses the name at the start of `bytes`.
    ///
    /// # Errors
    /// When it is cut, too long, or has a compression pointer, for which a question has no use.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut at = 0;
        loop {
            let length = usize::from(*bytes.get(at).ok_or(ParseError::Truncated)?);
            if length > MOST_LABEL || at + 1 + length > MOST_NAME {
                return Err(ParseError::Malformed);
            }
            at += 1 + length;
            if length == 0 {
                return Ok(Name { wire: &bytes[..at] });
            }
        }
    }

    /// The bytes, with lengths.
    #[inline]
    pub fn as_wire(&self) -> &'a [u8] {
        self.wire
    }

    /// The labels, without the empty one at the end.
    pub fn labels(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.wire;
        core::iter::from_fn(move || {
            let (&length, behind) = rest.split_first()?;
            let (label, behind) = behind.split_at_checked(usize::from(length))?;
            rest = behind;
            (length > 0).then_some(label)
        })
    }
}

impl fmt::Display for Name<'_> {
    /// With a dot at the end; bytes that are no plain text as `\.` or `\DDD` (RFC 1035 section 5.1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.wire.len() <= 1 {
            return f.write_str(".");
        }
        for label in self.labels() {
            for &byte in label {
                match byte {
                    b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                        write!(f, "\\{}", char::from(byte))?;
                    }
                    0x21..=0x7e => write!(f, "{}", char::from(byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString as _;
    use std::vec::Vec;

    #[test]
    fn names_are_shown_with_escapes() {
        assert_eq!(Name::parse(b"\0").unwrap().to_string(), ".");
        let name = Name::parse(b"\x05a.b\\c\x03\xff d\0 behind").unwrap();
        assert_eq!(name.to_string(), "a\\.b\\\\c.\\255\\032d.");
        assert_eq!(name.as_wire().len(), 11);
        assert_eq!(name.labels().collect::<Vec<_>>(), [&b"a.b\\c"[..], b"\xff d"]);
    }

    #[test]
    fn too_long_and_compressed_names_are_refused() {
        assert_eq!(Name::parse(b"\xc0\x0c"), Err(ParseError::Malformed));
        assert_eq!(Name::parse(b"\x40"), Err(ParseError::Malformed));
        let mut long = Vec::new();
        for _ in 0..4 {
            long.push(63);
            long.extend_from_slice(&[b'a'; 63]);
        }
        long.push(0);
        assert_eq!(Name::parse(&long), Err(ParseError::Malformed));
    }
}
