//! Where IP begins, and whether a packet can be DNS at all: everything that passes the interface comes
//! by here, so what is none has to be told at a glance.

use dnsalt_salt::Tables as _;
use dnsalt_salt::head::{ICMP, ICMPV6, UDP};

use crate::maps::Kernel;
use crate::skb::{ETHERNET, Skb};

/// What comes before IP on an interface.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Ethernet.
    Ethernet,
    /// Nothing.
    Raw,
}

/// Which way packets go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Out,
    In,
}

/// Tags of VLANs that are passed over at most.
const MOST_TAGS: u32 = 2;

/// Where IP begins, if the packet is to be looked at.
#[inline(always)]
pub fn ip_of_interest(kernel: &Kernel, skb: Skb, link: Link, way: Direction) -> Option<u32> {
    let mut offset = if link == Link::Ethernet { ETHERNET } else { 0 };
    let mut ethertype = skb.ethertype();
    if link == Link::Ethernet {
        for _ in 0..MOST_TAGS {
            if ethertype != 0x8100 && ethertype != 0x88a8 {
                break;
            }
            // `protocol` is that of the outermost tag in the packet; behind it stands the next.
            let inner = skb.copy::<2>(offset + 2)?;
            ethertype = u16::from_be_bytes(inner);
            offset += 4;
        }
    }
    let of_interest = match ethertype {
        0x0800 => v4(kernel, skb, offset, way),
        0x86dd => v6(kernel, skb, offset, way),
        _ => false,
    };
    of_interest.then_some(offset)
}

#[inline(always)]
fn v4(kernel: &Kernel, skb: Skb, offset: u32, way: Direction) -> bool {
    // What is in pieces is looked at closely.
    let Some(bytes) = skb.at::<24>(offset) else { return true };
    let plain = bytes[0] == 0x45;
    match bytes[9] {
        UDP if plain && bytes[6] & 0x1f == 0 && bytes[7] == 0 => {
            let src = u16::from_be_bytes([bytes[20], bytes[21]]);
            let dst = u16::from_be_bytes([bytes[22], bytes[23]]);
            is_dns(kernel, src, dst, way)
        }
        UDP => true,
        ICMP => way == Direction::In,
        _ => false,
    }
}

#[inline(always)]
fn v6(kernel: &Kernel, skb: Skb, offset: u32, way: Direction) -> bool {
    let Some(bytes) = skb.at::<44>(offset) else { return true };
    match bytes[6] {
        UDP => {
            let src = u16::from_be_bytes([bytes[40], bytes[41]]);
            let dst = u16::from_be_bytes([bytes[42], bytes[43]]);
            is_dns(kernel, src, dst, way)
        }
        ICMPV6 => way == Direction::In && bytes[40] < 5,
        // Extension headers.
        0 | 43 | 44 | 51 | 60 | 135 => true,
        _ => false,
    }
}

#[inline(always)]
fn is_dns(kernel: &Kernel, src: u16, dst: u16, way: Direction) -> bool {
    let port = if way == Direction::Out { dst } else { src };
    kernel.config().is_dns_port(port)
}
