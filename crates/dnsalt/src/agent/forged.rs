//! Forged packets, kept as evidence: in a pcapng file, with a comment each, and in the file that was full
//! before it.
//!
//! ```text
//!   forged.pcapng      written
//!   forged.pcapng.1    as it was when it had half of what both may have
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use dnsalt_bpf::Told;
use dnsalt_capture::PcapngWriter;
use dnsalt_capture::file::CaptureFile;
use dnsalt_wire::dns::Message;
use dnsalt_wire::ip::Packet;
use dnsalt_wire::udp::Udp;
use rustix::time::{ClockId, clock_gettime};

/// What a pcapng file begins with.
const MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// The file that is written.
#[derive(Debug)]
pub(crate) struct Forged {
    path: PathBuf,
    /// Bytes that it may have.
    most: u64,
    /// Bytes that it had when it was opened.
    found: u64,
    writer: PcapngWriter<File>,
}

impl Forged {
    /// Goes on with a file, or begins it. Both files together have at most so many bytes.
    ///
    /// # Errors
    /// When it cannot be written, or is something else.
    pub(crate) fn open(path: &Path, both: u64) -> anyhow::Result<Self> {
        let path = std::path::absolute(path)?;
        let shown = || path.display().to_string();
        if !is_whole(&path).with_context(shown)? {
            fs::rename(&path, before(&path)).with_context(shown)?;
        }
        let (found, writer) = begin(&path).with_context(shown)?;
        Ok(Forged { path, most: both / 2, found, writer })
    }

    /// Where files have to be made.
    pub(super) fn folder(&self) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("/")).to_owned()
    }

    /// Adds the packet that was told of.
    pub(super) fn keep(&mut self, told: &Told, comment: &str) -> io::Result<()> {
        if told.packet.is_empty() {
            return Ok(());
        }
        if self.found + self.writer.written() + (told.packet.len() + comment.len()) as u64
            > self.most
        {
            fs::rename(&self.path, before(&self.path))?;
            (self.found, self.writer) = begin(&self.path)?;
        }
        let wire = on_the_wire(&told.packet);
        self.writer.packet(since_1970(told.event.time), &told.packet, wire, comment)
    }
}

/// The name that a full file gets.
fn before(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Whether it can be continued: one that was cut (a crash) cannot.
fn is_whole(path: &Path) -> anyhow::Result<bool> {
    let mut magic = [0; 4];
    match File::open(path) {
        Ok(file) if file.metadata()?.len() == 0 => return Ok(true),
        Ok(mut file) => {
            let read = file.read_exact(&mut magic);
            ensure!(read.is_ok() && magic == MAGIC, "not a pcapng file; it is left alone");
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error.into()),
    }
    let mut file = CaptureFile::open(path)?;
    while file.next_record()?.is_some() {}
    Ok(file.damage().is_none())
}

fn begin(path: &Path) -> io::Result<(u64, PcapngWriter<File>)> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    Ok((file.metadata()?.len(), PcapngWriter::new(file)?))
}

/// The length that the IP header tells.
fn on_the_wire(packet: &[u8]) -> u32 {
    let (at, header) = if packet[0] >> 4 == 6 { (4, 40) } else { (2, 0) };
    let length = packet.get(at..at + 2).map_or(0, |two| u16::from_be_bytes([two[0], two[1]]));
    u32::from(length) + header
}

/// A time that the kernel gave, in nanoseconds since 1970.
fn since_1970(since_boot: u64) -> u64 {
    let [wall, boot] = [ClockId::Realtime, ClockId::Monotonic].map(|clock| {
        let now = clock_gettime(clock);
        i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
    });
    u64::try_from(wall - boot + i128::from(since_boot)).unwrap_or(0)
}

/// The name that a reply claims to answer for, if it can be read.
pub(super) fn name(packet: &[u8]) -> Option<String> {
    let transport = Packet::parse(packet).ok()?.transport();
    let udp = Udp::parse(transport.payload).ok()?;
    let question = Message::parse(udp.payload()).ok()?.question().ok()?;
    // Its case is our own doing.
    Some(question.name.to_string().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use dnsalt_salt::layout::Event;

    use super::*;

    fn told(packet: &[u8]) -> Told {
        Told { event: Event::default(), packet: packet.to_vec() }
    }

    fn records(path: &Path) -> usize {
        let mut file = CaptureFile::open(path).unwrap();
        let mut count = 0;
        while file.next_record().unwrap().is_some() {
            count += 1;
        }
        assert_eq!(file.damage(), None);
        count
    }

    #[test]
    fn two_files_hold_what_they_may() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("forged.pcapng");
        for _ in 0..50 {
            // Begun anew again and again.
            let mut forged = Forged::open(&path, 4000).unwrap();
            for _ in 0..3 {
                forged.keep(&told(&[0x45; 100]), "why").unwrap();
            }
            assert!(fs::metadata(&path).unwrap().len() <= 2100);
        }
        assert!((1..20).contains(&records(&path)) && records(&before(&path)) > 5);
    }

    #[test]
    fn a_file_that_was_cut_is_put_aside_and_one_of_others_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("forged.pcapng");
        Forged::open(&path, 4000).unwrap().keep(&told(&[0x45; 100]), "").unwrap();
        let cut = fs::read(&path).unwrap();
        fs::write(&path, &cut[..cut.len() - 5]).unwrap();
        drop(Forged::open(&path, 4000).unwrap());
        assert_eq!(records(&path), 0);
        assert_eq!(fs::read(before(&path)).unwrap(), &cut[..cut.len() - 5]);
        let letter = folder.path().join("letter");
        fs::write(&letter, "dear").unwrap();
        let why = format!("{:#}", Forged::open(&letter, 4000).unwrap_err());
        assert!(why.ends_with("/letter: not a pcapng file; it is left alone"), "{why}");
        assert_eq!(fs::read(&letter).unwrap(), b"dear");
    }

    #[test]
    fn names_are_read_from_whatever_came() {
        assert_eq!(name(&[]), None);
        assert_eq!(name(&[0x45; 60]), None);
        let dns = b"\x12\x34\x81\0\0\x01\0\0\0\0\0\0\x03w w\x04test\0\0\x01\0\x01";
        let length = 28 + u8::try_from(dns.len()).unwrap();
        let mut packet = vec![0x45, 0, 0, length, 0, 0, 0, 0, 64, 17, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2];
        packet.extend([0, 53, 1, 1, 0, length - 20, 0, 0]);
        packet.extend(dns);
        assert_eq!(name(&packet).unwrap(), r"w\032w.test.");
        assert_eq!(on_the_wire(&packet), u32::from(length));
    }
}
