//! Writing a query.

use core::fmt;

use super::HEADER;
use super::name::{MOST_LABEL, MOST_NAME};

/// A query for one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// The query ID.
    pub id: u16,
    /// Whether the server is to do the work (RD=1).
    pub recursion_desired: bool,
    /// The name, with or without the dot at its end, without escapes; `.` is the root.
    pub name: &'a str,
    /// The record type; see [`super::rrtype`].
    pub qtype: u16,
}

/// Why a query cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError {
    /// An empty label, one above 63 bytes, or a name above 255.
    Name,
    /// The buffer is too small; 512 bytes are always enough.
    Buffer,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WriteError::Name => "not a name: labels have 1 to 63 bytes, a name 255 at most",
            WriteError::Buffer => "the buffer is too small for the query",
        })
    }
}

impl core::error::Error for WriteError {}

/// Writes a query of class IN and returns its length.
///
/// # Errors
/// When the name is none, or the buffer too small.
pub fn write_query(buffer: &mut [u8], query: &Query<'_>) -> Result<usize, WriteError> {
    let name = query.name.strip_suffix('.').unwrap_or(query.name);
    let mut at = HEADER;
    let mut put = |bytes: &[u8]| {
        let end = at + bytes.len();
        buffer.get_mut(at..end).ok_or(WriteError::Buffer)?.copy_from_slice(bytes);
        at = end;
        Ok(())
    };
    let mut length = 1;
    for label in name.split('.').filter(|_| !name.is_empty()) {
        length += 1 + label.len();
        let size = u8::try_from(label.len()).map_err(|_| WriteError::Name)?;
        if label.is_empty() || label.len() > MOST_LABEL || length > MOST_NAME {
            return Err(WriteError::Name);
        }
        put(&[size])?;
        put(label.as_bytes())?;
    }
    put(&[0])?;
    put(&query.qtype.to_be_bytes())?;
    put(&1_u16.to_be_bytes())?;
    let end = at;
    let flags: u16 = if query.recursion_desired { 0x0100 } else { 0 };
    let header = [query.id, flags, 1, 0, 0, 0];
    for (word, place) in header.iter().zip(buffer.chunks_exact_mut(2)) {
        place.copy_from_slice(&word.to_be_bytes());
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(name: &str, buffer: &mut [u8]) -> Result<usize, WriteError> {
        write_query(buffer, &Query { id: 1, recursion_desired: true, name, qtype: 1 })
    }

    #[test]
    fn the_bytes() {
        let mut buffer = [0xff; 64];
        let length = write("a.bc.", &mut buffer).unwrap();
        assert_eq!(buffer[..length], *b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x01a\x02bc\0\0\x01\0\x01");
        let length = write(".", &mut buffer).unwrap();
        assert_eq!(buffer[HEADER..length], *b"\0\0\x01\0\x01");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let mut buffer = [0; 512];
        let label = std::string::String::from_utf8(std::vec![b'a'; 64]).unwrap();
        let many = ["abcdefg"; 40].join(".");
        for bad in ["a..b", ".a", &label, &many] {
            assert_eq!(write(bad, &mut buffer), Err(WriteError::Name), "{bad}");
        }
        assert_eq!(write("example.test", &mut [0; 20]), Err(WriteError::Buffer));
    }
}
