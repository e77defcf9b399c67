//! What stands before the IP header, link by link.
//!
//! The numbers are those of capture files (`LINKTYPE_...`, registered by the tcpdump group), which
//! differ from the `DLT_...` of a machine for a few types only.

use crate::{ParseError, be16};

/// What a capture says its packets start with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: the address family in four bytes, in the order of the machine.
    pub const NULL: LinkType = LinkType(0);
    /// Ethernet, with or without VLAN tags.
    pub const ETHERNET: LinkType = LinkType(1);
    /// PPP (RFC 1661).
    pub const PPP: LinkType = LinkType(9);
    /// PPP in HDLC framing (RFC 1662), or Cisco's.
    pub const PPP_HDLC: LinkType = LinkType(50);
    /// A `PPPoE` session (RFC 2516).
    pub const PPP_ETHER: LinkType = LinkType(51);
    /// Raw IP of either version.
    pub const RAW: LinkType = LinkType(101);
    /// IEEE 802.11.
    pub const IEEE802_11: LinkType = LinkType(105);
    /// OpenBSD loopback: as `NULL`, in network order.
    pub const LOOP: LinkType = LinkType(108);
    /// Linux cooked capture, version 1.
    pub const LINUX_SLL: LinkType = LinkType(113);
    /// IEEE 802.11 behind a radiotap header.
    pub const IEEE802_11_RADIOTAP: LinkType = LinkType(127);
    /// Raw IPv4.
    pub const IPV4: LinkType = LinkType(228);
    /// Raw IPv6.
    pub const IPV6: LinkType = LinkType(229);
    /// Linux netfilter log.
    pub const NFLOG: LinkType = LinkType(239);
    /// Apple's pktap: any other type behind a header that names it.
    pub const PKTAP: LinkType = LinkType(258);
    /// Linux cooked capture, version 2.
    pub const LINUX_SLL2: LinkType = LinkType(276);
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network<'a> {
    /// An IP packet, from its first byte on.
    Ip(&'a [u8]),
    /// Something else: ARP, a management frame, an encrypted one ...
    Other,
    /// Nothing is known of links of this type.
    UnknownLink,
}

/// VLAN tags that are passed over at most; `QinQ` has two.
const MOST_TAGS: usize = 4;

/// Finds the IP packet in a frame.
///
/// # Errors
/// When the frame ends before it.
#[inline]
pub fn network(link: LinkType, frame: &[u8]) -> Result<Network<'_>, ParseError> {
    match link {
        LinkType::ETHERNET => behind_ethertype(frame, 12),
        LinkType::LINUX_SLL => behind_ethertype(frame, 14),
        LinkType::LINUX_SLL2 => Ok(of_ethertype(be16(frame, 0)?, from(frame, 20)?)),
        LinkType::NULL | LinkType::LOOP => Ok(raw(from(frame, 4)?)),
        // 12 and 14 are what BSD and OpenBSD call raw IP, and wrote into files.
        LinkType::RAW | LinkType::IPV4 | LinkType::IPV6 | LinkType(12 | 14) => Ok(raw(frame)),
        LinkType::PPP => ppp(frame),
        LinkType::PPP_HDLC => match frame.first() {
            // Cisco's framing has an Ethertype behind two bytes.
            Some(0x0f | 0x8f) => behind_ethertype(frame, 2),
            _ => ppp(frame),
        },
        LinkType::PPP_ETHER => ppp(from(frame, 6)?),
        LinkType::IEEE802_11 => wireless(frame),
        LinkType::IEEE802_11_RADIOTAP => wireless(from(frame, usize::from(le16(frame, 2)?))?),
        LinkType::NFLOG => netfilter_log(frame),
        LinkType::PKTAP => {
            let inner = LinkType(le16(frame, 8)?);
            let behind = from(frame, usize::from(le16(frame, 0)?))?;
            // No header within a header: a frame must not make us go round in circles.
            if inner == LinkType::PKTAP { Ok(Network::Other) } else { network(inner, behind) }
        }
        _ => Ok(Network::UnknownLink),
    }
}

#[inline]
fn from(frame: &[u8], at: usize) -> Result<&[u8], ParseError> {
    frame.get(at..).ok_or(ParseError::Truncated)
}

/// The two bytes at an offset, least significant first.
fn le16(bytes: &[u8], at: usize) -> Result<u16, ParseError> {
    be16(bytes, at).map(u16::swap_bytes)
}

/// IP by its version alone.
fn raw(bytes: &[u8]) -> Network<'_> {
    match bytes.first().map(|first| first >> 4) {
        Some(4 | 6) => Network::Ip(bytes),
        _ => Network::Other,
    }
}

#[inline]
fn of_ethertype(ethertype: u16, bytes: &[u8]) -> Network<'_> {
    if matches!(ethertype, 0x0800 | 0x86dd) { Network::Ip(bytes) } else { Network::Other }
}

/// The Ethertype at an offset, behind any VLAN tags (IEEE 802.1Q, 802.1ad).
///
/// ```text
///   ... | 0x8100 or 0x88a8 | priority, VLAN | type | payload
/// ```
#[inline]
fn behind_ethertype(frame: &[u8], mut at: usize) -> Result<Network<'_>, ParseError> {
    for _ in 0..=MOST_TAGS {
        match be16(frame, at)? {
            0x8100 | 0x88a8 | 0x9100 => at += 4,
            0x8864 => return ppp(from(frame, at + 2 + 6)?),
            // A length (IEEE 802.3): the type stands behind LLC and SNAP.
            length if length <= 1500 => return snap(from(frame, at + 2)?),
            ethertype => return Ok(of_ethertype(ethertype, from(frame, at + 2)?)),
        }
    }
    Ok(Network::Other)
}

/// LLC with SNAP (RFC 1042): `aa aa 03 00 00 00`, then an Ethertype.
fn snap(bytes: &[u8]) -> Result<Network<'_>, ParseError> {
    match bytes.get(..8).ok_or(ParseError::Truncated)? {
        [0xaa, 0xaa, 0x03, 0, 0, 0, ..] => Ok(of_ethertype(be16(bytes, 6)?, &bytes[8..])),
        _ => Ok(Network::Other),
    }
}

/// PPP: address and control may be left out, and so may the first byte of the protocol.
fn ppp(frame: &[u8]) -> Result<Network<'_>, ParseError> {
    let frame = frame.strip_prefix(&[0xff, 0x03]).unwrap_or(frame);
    let (protocol, payload) = match frame {
        [odd, payload @ ..] if odd & 1 == 1 => (u16::from(*odd), payload),
        [high, low, payload @ ..] => (u16::from_be_bytes([*high, *low]), payload),
        _ => return Err(ParseError::Truncated),
    };
    Ok(if matches!(protocol, 0x0021 | 0x0057) { Network::Ip(payload) } else { Network::Other })
}

/// IEEE 802.11-2020 section 9.2: data frames that are not encrypted.
fn wireless(frame: &[u8]) -> Result<Network<'_>, ParseError> {
    let control = le16(frame, 0)?;
    let (data, no_data) = (control & 0x000c == 0x0008, control & 0x0040 != 0);
    let (quality, ordered, protected) =
        (control & 0x0080 != 0, control & 0x8000 != 0, control & 0x4000 != 0);
    if !data || no_data || protected {
        return Ok(Network::Other);
    }
    let mut header = 24;
    if control & 0x0300 == 0x0300 {
        header += 6; // a fourth address, from bridge to bridge
    }
    if quality {
        header += if ordered { 6 } else { 2 };
    }
    snap(from(frame, header)?)
}

/// Attributes of length and type; the packet is attribute 9. Lengths are in the order of the
/// machine that wrote them: the one that fits the frame.
fn netfilter_log(frame: &[u8]) -> Result<Network<'_>, ParseError> {
    let mut rest = from(frame, 4)?;
    while rest.len() >= 4 {
        let little = usize::from(le16(rest, 0)?);
        let big = usize::from(be16(rest, 0)?);
        let (length, kind) = match (little, big) {
            (length, _) if (4..=rest.len()).contains(&length) => (length, le16(rest, 2)?),
            (_, length) if (4..=rest.len()).contains(&length) => (length, be16(rest, 2)?),
            _ => return Err(ParseError::Truncated),
        };
        if kind & 0x7fff == 9 {
            return Ok(raw(&rest[4..length]));
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Network::Other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const IP: &[u8] = &[0x45, 1, 2, 3];

    fn frame(head: &[&[u8]]) -> Vec<u8> {
        [&head.concat(), IP].concat()
    }

    #[track_caller]
    fn finds(link: LinkType, head: &[&[u8]]) {
        assert_eq!(network(link, &frame(head)), Ok(Network::Ip(IP)));
    }

    #[test]
    fn ethernet_with_tags_and_without() {
        finds(LinkType::ETHERNET, &[&[0; 12], &[8, 0]]);
        finds(LinkType::ETHERNET, &[&[0; 12], &[0x81, 0, 0, 7, 8, 0]]);
        finds(LinkType::ETHERNET, &[&[0; 12], &[0x88, 0xa8, 0, 7, 0x81, 0, 0, 9, 0x86, 0xdd]]);
        finds(LinkType::ETHERNET, &[&[0; 12], &[0, 12, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0]]);
        finds(LinkType::ETHERNET, &[&[0; 12], &[0x88, 0x64], &[0x11, 0, 0, 1, 0, 6], &[0, 0x21]]);
        let arp = frame(&[&[0; 12], &[8, 6]]);
        assert_eq!(network(LinkType::ETHERNET, &arp), Ok(Network::Other));
        let endless = [0x81, 0].repeat(40);
        assert_eq!(network(LinkType::ETHERNET, &endless), Ok(Network::Other));
    }

    #[test]
    fn the_other_links() {
        finds(LinkType::LINUX_SLL, &[&[0; 14], &[8, 0]]);
        finds(LinkType::LINUX_SLL2, &[&[8, 0], &[0; 18]]);
        finds(LinkType::NULL, &[&[2, 0, 0, 0]]);
        finds(LinkType::LOOP, &[&[0, 0, 0, 2]]);
        for link in [LinkType::RAW, LinkType::IPV4, LinkType(12), LinkType(14)] {
            finds(link, &[]);
        }
        finds(LinkType::PPP, &[&[0xff, 3, 0, 0x21]]);
        finds(LinkType::PPP, &[&[0x21]]);
        finds(LinkType::PPP_HDLC, &[&[0x0f, 0, 8, 0]]);
        finds(LinkType::PPP_ETHER, &[&[0x11, 0, 0, 1, 0, 6, 0, 0x57]]);
        let quality = [&[0x88, 0x01], &[0; 24][..], &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0]].concat();
        finds(LinkType::IEEE802_11, &[&quality]);
        finds(LinkType::IEEE802_11_RADIOTAP, &[&[0, 0, 8, 0, 0, 0, 0, 0], &quality]);
        finds(LinkType::NFLOG, &[&[2, 0, 0, 0], &[5, 0, 1, 0, 7, 0, 0, 0], &[8, 0, 9, 0]]);
        finds(LinkType::PKTAP, &[&[12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0][..8], &[228, 0, 0, 0]]);
        assert_eq!(network(LinkType(147), IP), Ok(Network::UnknownLink));
    }

    #[test]
    fn frames_that_end_early() {
        for (link, length) in [
            (LinkType::ETHERNET, 13),
            (LinkType::LINUX_SLL, 15),
            (LinkType::LINUX_SLL2, 19),
            (LinkType::NULL, 3),
            (LinkType::PPP, 0),
            (LinkType::IEEE802_11, 1),
            (LinkType::PKTAP, 9),
        ] {
            let bytes = std::vec![0; length];
            assert_eq!(network(link, &bytes), Err(ParseError::Truncated), "{link:?}");
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(link in 0_u16..300, bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = network(LinkType(link), &bytes);
        }
    }
}
