//! Where the bytes come from: a mapped file, or a stream behind a buffer.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek as _};

use flate2::read::MultiGzDecoder;
use memmap2::Mmap;

/// What a stream is read by.
const CHUNK: usize = 256 << 10;

/// Bytes, some of them at hand.
pub(super) enum Source {
    /// All at hand; and the file itself, with buffers for those who read it in pieces.
    Mapped { map: Mmap, at: usize, file: File, buffers: Vec<Vec<u8>> },
    /// Those between `start` and `end` at hand.
    Stream { stream: Box<dyn Read + Send>, buffer: Vec<u8>, start: usize, end: usize, taken: u64 },
}

impl Source {
    /// Maps a plain file; decompresses another; streams what is no file at all, such as a pipe.
    pub(super) fn of_file(mut file: File) -> io::Result<Self> {
        if !file.metadata()?.is_file() {
            return Self::of_stream(Box::new(file));
        }
        let mut magic = [0; 4];
        let length = read_full(&mut file, &mut magic)?;
        file.rewind()?;
        if compression(&magic[..length]).is_some() {
            return decompressed(&magic[..length], Box::new(file)).map(Self::streaming);
        }
        // SAFETY: the file is only read. Whoever cuts it short while we read it ends us (SIGBUS):
        // the price of reading it where it lies, as other tools of the kind pay it.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Source::Mapped { map, at: 0, file, buffers: Vec::new() })
    }

    /// Reads a stream, and decompresses it if it is compressed.
    pub(super) fn of_stream(mut stream: Box<dyn Read + Send>) -> io::Result<Self> {
        let mut magic = [0; 4];
        let length = read_full(&mut stream, &mut magic)?;
        let whole = Box::new(io::Cursor::new(magic).take(length as u64).chain(stream));
        decompressed(&magic[..length], whole).map(Self::streaming)
    }

    fn streaming(stream: Box<dyn Read + Send>) -> Self {
        Source::Stream { stream, buffer: Vec::new(), start: 0, end: 0, taken: 0 }
    }

    /// What is at hand.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Source::Mapped { map, at, .. } => &map[*at..],
            Source::Stream { buffer, start, end, .. } => &buffer[*start..*end],
        }
    }

    /// Brings at least so many bytes to hand; whether there are as many.
    pub(super) fn want(&mut self, length: usize) -> io::Result<bool> {
        let Source::Stream { stream, buffer, start, end, .. } = self else {
            return Ok(self.bytes().len() >= length);
        };
        while *end - *start < length {
            if *start > 0 {
                buffer.copy_within(*start..*end, 0);
                (*start, *end) = (0, *end - *start);
            }
            if buffer.len() < length.max(CHUNK) {
                buffer.resize(length.max(CHUNK), 0);
            }
            match stream.read(&mut buffer[*end..]) {
                Ok(0) => return Ok(false),
                Ok(more) => *end += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Takes so many bytes of those at hand.
    pub(super) fn take(&mut self, length: usize) -> &[u8] {
        match self {
            Source::Mapped { map, at, .. } => {
                *at += length;
                &map[*at - length..*at]
            }
            Source::Stream { buffer, start, taken, .. } => {
                *start += length;
                *taken += length as u64;
                &buffer[*start - length..*start]
            }
        }
    }

    /// Bytes taken so far.
    pub(super) fn position(&self) -> u64 {
        match self {
            Source::Mapped { at, .. } => *at as u64,
            Source::Stream { taken, .. } => *taken,
        }
    }

    /// Bytes from here to the end, where that is known.
    pub(super) fn known_rest(&self) -> Option<u64> {
        match self {
            Source::Mapped { .. } => Some(self.bytes().len() as u64),
            Source::Stream { .. } => None,
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Source::Mapped { .. } => "Mapped",
            Source::Stream { .. } => "Stream",
        };
        f.debug_struct(kind).field("position", &self.position()).finish_non_exhaustive()
    }
}

/// Whether a failure to read means that the compressed data is damaged or cut, not that the system
/// could not read it.
pub(super) fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    error.raw_os_error().is_none()
        && matches!(error.kind(), InvalidData | InvalidInput | Other | UnexpectedEof)
}

enum Compression {
    Gzip,
    Zstandard,
}

fn compression(magic: &[u8]) -> Option<Compression> {
    match magic {
        [0x1f, 0x8b, ..] => Some(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd] => Some(Compression::Zstandard),
        _ => None,
    }
}

/// The stream, decompressed if its first bytes say that it is compressed.
fn decompressed(magic: &[u8], stream: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    Ok(match compression(magic) {
        None => stream,
        Some(Compression::Gzip) => Box::new(MultiGzDecoder::new(stream)),
        Some(Compression::Zstandard) => Box::new(zstd::Decoder::new(stream)?),
    })
}

/// Reads until the buffer is full or the stream ends; how much it was.
fn read_full(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match stream.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}
