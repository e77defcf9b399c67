//! Events, out of any bytes: what a fuzzer makes, or a generator.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Way;

/// Time passes in steps of so many units, so that nothing ends on the edge of one.
pub const STEP: u64 = 50;
/// Steps in all: 57 seconds. After 68 what is long over may seem to have been just now to the engine, as it keeps 12
/// bits of some times: a forged reply that is right in everything is then counted as late.
const MOST_STEPS: u64 = 68;

/// Who asks, and is asked: the first three of each are of IPv4.
pub const PLACES: u8 = 6;
/// How many names there are.
const HOW_MANY: u8 = 6;
/// What is asked for.
pub const NAMES: [&[u8]; HOW_MANY as usize] = [
    b"\x03www\x04test\0",
    b"\x03wWw\x07example\x04TEST\0",
    b"\0",
    b"\x01a\x01b\x01c\x01d\x01e\x01f\x01g\x04test\0",
    b"\x3fabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk\x3fabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk\x3fabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk\x3dabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghi\0",
    b"\x09_12-34_56\x02\xff\x00\0",
];

/// What is unusual about a packet.
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Tags of VLANs.
    pub tags: u8,
    /// Options in the IP header, or an extension header.
    pub options: bool,
    /// No UDP checksum.
    pub unsummed: bool,
    /// Fragments follow.
    pub more: bool,
    /// Bytes behind the packet.
    pub padding: u8,
    /// An OPT record.
    pub edns: bool,
}

/// What is wrong about a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forged {
    /// Nothing.
    No,
    /// The query ID.
    Id,
    /// The question.
    Question,
    /// Who sends it.
    Server,
    /// From which port.
    ServerPort,
    /// To which port.
    Port,
    /// Whom it is for.
    Client,
    /// The case of letters.
    Case,
}

/// What a reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An answer with a record.
    Answer,
    /// An error without a question.
    BareError,
    /// A question with TC=1.
    BareTc,
    /// TC=1 with more.
    LongTc,
    /// Without a question, but no error.
    NoQuestion,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody asks.
    Query {
        /// Of [`PLACES`].
        client: u8,
        /// Of [`PLACES`].
        server: u8,
        /// Of [`NAMES`].
        name: u8,
        /// The query ID; few, so that some come twice.
        id: u8,
        /// The port.
        port: u8,
        /// See there.
        shape: Shape,
    },
    /// An earlier packet is sent again, that many back.
    Again(u8),
    /// A reply to a query, that many back.
    Reply(u8, Kind, Forged, Shape),
    /// Replies that nobody waits for.
    Flood(u8, u8),
    /// An error of ICMP about a query, that many back; with so many bytes of it, and another port if it is forged.
    Error(u8, u8, bool),
    /// Time passes.
    Wait(u64),
    /// An earlier packet, that many back, with some bytes changed.
    Mutant(Way, u8, Vec<(u8, u8)>),
    /// Any bytes.
    Raw(Way, Vec<u8>),
}

/// Reads bytes; behind their end there is nothing but zeros.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, n: u8) -> u8 {
        self.next() % n
    }

    fn shape(&mut self) -> Shape {
        let bits = self.next();
        if bits < 128 {
            // Most are plain.
            return Shape::default();
        }
        Shape {
            tags: bits & 3,
            options: bits & 4 != 0,
            unsummed: bits & 8 != 0,
            more: bits & 16 != 0,
            padding: if bits & 32 != 0 { self.below(64) } else { 0 },
            edns: bits & 64 != 0,
        }
    }

    fn way(&mut self) -> Way {
        if self.next() & 1 == 0 { Way::Out } else { Way::In }
    }

    fn kind(&mut self) -> Kind {
        match self.next() {
            0..=159 => Kind::Answer,
            160..=183 => Kind::BareError,
            184..=207 => Kind::BareTc,
            208..=231 => Kind::LongTc,
            _ => Kind::NoQuestion,
        }
    }

    fn forged(&mut self) -> Forged {
        match self.next() {
            0..=27 => Forged::Id,
            28..=55 => Forged::Question,
            56..=83 => Forged::Server,
            84..=111 => Forged::ServerPort,
            112..=139 => Forged::Port,
            140..=167 => Forged::Client,
            168..=195 => Forged::Case,
            _ => Forged::No,
        }
    }

    fn event(&mut self) -> Event {
        match self.next() {
            0..=89 => Event::Query {
                client: self.below(PLACES),
                server: self.below(PLACES),
                name: self.below(HOW_MANY),
                id: self.below(4),
                port: self.below(3),
                shape: self.shape(),
            },
            90..=114 => Event::Again(self.below(16)),
            115..=204 => Event::Reply(self.below(16), self.kind(), self.forged(), self.shape()),
            205..=214 => Event::Flood(self.below(PLACES), self.below(32)),
            215..=226 => Event::Error(self.below(16), self.below(80), self.next() & 1 != 0),
            227..=236 => Event::Wait(STEP * u64::from(1 + self.below(14))),
            237..=251 => {
                let (way, back) = (self.way(), self.below(16));
                let changes = (0..=self.below(4)).map(|_| (self.next(), self.next())).collect();
                Event::Mutant(way, back, changes)
            }
            _ => {
                let way = self.way();
                let count = self.next();
                Event::Raw(way, (0..count).map(|_| self.next()).collect())
            }
        }
    }
}

/// All events in some bytes.
pub fn events(bytes: &[u8]) -> Vec<Event> {
    let (mut reader, mut events, mut steps) = (Reader(bytes), Vec::new(), 0);
    while !reader.0.is_empty() {
        let event = reader.event();
        if let Event::Wait(units) = event {
            steps += units / STEP;
            if steps > MOST_STEPS {
                continue;
            }
        }
        events.push(event);
    }
    events
}

/// A client's address.
pub fn client(n: u8) -> IpAddr {
    place(n, 1)
}

/// A server's.
pub fn server(n: u8) -> IpAddr {
    place(n, 53)
}

fn place(n: u8, subnet: u8) -> IpAddr {
    if n < PLACES / 2 {
        Ipv4Addr::new(10, 0, subnet, n).into()
    } else {
        Ipv6Addr::new(0x2001, 0xdb8, 0, subnet.into(), 0, 0, 0, n.into()).into()
    }
}
