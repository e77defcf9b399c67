//! What the two formats have in common: told apart by their first bytes, read step by step.

use std::ops::Range;

use dnsalt_wire::link::LinkType;

use super::pcap::Pcap;
use super::pcapng::{self, Pcapng};

/// A format with what it has learned so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

/// What to do with the bytes at hand.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A packet stands there.
    Record(Head),
    /// So many bytes hold no packet.
    Skip(usize),
    /// So many bytes have to be at hand to tell; at their end the file ends.
    Need(usize),
    /// What stands there makes no sense, and so neither does what follows.
    Damaged(&'static str),
}

/// Where a packet stands, and what is known of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the whole record.
    pub(super) length: usize,
    /// The packet within it.
    pub(super) data: Range<usize>,
    pub(super) time: u64,
    pub(super) link: LinkType,
    pub(super) wire_len: u32,
}

impl Format {
    /// The format of a file that starts with these bytes.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let magic = *bytes.first_chunk::<4>()?;
        if magic == pcapng::SECTION_HEADER {
            return Some(Format::Pcapng(Pcapng::default()));
        }
        Pcap::of(magic).map(Format::Pcap)
    }

    /// If what stands here looks like a record: its length, and seconds of its time (0 where that
    /// would take knowing the interface).
    pub(super) fn plausible(&self, bytes: &[u8]) -> Option<(usize, u32)> {
        match self {
            Format::Pcap(pcap) => pcap.plausible(bytes),
            Format::Pcapng(pcapng) => pcapng.plausible(bytes).map(|length| (length, 0)),
        }
    }

    #[inline]
    pub(super) fn step(&mut self, bytes: &[u8]) -> Step {
        match self {
            Format::Pcap(pcap) => pcap.step(bytes),
            Format::Pcapng(pcapng) => pcapng.step(bytes),
        }
    }
}

/// The byte order of the machine that wrote a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    #[default]
    Little,
    Big,
}

impl Order {
    /// Two bytes at an offset, 0 beyond the end: callers have asked for enough.
    #[inline]
    pub(super) fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let bytes = chunk(bytes, at);
        match self {
            Order::Little => u16::from_le_bytes(bytes),
            Order::Big => u16::from_be_bytes(bytes),
        }
    }

    /// Four bytes at an offset.
    #[inline]
    pub(super) fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let bytes = chunk(bytes, at);
        match self {
            Order::Little => u32::from_le_bytes(bytes),
            Order::Big => u32::from_be_bytes(bytes),
        }
    }

    /// Four bytes as a length.
    #[inline]
    pub(super) fn length(self, bytes: &[u8], at: usize) -> usize {
        self.u32(bytes, at) as usize
    }
}

#[inline]
fn chunk<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or([0; N])
}
