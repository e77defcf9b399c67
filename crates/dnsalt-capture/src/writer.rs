//! Writes pcapng, the format that has room for comments.
// Packets and comments have at most 64 KiB.
#![allow(clippy::cast_possible_truncation)]

use std::io::{self, Write};

/// What packets start with: an IP header (`LINKTYPE_RAW`).
const RAW: u16 = 101;
/// Times are in nanoseconds.
const NANOSECONDS: u8 = 9;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;

/// Options: of any block, of an interface.
const END: u16 = 0;
const COMMENT: u16 = 1;
const RESOLUTION: u16 = 9;

/// IP packets as a section of pcapng, each block in one write.
///
/// Sections may follow each other in a file: one that is there can be continued.
#[derive(Debug)]
pub struct PcapngWriter<W> {
    out: W,
    written: u64,
}

impl<W: Write> PcapngWriter<W> {
    /// Writes the beginning of a section.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(mut out: W) -> io::Result<Self> {
        let mut section = BYTE_ORDER.to_le_bytes().to_vec();
        section.extend([1, 0, 0, 0]);
        // Of unknown length.
        section.extend([0xff; 8]);
        let mut interface = u32::from(RAW).to_le_bytes().to_vec();
        interface.extend([0; 4]);
        option(&mut interface, RESOLUTION, &[NANOSECONDS]);
        option(&mut interface, END, &[]);
        let both = [block(SECTION_HEADER, &section), block(INTERFACE, &interface)].concat();
        out.write_all(&both)?;
        Ok(PcapngWriter { out, written: both.len() as u64 })
    }

    /// Writes a packet: when it came, in nanoseconds since 1970, what was captured of it, from the IP
    /// header on, its length on the wire, and what is to be said about it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn packet(&mut self, time: u64, data: &[u8], wire: u32, comment: &str) -> io::Result<()> {
        let captured = u32::try_from(data.len()).map_err(io::Error::other)?;
        let (high, low) = ((time >> 32) as u32, time as u32);
        let mut body = Vec::with_capacity(data.len() + comment.len() + 40);
        for word in [0, high, low, captured, wire.max(captured)] {
            body.extend(word.to_le_bytes());
        }
        body.extend(data);
        pad(&mut body);
        option(&mut body, COMMENT, comment.as_bytes());
        option(&mut body, END, &[]);
        let block = block(PACKET, &body);
        self.out.write_all(&block)?;
        self.written += block.len() as u64;
        Ok(())
    }

    /// Bytes of this section.
    pub fn written(&self) -> u64 {
        self.written
    }
}

/// Type and length before the body, length again behind it.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 12).to_le_bytes();
    [&kind.to_le_bytes()[..], &length, body, &length].concat()
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    // Its length has 16 bits.
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::file::CaptureFile;
    use dnsalt_wire::link::LinkType;

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        let time = 1_700_000_000_123_456_789;
        for section in 0..2_u8 {
            let mut writer = PcapngWriter::new(&mut bytes).unwrap();
            for length in 20..30 {
                writer.packet(time, &vec![0x45 + section; length], 99, "a comment").unwrap();
            }
            let written = writer.written();
            assert_eq!(bytes.len() as u64, written * (u64::from(section) + 1));
        }
        let mut file = CaptureFile::of_stream("test", Cursor::new(bytes)).unwrap();
        let mut lengths = Vec::new();
        while let Some(record) = file.next_record().unwrap() {
            assert_eq!((record.time, record.link), (time, LinkType(RAW)));
            assert_eq!(record.wire_len, 99);
            lengths.push(record.data.len());
        }
        assert_eq!(lengths, (20..30).chain(20..30).collect::<Vec<_>>());
    }
}
