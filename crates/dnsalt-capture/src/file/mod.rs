//! Packets of capture files: pcap and pcapng, plain or compressed, whole or damaged.
//!
//! ```text
//!   file, mapped ───────────┐
//!   .gz, .zst, a stream ────┴─ Source: bytes ──> Format: where the next record is ──> Record
//! ```
//!
//! A format says what it needs to see next and where the packet stands in it; it neither reads nor
//! copies. So a mapped file is read where it lies, and a stream through one buffer that grows to
//! its largest record; threads that share a file read it through a buffer each.

mod format;
mod pcap;
mod pcapng;
mod rounds;
mod source;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use dnsalt_wire::link::LinkType;

pub use rounds::Stretch;

use format::{Format, Step};
use source::Source;

/// The most that one record may hold; what claims more is damaged. Twice what libpcap writes at
/// most, with room for the options of pcapng.
const LARGEST: usize = 1 << 20;

/// A packet of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// What `data` starts with.
    pub link: LinkType,
    /// As much of the packet as was captured.
    pub data: &'a [u8],
    /// Its length on the wire; above that of `data` where the capture was cut.
    pub wire_len: u32,
}

/// Why a file ended before its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("damaged at byte {offset}: {what}{}", match lost {
    Some(bytes) => format!("; the last {bytes} bytes were not read"),
    None => String::new(),
})]
pub struct Damage {
    /// Where, counted in the bytes that came out of any compression.
    pub offset: u64,
    /// What is wrong there.
    pub what: &'static str,
    /// Bytes from there to the end; none if nobody knows.
    pub lost: Option<u64>,
}

/// Why a file cannot be read at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The system said so.
    #[error("{name}: {cause}")]
    Io {
        /// The file.
        name: String,
        /// What the system said.
        cause: io::Error,
    },
    /// It is something else.
    #[error("{name}: not a capture file (pcap or pcapng, plain, .gz or .zst)")]
    NotACapture {
        /// The file.
        name: String,
    },
}

/// The packets of one file or stream, in the order in which they stand there.
#[derive(Debug)]
pub struct CaptureFile {
    name: String,
    source: Source,
    format: Format,
    damage: Option<Damage>,
}

impl CaptureFile {
    /// Opens a file. Compression is told by its first bytes, not by its name.
    ///
    /// # Errors
    /// When it cannot be read, or is no capture.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let name = path.display().to_string();
        let source = File::open(path).and_then(Source::of_file);
        Self::new(name, source)
    }

    /// Reads a stream, such as standard input.
    ///
    /// # Errors
    /// As [`CaptureFile::open`].
    pub fn of_stream(name: &str, stream: impl Read + Send + 'static) -> Result<Self, FileError> {
        Self::new(name.to_owned(), Source::of_stream(Box::new(stream)))
    }

    fn new(name: String, source: io::Result<Source>) -> Result<Self, FileError> {
        let io = |cause| FileError::Io { name: name.clone(), cause };
        let mut source = source.map_err(io)?;
        source.want(4).map_err(io)?;
        match Format::of(source.bytes()) {
            Some(format) => Ok(CaptureFile { name, source, format, damage: None }),
            None => Err(FileError::NotACapture { name }),
        }
    }

    /// The next packet; none at the end, which [`CaptureFile::damage`] may explain.
    ///
    /// # Errors
    /// When reading fails. A file that is damaged is no error: what is good of it was read.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, FileError> {
        loop {
            match self.format.step(self.source.bytes()) {
                Step::Record(head) => {
                    let bytes = self.source.take(head.length);
                    return Ok(Some(Record {
                        time: head.time,
                        link: head.link,
                        data: &bytes[head.data],
                        wire_len: head.wire_len,
                    }));
                }
                Step::Skip(length) => {
                    self.source.take(length);
                }
                Step::Damaged(what) => return Ok(self.end(what)),
                Step::Need(length) => match self.source.want(length) {
                    Ok(true) => {}
                    Ok(false) if self.source.bytes().is_empty() => return Ok(None),
                    Ok(false) => return Ok(self.end("the file ends within a packet")),
                    // The end of a compressed file that was cut, or is damaged inside.
                    Err(cause) if source::is_damage(&cause) => {
                        return Ok(self.end("the compression is damaged or cut short"));
                    }
                    Err(cause) => return Err(FileError::Io { name: self.name.clone(), cause }),
                },
            }
        }
    }

    /// Why the packets ended before the end of the file; none if they did not, or not yet.
    pub fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }

    fn end<T>(&mut self, what: &'static str) -> Option<T> {
        if self.damage.is_none() {
            let (offset, lost) = (self.source.position(), self.source.known_rest());
            self.damage = Some(Damage { offset, what, lost });
        }
        None
    }
}
