//! A writer of the archive that the kernel unpacks into its first file system: cpio, "newc".
//!
//! ```text
//!   "070701", 13 numbers of 8 hexadecimal digits, name with NUL, zeros to 4, content, zeros to 4
//! ```
//!
//! Documentation/driver-api/early-userspace/buffer-format.rst of Linux.

use std::io::{self, Write};

const FOLDER: u32 = 0o04_0755;
const FILE: u32 = 0o10_0755;
const LINK: u32 = 0o12_0777;

/// Writes entries, all root's.
#[derive(Debug)]
pub(crate) struct Archive<W> {
    out: W,
    inode: u32,
}

impl<W: Write> Archive<W> {
    pub(crate) fn new(out: W) -> Self {
        Archive { out, inode: 0 }
    }

    /// A folder; that which it is in has to be there.
    pub(crate) fn folder(&mut self, name: &str) -> io::Result<()> {
        self.entry(name, FOLDER, &[])
    }

    /// A file that everybody may run.
    pub(crate) fn file(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.entry(name, FILE, content)
    }

    /// A symbolic link.
    pub(crate) fn link(&mut self, name: &str, target: &str) -> io::Result<()> {
        self.entry(name, LINK, target.as_bytes())
    }

    /// Writes the end of the archive.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.entry("TRAILER!!!", 0, &[])?;
        self.out.flush()
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let too_long = |_| io::Error::other(format!("{name}: too long"));
        self.inode += 1;
        let size = u32::try_from(content.len()).map_err(too_long)?;
        let name_size = u32::try_from(name.len() + 1).map_err(too_long)?;
        // Inode, mode, owner, group, links, time, size, four numbers of devices, name, sum.
        let numbers = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        let mut head = b"070701".to_vec();
        for number in numbers {
            write!(head, "{number:08x}")?;
        }
        head.extend_from_slice(name.as_bytes());
        head.push(0);
        head.resize(head.len().next_multiple_of(4), 0);
        self.out.write_all(&head)?;
        self.out.write_all(content)?;
        self.out.write_all(&[0; 3][..content.len().next_multiple_of(4) - content.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_begin_at_multiples_of_four() {
        let mut bytes = Vec::new();
        let mut archive = Archive::new(&mut bytes);
        archive.folder("bin").unwrap();
        archive.file("init", b"#!/bin/sh").unwrap();
        archive.link("bin/sh", "busybox").unwrap();
        archive.finish().unwrap();
        let starts: Vec<usize> =
            (0..bytes.len()).filter(|&at| bytes[at..].starts_with(b"070701")).collect();
        assert_eq!(starts, [0, 116, 116 + 116 + 12, 244 + 120 + 8]);
        assert_eq!(&bytes[14..22], b"000041ed");
        assert_eq!(&bytes[116 + 54..116 + 62], b"00000009");
        assert_eq!(&bytes[232..244], b"#!/bin/sh\0\0\0");
    }
}
