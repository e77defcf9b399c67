//! IPv4 (RFC 791) and IPv6 (RFC 8200), as far as addresses and the way to the transport header.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{ParseError, be16};

/// Extension headers of IPv6 that are followed at most: each kind there is, once.
const MOST_HEADERS: usize = 6;

/// The number of TCP among the protocols of IP.
pub const TCP: u8 = 6;
/// The number of UDP.
pub const UDP: u8 = 17;

/// An IP packet, from its first byte on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    src: IpAddr,
    dst: IpAddr,
    transport: Transport<'a>,
}

/// What an IP packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport<'a> {
    /// The number of the protocol: [`UDP`], [`TCP`] ...
    pub protocol: u8,
    /// From the first byte of the transport header on, without padding behind the packet; less
    /// than that where the capture was cut.
    pub payload: &'a [u8],
    /// Whether it starts with the transport header: later fragments do not.
    pub first_fragment: bool,
    /// Whether the packet is one of several fragments.
    pub fragmented: bool,
}

impl<'a> Packet<'a> {
    /// Parses an IPv4 or IPv6 packet with its options or extension headers.
    ///
    /// # Errors
    /// When the headers are not all there, or are not IP.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        match bytes.first().ok_or(ParseError::Truncated)? >> 4 {
            4 => v4(bytes),
            6 => v6(bytes),
            _ => Err(ParseError::Malformed),
        }
    }

    /// The source address.
    #[inline]
    pub fn src(&self) -> IpAddr {
        self.src
    }

    /// The destination address.
    #[inline]
    pub fn dst(&self) -> IpAddr {
        self.dst
    }

    /// What it carries.
    #[inline]
    pub fn transport(&self) -> Transport<'a> {
        self.transport
    }
}

/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// |Version|  IHL  |Type of Service|          Total Length         |
/// |         Identification        |Flags|     Fragment Offset     |
/// |  Time to Live |    Protocol   |        Header Checksum        |
/// |                         Source Address                        |
/// |                      Destination Address                      |
/// |                    Options                                    |
/// ```
#[inline]
fn v4(bytes: &[u8]) -> Result<Packet<'_>, ParseError> {
    let fixed: &[u8; 20] = bytes.first_chunk().ok_or(ParseError::Truncated)?;
    let header = usize::from(fixed[0] & 0x0f) * 4;
    let total = match usize::from(be16(fixed, 2)?) {
        // Left to the network card, which cuts a large segment into packets (TSO).
        0 => bytes.len(),
        total => total,
    };
    if header < 20 || total < header {
        return Err(ParseError::Malformed);
    }
    let payload = bytes.get(header..bytes.len().min(total)).ok_or(ParseError::Truncated)?;
    let address = |at: usize| Ipv4Addr::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]);
    Ok(Packet {
        src: address(12).into(),
        dst: address(16).into(),
        transport: Transport {
            protocol: fixed[9],
            payload,
            first_fragment: be16(fixed, 6)? << 3 == 0,
            // More fragments, or an offset.
            fragmented: be16(fixed, 6)? & 0x3fff != 0,
        },
    })
}

/// ```text
/// |Version| Traffic Class |           Flow Label                  |
/// |         Payload Length        |  Next Header  |   Hop Limit   |
/// |                         Source Address (16 bytes)             |
/// |                      Destination Address (16 bytes)           |
/// ```
fn v6(bytes: &[u8]) -> Result<Packet<'_>, ParseError> {
    let fixed: &[u8; 40] = bytes.first_chunk().ok_or(ParseError::Truncated)?;
    let total = 40 + usize::from(be16(fixed, 4)?);
    let mut address = [0; 16];
    address.copy_from_slice(&fixed[8..24]);
    let src = Ipv6Addr::from(address);
    address.copy_from_slice(&fixed[24..40]);
    let dst = Ipv6Addr::from(address);
    let payload = &bytes[40..bytes.len().min(total)];
    let transport = behind_extensions(fixed[6], payload)?;
    Ok(Packet { src: src.into(), dst: dst.into(), transport })
}

/// Follows the chain of extension headers (RFC 8200 section 4) to what is none.
fn behind_extensions(first: u8, bytes: &[u8]) -> Result<Transport<'_>, ParseError> {
    let (mut protocol, mut payload) = (first, bytes);
    let (mut first_fragment, mut fragmented) = (true, false);
    for _ in 0..=MOST_HEADERS {
        let length = match protocol {
            // Hop-by-hop options, routing, destination options, mobility: in words of 8 after the first.
            0 | 43 | 60 | 135 => 8 + usize::from(*payload.get(1).ok_or(ParseError::Truncated)?) * 8,
            // Authentication (RFC 4302): in words of 4, less 2.
            51 => 8 + usize::from(*payload.get(1).ok_or(ParseError::Truncated)?) * 4,
            // Fragment: the upper 13 bits are the offset.
            44 => {
                first_fragment = be16(payload, 2)? & 0xfff8 == 0;
                // Some hosts send a header for a packet that is whole (RFC 6946).
                fragmented = be16(payload, 2)? & 0xfff9 != 0;
                8
            }
            _ => {
                return Ok(Transport { protocol, payload, first_fragment, fragmented });
            }
        };
        protocol = payload[0];
        payload = payload.get(length..).ok_or(ParseError::Truncated)?;
        if !first_fragment {
            return Ok(Transport { protocol, payload, first_fragment, fragmented });
        }
    }
    Err(ParseError::TooManyHeaders)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn v4_packet(options: usize, fragment: u16, payload: &[u8]) -> Vec<u8> {
        let header = 20 + options;
        let mut bytes = std::vec![0; header];
        bytes[0] = 0x40 | u8::try_from(header / 4).unwrap();
        let total = u16::try_from(header + payload.len()).unwrap();
        bytes[2..4].copy_from_slice(&total.to_be_bytes());
        bytes[6..8].copy_from_slice(&fragment.to_be_bytes());
        bytes[9] = UDP;
        bytes[12..16].copy_from_slice(&[192, 0, 2, 1]);
        bytes[16..20].copy_from_slice(&[192, 0, 2, 53]);
        bytes.extend_from_slice(payload);
        bytes
    }

    fn v6_packet(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = std::vec![0; 40];
        bytes[0] = 0x60;
        bytes[4..6].copy_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
        bytes[6] = next;
        bytes[23] = 1;
        bytes[39] = 53;
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn v4_with_options_and_padding() {
        let mut bytes = v4_packet(8, 0, b"payload");
        bytes.extend_from_slice(&[0; 9]); // Ethernet pads short packets
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.src(), IpAddr::from([192, 0, 2, 1]));
        assert_eq!(packet.dst(), IpAddr::from([192, 0, 2, 53]));
        let expected = Transport {
            protocol: UDP,
            payload: b"payload",
            first_fragment: true,
            fragmented: false,
        };
        assert_eq!(packet.transport(), expected);
    }

    #[test]
    fn fragments_are_told_apart() {
        let first = v4_packet(0, 0x2000, b"");
        let first = Packet::parse(&first).unwrap().transport();
        assert!(first.first_fragment && first.fragmented);
        let later = v4_packet(0, 185, b"");
        assert!(!Packet::parse(&later).unwrap().transport().first_fragment);
    }

    #[test]
    fn v6_behind_extension_headers() {
        let mut inner = Vec::new();
        inner.extend_from_slice(&[60, 0, 0, 0, 0, 0, 0, 0]); // hop-by-hop, then
        inner.extend_from_slice(&[44, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // destination options
        inner.extend_from_slice(&[UDP, 0, 0, 0, 0, 0, 0, 7]); // a fragment that is all there is
        inner.extend_from_slice(b"payload");
        let bytes = v6_packet(0, &inner);
        let packet = Packet::parse(&bytes).unwrap();
        let expected = Transport {
            protocol: UDP,
            payload: b"payload",
            first_fragment: true,
            fragmented: false,
        };
        assert_eq!(packet.transport(), expected);
        assert_eq!(packet.dst(), "::35".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn endless_extension_headers_end() {
        let inner = [0; 8 * 20];
        assert_eq!(Packet::parse(&v6_packet(0, &inner)), Err(ParseError::TooManyHeaders));
    }

    #[test]
    fn cut_and_malformed() {
        assert_eq!(Packet::parse(&[]), Err(ParseError::Truncated));
        assert_eq!(Packet::parse(&[0x50; 60]), Err(ParseError::Malformed));
        assert_eq!(Packet::parse(&v4_packet(0, 0, b"")[..19]), Err(ParseError::Truncated));
        assert_eq!(Packet::parse(&v6_packet(0, b"")[..39]), Err(ParseError::Truncated));
        assert_eq!(Packet::parse(&v6_packet(0, b"")), Err(ParseError::Truncated));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for version in [0x45, 0x4f, 0x60] {
                let mut bytes = bytes.clone();
                if let Some(first) = bytes.first_mut() {
                    *first = version;
                }
                if let Ok(packet) = Packet::parse(&bytes) {
                    let _ = crate::udp::Udp::parse(packet.transport().payload);
                    let _ = crate::tcp::Tcp::parse(packet.transport().payload);
                }
            }
        }
    }
}
