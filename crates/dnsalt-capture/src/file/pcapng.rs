//! The format of Wireshark (draft-ietf-opsawg-pcapng): blocks, in sections, with interfaces.
//!
//! ```text
//!   block: type | length | body ... | length again
//!     section header  0x0a0d0d0a   byte order magic; forgets the interfaces
//!     interface       1            link type | reserved | snaplen | options
//!     packet          6, 2 (old)   interface | time | captured | on the wire | data | options
//!     simple packet   3            on the wire | data
//! ```

use dnsalt_wire::link::LinkType;

use super::LARGEST;
use super::format::{Head, Order, Step};

/// The type of a section header block: the same in both byte orders, so that it can be told before
/// they are.
pub(super) const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const INTERFACE: u32 = 1;
const OLD_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const PACKET: u32 = 6;

/// Type and length before the body, length again behind it.
const FRAME: usize = 12;
const NANOSECONDS: u128 = 1_000_000_000;
/// More interfaces than any machine has; each costs memory.
const MOST_INTERFACES: usize = 65_536;

/// A pcapng file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pcapng {
    order: Order,
    interfaces: Vec<Interface>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interface {
    link: LinkType,
    snaplen: u32,
    /// Units of time in a second.
    resolution: u64,
    /// Seconds to add.
    offset: i64,
}

impl Pcapng {
    /// The length of what looks like a block.
    pub(super) fn plausible(&self, bytes: &[u8]) -> Option<usize> {
        let length = self.order.length(bytes.get(..FRAME)?, 4);
        let good = length >= FRAME && length.is_multiple_of(4) && length <= LARGEST + FRAME;
        let again = bytes.get(length.checked_sub(4).filter(|_| good)?..length)?;
        (self.order.length(again, 0) == length).then_some(length)
    }

    pub(super) fn step(&mut self, bytes: &[u8]) -> Step {
        if bytes.len() < FRAME {
            return Step::Need(FRAME);
        }
        if bytes[..4] == SECTION_HEADER {
            // Its length is in the byte order that it announces.
            self.order = match bytes[8..12] {
                [0x1a, 0x2b, 0x3c, 0x4d] => Order::Big,
                [0x4d, 0x3c, 0x2b, 0x1a] => Order::Little,
                _ => return Step::Damaged("a section without a byte order"),
            };
            self.interfaces.clear();
        }
        let length = self.order.length(bytes, 4);
        if length < FRAME || !length.is_multiple_of(4) || length > LARGEST + FRAME {
            return Step::Damaged("a block of impossible length");
        }
        if bytes.len() < length {
            return Step::Need(length);
        }
        if self.order.length(bytes, length - 4) != length {
            return Step::Damaged("a block whose two lengths differ");
        }
        let body = &bytes[8..length - 4];
        match self.order.u32(bytes, 0) {
            INTERFACE => self.interface(body, length),
            PACKET => self.packet(body, length, |order, body| order.u32(body, 0) as usize),
            OLD_PACKET => self.packet(body, length, |order, body| order.u16(body, 0).into()),
            SIMPLE_PACKET => self.simple_packet(body, length),
            _ => Step::Skip(length),
        }
    }

    fn interface(&mut self, body: &[u8], length: usize) -> Step {
        if body.len() < 8 || self.interfaces.len() == MOST_INTERFACES {
            return Step::Damaged("an interface that makes no sense");
        }
        let mut interface = Interface {
            link: LinkType(self.order.u16(body, 0)),
            snaplen: self.order.u32(body, 4),
            resolution: 1_000_000,
            offset: 0,
        };
        let mut options = &body[8..];
        while options.len() >= 4 {
            let size = usize::from(self.order.u16(options, 2));
            let value = options.get(4..4 + size).unwrap_or_default();
            match (self.order.u16(options, 0), value) {
                (0, _) => break,
                (9, [resolution, ..]) => match units(*resolution) {
                    Some(units) => interface.resolution = units,
                    None => return Step::Damaged("an interface with an impossible clock"),
                },
                (14, value) if value.len() == 8 => {
                    let (low, high) = match self.order {
                        Order::Little => (self.order.u32(value, 0), self.order.u32(value, 4)),
                        Order::Big => (self.order.u32(value, 4), self.order.u32(value, 0)),
                    };
                    interface.offset = (u64::from(high) << 32 | u64::from(low)).cast_signed();
                }
                _ => {}
            }
            options = options.get(4 + size.next_multiple_of(4)..).unwrap_or_default();
        }
        self.interfaces.push(interface);
        Step::Skip(length)
    }

    fn packet(
        &self,
        body: &[u8],
        length: usize,
        interface: impl Fn(Order, &[u8]) -> usize,
    ) -> Step {
        if body.len() < 20 {
            return Step::Damaged("a packet without a header");
        }
        let Some(interface) = self.interfaces.get(interface(self.order, body)) else {
            return Step::Damaged("a packet of an interface that was not described");
        };
        let captured = self.order.length(body, 12);
        if captured > body.len() - 20 {
            return Step::Damaged("a packet longer than its block");
        }
        let (high, low) = (self.order.u32(body, 4), self.order.u32(body, 8));
        let start = 8 + 20;
        Step::Record(Head {
            length,
            data: start..start + captured,
            time: interface.nanoseconds(u64::from(high) << 32 | u64::from(low)),
            link: interface.link,
            wire_len: self.order.u32(body, 16),
        })
    }

    /// Has no time and no captured length: what there is of it, up to the snaplen.
    fn simple_packet(&self, body: &[u8], length: usize) -> Step {
        let Some(interface) = self.interfaces.first().filter(|_| body.len() >= 4) else {
            return Step::Damaged("a packet of an interface that was not described");
        };
        let wire_len = self.order.u32(body, 0);
        let limit = if interface.snaplen == 0 { u32::MAX } else { interface.snaplen };
        let captured = (wire_len.min(limit) as usize).min(body.len() - 4);
        Step::Record(Head {
            length,
            data: 12..12 + captured,
            time: 0,
            link: interface.link,
            wire_len,
        })
    }
}

impl Interface {
    /// Since 1970; at the ends of what 64 bits hold for times that make no sense.
    fn nanoseconds(self, units: u64) -> u64 {
        let time = u128::from(units) * NANOSECONDS / u128::from(self.resolution);
        let time = i128::try_from(time).unwrap_or(i128::MAX);
        let offset = i128::from(self.offset) * 1_000_000_000;
        let sum = time.saturating_add(offset).max(0);
        u64::try_from(sum).unwrap_or(u64::MAX)
    }
}

/// Units in a second: a power of ten, or of two where the upper bit is set.
fn units(resolution: u8) -> Option<u64> {
    let exponent = u32::from(resolution & 0x7f);
    if resolution & 0x80 == 0 { 10_u64.checked_pow(exponent) } else { 2_u64.checked_pow(exponent) }
}
