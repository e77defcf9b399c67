//! The beginning of a packet in a buffer of a fixed size, and the UDP datagram in it.
//!
//! The views of `dnsalt-wire` move slices on; the kernel's verifier does not see that a slice that was
//! moved on became shorter by as much. Here everything is an offset into one buffer, masked where it is
//! used. A property test holds both to the same answers.

use crate::Address;

/// Bytes from the IP header on that are looked at.
pub const HEAD: usize = 512;
/// Words of the buffer: all that a masked offset can reach, and one more.
const WORDS: usize = HEAD / 8 + 8;

/// The beginning of a packet, from the IP header on.
#[derive(Clone, Debug)]
#[repr(C, align(8))]
pub struct Head {
    words: [u64; WORDS],
}

impl Default for Head {
    fn default() -> Self {
        Head { words: [0; WORDS] }
    }
}

impl Head {
    /// A copy of the first bytes of a packet.
    pub fn of(packet: &[u8]) -> Self {
        let mut head = Head::default();
        for (at, byte) in packet.iter().take(HEAD).enumerate() {
            head.words[at / 8] |= u64::from(*byte) << (8 * (at % 8));
        }
        head
    }

    /// The eight bytes at an offset, the first one lowest.
    #[inline(always)]
    pub fn word(&self, at: usize) -> u64 {
        let shift = (at as u32 & 7) * 8;
        let at = (at >> 3) & (HEAD / 8 - 1);
        // In two steps, as a shift by 64 is none.
        self.words[at] >> shift | (self.words[at + 1] << 1) << (63 - shift)
    }

    /// Changes bits of the eight bytes at an offset.
    #[inline(always)]
    pub fn flip(&mut self, at: usize, bits: u64) {
        let shift = (at as u32 & 7) * 8;
        let at = (at >> 3) & (HEAD / 8 - 1);
        self.words[at] ^= bits << shift;
        self.words[at + 1] ^= (bits >> 1) >> (63 - shift);
    }

    /// The byte at an offset.
    #[inline(always)]
    pub fn byte(&self, at: usize) -> u8 {
        (self.words[(at >> 3) & (HEAD / 8 - 1)] >> ((at as u32 & 7) * 8)) as u8
    }

    /// The number in the two bytes at an offset.
    #[inline(always)]
    pub fn be16(&self, at: usize) -> u16 {
        (self.word(at) as u16).swap_bytes()
    }

    /// The address of 16 bytes at an offset.
    #[inline(always)]
    fn address(&self, at: usize) -> Address {
        Address { high: self.word(at), low: self.word(at + 8) }
    }
}

/// Protocol numbers.
pub const UDP: u8 = 17;
/// ICMP.
pub const ICMP: u8 = 1;
/// `ICMPv6`.
pub const ICMPV6: u8 = 58;
/// Extension headers that are passed over at most.
const MOST_HEADERS: usize = 6;

/// An IP packet as far as its transport header.
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Whether it is IPv6.
    pub v6: bool,
    /// Who sent it.
    pub src: Address,
    /// Whom it is for.
    pub dst: Address,
    /// The protocol of the transport header.
    pub protocol: u8,
    /// Where the transport header begins, from the start of the buffer.
    pub transport: usize,
    /// Where the packet ends, from the start of the buffer, by its own header.
    pub end: usize,
    /// Whether this is a fragment that does not begin with the transport header.
    pub later_fragment: bool,
    /// Whether fragments follow.
    pub more_fragments: bool,
    /// Whether the transport header is not right behind the fixed header.
    pub options: bool,
}

/// Parses the IP header at an offset of a head of which `length` bytes are there.
#[inline(always)]
pub fn ip(head: &Head, at: usize, length: usize) -> Option<Ip> {
    match head.byte(at) >> 4 {
        4 => ipv4(head, at, length),
        6 => ipv6(head, at, length),
        _ => None,
    }
}

#[inline(always)]
fn ipv4(head: &Head, at: usize, length: usize) -> Option<Ip> {
    let header = usize::from(head.byte(at) & 0x0f) * 4;
    let total = usize::from(head.be16(at + 2));
    if header < 20 || at + header > length || total < header {
        return None;
    }
    let fragment = head.be16(at + 6);
    Some(Ip {
        v6: false,
        src: Address::v4(head.word(at + 12) as u32),
        dst: Address::v4(head.word(at + 16) as u32),
        protocol: head.byte(at + 9),
        transport: at + header,
        end: at + total,
        later_fragment: fragment & 0x1fff != 0,
        more_fragments: fragment & 0x2000 != 0,
        options: header > 20,
    })
}

#[inline(always)]
fn ipv6(head: &Head, at: usize, length: usize) -> Option<Ip> {
    if at + 40 > length {
        return None;
    }
    let end = at + 40 + usize::from(head.be16(at + 4));
    let length = length.min(end);
    let mut ip = Ip {
        v6: true,
        src: head.address(at + 8),
        dst: head.address(at + 24),
        protocol: head.byte(at + 6),
        transport: at + 40,
        end,
        later_fragment: false,
        more_fragments: false,
        options: false,
    };
    for _ in 0..MOST_HEADERS {
        let at = ip.transport;
        let bytes = match ip.protocol {
            // Hop-by-hop options, routing, destination options, mobility: in words of 8 after the
            // first (RFC 8200 section 4).
            0 | 43 | 60 | 135 => 8 + 8 * usize::from(head.byte(at + 1)),
            // Authentication: in words of 4, less 2 (RFC 4302).
            51 => 8 + 4 * usize::from(head.byte(at + 1)),
            44 => {
                let fragment = head.be16(at + 2);
                ip.later_fragment = fragment & 0xfff8 != 0;
                ip.more_fragments = fragment & 1 != 0;
                8
            }
            _ => return Some(ip),
        };
        if at + 8 > length {
            return None;
        }
        ip.protocol = head.byte(at);
        ip.transport = at + bytes;
        ip.options = true;
        if ip.later_fragment {
            return Some(ip);
        }
        if ip.transport > length {
            return None;
        }
    }
    None
}

/// Bytes of a UDP header.
pub const UDP_HEADER: usize = 8;
/// Bytes of a DNS header.
pub const DNS_HEADER: usize = 12;

/// A UDP datagram with a DNS header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dns {
    /// The source port.
    pub src_port: u16,
    /// The destination port.
    pub dst_port: u16,
    /// The query ID.
    pub id: u16,
    /// The second word of the header: QR, opcode, AA, TC, RD, RA, Z, RCODE.
    pub flags: u16,
    /// QDCOUNT.
    pub questions: u16,
    /// ANCOUNT and NSCOUNT, added up as far as it matters: 0 if both are.
    pub records: u32,
    /// Where the message begins, from the start of the buffer.
    pub message: usize,
    /// Where what is there of the message ends.
    pub end: usize,
}

impl Dns {
    /// Whether it says that it is a reply.
    #[inline(always)]
    pub fn is_reply(&self) -> bool {
        self.flags & 0x8000 != 0
    }

    /// Whether it is an error without anything in it that could be believed: some servers leave even
    /// the question out.
    #[inline(always)]
    pub fn is_bare_error(&self) -> bool {
        self.flags & 0x000f != 0 && self.questions == 0 && self.records == 0
    }

    /// Whether it has TC=1 and ends with its question, of so many bytes.
    #[inline(always)]
    pub fn is_bare_tc(&self, question: u16) -> bool {
        self.flags & 0x0200 != 0
            && question != 0
            && self.end == self.message + DNS_HEADER + usize::from(question)
    }
}

/// The ports of a UDP header: source, destination.
#[inline(always)]
pub fn ports(head: &Head, transport: usize) -> (u16, u16) {
    (head.be16(transport), head.be16(transport + 2))
}

/// Parses the UDP and DNS headers behind an IP header.
#[inline(always)]
pub fn dns(head: &Head, ip: &Ip, length: usize) -> Option<Dns> {
    // What lies behind the packet is padding.
    let length = length.min(ip.end);
    let message = ip.transport + UDP_HEADER;
    if message + DNS_HEADER > length {
        return None;
    }
    let udp = usize::from(head.be16(ip.transport + 4));
    if udp < UDP_HEADER + DNS_HEADER {
        return None;
    }
    let (src_port, dst_port) = ports(head, ip.transport);
    let counts = head.word(message + 4);
    Some(Dns {
        src_port,
        dst_port,
        id: head.be16(message),
        flags: head.be16(message + 2),
        questions: (counts as u16).swap_bytes(),
        records: (counts >> 16) as u32,
        message,
        end: (ip.transport + udp).min(length),
    })
}
