//! The format of libpcap (draft-ietf-opsawg-pcap).
//!
//! ```text
//!   file:   magic | version | zone (unused) | accuracy (unused) | snaplen | link type
//!   packet: seconds | fraction of a second | captured | on the wire | data
//! ```

use dnsalt_wire::link::LinkType;

use super::LARGEST;
use super::format::{Head, Order, Step};

const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;

/// A pcap file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pcap {
    order: Order,
    /// Nanoseconds in a unit of the fraction.
    unit: u64,
    /// Known behind the file header.
    link: Option<LinkType>,
}

impl Pcap {
    /// A file that starts with this: microseconds or nanoseconds, in either byte order.
    pub(super) fn of(magic: [u8; 4]) -> Option<Self> {
        let (order, unit) = match magic {
            [0xa1, 0xb2, 0xc3, 0xd4] => (Order::Big, 1000),
            [0xd4, 0xc3, 0xb2, 0xa1] => (Order::Little, 1000),
            [0xa1, 0xb2, 0x3c, 0x4d] => (Order::Big, 1),
            [0x4d, 0x3c, 0xb2, 0xa1] => (Order::Little, 1),
            _ => return None,
        };
        Some(Pcap { order, unit, link: None })
    }

    /// Length and seconds of what looks like a packet.
    pub(super) fn plausible(&self, bytes: &[u8]) -> Option<(usize, u32)> {
        let header = bytes.get(..RECORD_HEADER)?;
        let (captured, wire) = (self.order.length(header, 8), self.order.length(header, 12));
        let fraction = u64::from(self.order.u32(header, 4)) * self.unit;
        let good = (1..=wire).contains(&captured) && wire <= LARGEST && fraction < 1_000_000_000;
        good.then(|| (RECORD_HEADER + captured, self.order.u32(header, 0)))
    }

    #[inline]
    pub(super) fn step(&mut self, bytes: &[u8]) -> Step {
        let Some(link) = self.link else {
            if bytes.len() < FILE_HEADER {
                return Step::Need(FILE_HEADER);
            }
            // The upper half may say how long the frame check sequence is.
            self.link = Some(LinkType((self.order.u32(bytes, 20) & 0xffff) as u16));
            return Step::Skip(FILE_HEADER);
        };
        if bytes.len() < RECORD_HEADER {
            return Step::Need(RECORD_HEADER);
        }
        let captured = self.order.length(bytes, 8);
        if captured > LARGEST {
            return Step::Damaged("a packet of impossible length");
        }
        let length = RECORD_HEADER + captured;
        if bytes.len() < length {
            return Step::Need(length);
        }
        let seconds = u64::from(self.order.u32(bytes, 0));
        let fraction = u64::from(self.order.u32(bytes, 4)) * self.unit;
        Step::Record(Head {
            length,
            data: RECORD_HEADER..length,
            time: seconds * 1_000_000_000 + fraction,
            link,
            wire_len: self.order.u32(bytes, 12),
        })
    }
}
