//! Plays events to an engine, and asks the model about each packet.

use std::net::IpAddr;

use dnsalt_salt::layout::Counter;
use dnsalt_sim::World;

use crate::packet::{Datagram, Ip, Seen, octets, read, sum};
use crate::script::{Event, Forged, Kind, NAMES, Shape, client, server};
use crate::{Done, Happened, Model, TURN_BACK, Way};

/// What can be shown packets with an Ethernet header.
pub trait Engine {
    /// Shows one.
    fn run(&mut self, way: Way, packet: &[u8]) -> Done;
    /// Lets time pass, in units of the engine.
    fn wait(&mut self, units: u64);
    /// What it counted, if it can be asked.
    fn count(&mut self, counter: Counter) -> Option<u64>;
}

/// A query that left, as an attacker or a server on the wire may know it.
#[derive(Clone, Debug)]
struct Sent {
    ip: Ip,
    dns: Datagram,
    packet: Vec<u8>,
}

/// An engine, the model, and what was sent so far.
pub struct Play<E> {
    /// The engine.
    pub engine: E,
    /// What it is held to.
    pub model: Model,
    sent: Vec<Sent>,
    packets: Vec<(Way, Vec<u8>)>,
    partial: bool,
    /// How often something happened.
    pub tally: Tally,
}

/// How often something happened; so that it is seen whether a test tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Tally {
    pub packets: u64,
    pub nothing: u64,
    pub salted: u64,
    pub again: u64,
    pub answered: u64,
    pub restored: u64,
    pub truncated: u64,
    pub dropped: u64,
    pub translated: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.nothing += other.nothing;
        self.salted += other.salted;
        self.again += other.again;
        self.answered += other.answered;
        self.restored += other.restored;
        self.truncated += other.truncated;
        self.dropped += other.dropped;
        self.translated += other.translated;
    }
}

/// Counters that the model foretells.
const COUNTED: [Counter; 18] = [
    Counter::Salted,
    Counter::Retransmitted,
    Counter::Identical,
    Counter::Full,
    Counter::Unsalted,
    Counter::AnsweredTc,
    Counter::Restored,
    Counter::Truncated,
    Counter::WrongCase,
    Counter::Forged,
    Counter::Duplicate,
    Counter::Late,
    Counter::WrongId,
    Counter::WrongQuestion,
    Counter::WrongServer,
    Counter::IcmpTranslated,
    Counter::IcmpDropped,
    Counter::Lockdowns,
];

impl<E: Engine> Play<E> {
    /// Of an engine to which nothing has happened.
    pub fn new(engine: E, model: Model) -> Self {
        let (sent, packets) = (Vec::new(), Vec::new());
        Play { engine, model, sent, packets, partial: false, tally: Tally::default() }
    }

    /// The checksums of UDP are still to be finished, by cards.
    #[must_use]
    pub fn with_partial(mut self, partial: bool) -> Self {
        self.partial = partial;
        self.model = self.model.with_partial(partial);
        self
    }

    /// Plays events.
    ///
    /// # Errors
    /// When the engine does what it must not; with the event.
    pub fn play(&mut self, events: &[Event]) -> Result<(), String> {
        for (n, event) in events.iter().enumerate() {
            self.one(event).map_err(|wrong| format!("event {n}, {event:?}: {wrong}"))?;
        }
        for counter in COUNTED {
            if let Some(counted) = self.engine.count(counter)
                && counted != self.model.count(counter)
            {
                let right = self.model.count(counter);
                return Err(format!("{counter:?} is counted {counted} times, not {right}"));
            }
        }
        Ok(())
    }

    fn one(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Query { client: from, server: to, name, id, port, shape } => {
                let (from, to) = (client(*from), server(*to));
                if from.is_ipv4() != to.is_ipv4() {
                    return Ok(());
                }
                let edns = if shape.edns { &b"\0\0\x29\x04\xd0\0\0\0\0\0\0"[..] } else { &[] };
                let dns = [
                    &[0, *id, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(shape.edns)][..],
                    NAMES[usize::from(*name)],
                    &[0, 1, 0, 1],
                    edns,
                ]
                .concat();
                let ports = [40_000 + u16::from(*port), 53];
                self.show(Way::Out, &self.udp((from, to), ports, &dns, *shape))
            }
            Event::Again(back) => match nth_last(&self.packets, *back).cloned() {
                Some((way, packet)) => self.show(way, &packet),
                None => Ok(()),
            },
            Event::Reply(back, kind, forged, shape) => match nth_last(&self.sent, *back).cloned() {
                Some(sent) => self.show(Way::In, &self.reply(&sent, *kind, *forged, *shape)),
                None => Ok(()),
            },
            Event::Flood(from, count) => {
                let (from, to) = (server(*from), client(*from));
                for n in 0..*count {
                    let dns = [&[7, 7, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0], NAMES[0], &[0, 1, 0, 1]];
                    let ports = [53, 2 + u16::from(n)];
                    let shape = Shape::default();
                    self.show(Way::In, &self.udp((from, to), ports, &dns.concat(), shape))?;
                }
                Ok(())
            }
            Event::Error(back, length, forged) => match nth_last(&self.sent, *back).cloned() {
                Some(sent) => self.show(Way::In, &error(&sent, usize::from(*length), *forged)),
                None => Ok(()),
            },
            Event::Wait(units) => {
                self.engine.wait(*units);
                self.model.wait(*units);
                Ok(())
            }
            Event::Mutant(way, back, changes) => {
                let Some((_, packet)) = nth_last(&self.packets, *back) else { return Ok(()) };
                let mut packet = packet.clone();
                for (at, byte) in changes {
                    // Not the addresses: the engine has few places for servers, and may take one for another.
                    let at = usize::from(*at);
                    let is_address = matches!(read(&packet), Seen::Udp(ip, _) | Seen::Error(ip, _)
                        if (ip.at + 8..ip.at + 40).contains(&at));
                    if at >= 14 && !is_address && at < packet.len() {
                        packet[at] ^= byte;
                    }
                }
                self.show(*way, &packet)
            }
            Event::Raw(way, bytes) => {
                let link = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]].concat();
                self.show(*way, &[&link[..], bytes, &[0, 0]].concat())
            }
        }
    }

    fn show(&mut self, way: Way, packet: &[u8]) -> Result<(), String> {
        let done = self.engine.run(way, packet);
        let judged = self.model.judge(way, packet, &done);
        let happened = judged.map_err(|wrong| {
            let words = [packet, &done.packet].map(hex);
            format!("{wrong}\n{way:?} {}\nbecame {}, {}", words[0], done.verdict, words[1])
        })?;
        self.note(happened);
        self.packets.push((way, packet.to_vec()));
        if let Happened::Salted(_) | Happened::Again(_) = happened
            && let Seen::Udp(ip, Some(dns)) = read(&done.packet)
        {
            self.sent.push(Sent { ip, dns, packet: done.packet.clone() });
        }
        if done.verdict == TURN_BACK {
            return self.comes_back(&done.packet);
        }
        Ok(())
    }

    /// What was turned back comes in at once, and reaches the client.
    fn comes_back(&mut self, packet: &[u8]) -> Result<(), String> {
        let done = self.engine.run(Way::In, packet);
        let happened = self.model.judge(Way::In, packet, &done).map_err(|wrong| {
            format!("{wrong}\nturned back {}\nbecame {}", hex(packet), hex(&done.packet))
        })?;
        self.note(happened);
        match happened {
            Happened::Restored(_) => Ok(()),
            other => Err(format!("an answer on the spot ended as {other:?}")),
        }
    }

    /// A packet with an Ethernet header and right sums.
    fn udp(
        &self,
        (from, to): (IpAddr, IpAddr),
        ports: [u16; 2],
        dns: &[u8],
        shape: Shape,
    ) -> Vec<u8> {
        let mut datagram = [ports[0].to_be_bytes(), ports[1].to_be_bytes()].concat();
        datagram.extend_from_slice(&be(8 + dns.len()));
        datagram.extend_from_slice(&[0, 0]);
        datagram.extend_from_slice(dns);
        if !shape.unsummed {
            let length = be(datagram.len());
            let pseudo = [&octets(from), &octets(to), &length[..], &[0, 17]].concat();
            // In ones' complement; never 0, which would be none.
            let checksum = if self.partial {
                be(sum(&[&pseudo]) as usize)
            } else {
                be(65_535 - sum(&[&pseudo, &datagram]) as usize)
            };
            datagram[6..8].copy_from_slice(&checksum);
        }
        ip((from, to), 17, &datagram, shape)
    }

    /// What comes back for a query, or seems to.
    fn reply(&self, sent: &Sent, kind: Kind, forged: Forged, shape: Shape) -> Vec<u8> {
        let Sent { ip, dns, packet } = sent;
        let mut id = dns.id;
        let mut question =
            dns.question.clone().map(|range| packet[range].to_vec()).unwrap_or_default();
        let (mut from, mut to) = (ip.dst, ip.src);
        let mut ports = [dns.dst_port, dns.src_port];
        match forged {
            Forged::No => {}
            Forged::Id => id ^= 0x0101,
            Forged::Question => {
                if let Some(class) = question.last_mut() {
                    *class ^= 2;
                }
            }
            Forged::Server => from = another(from),
            Forged::ServerPort => ports[0] ^= 1,
            Forged::Port => ports[1] ^= 1,
            Forged::Client => to = another(to),
            Forged::Case => {
                let name = question.len().saturating_sub(4);
                let letters = question[..name].iter_mut().filter(|byte| byte.is_ascii_alphabetic());
                letters.take(1).for_each(|byte| *byte ^= 0x20);
            }
        }
        let record: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x50";
        let (flags, question, record) = match kind {
            Kind::Answer => ([0x81, 0x80], &question[..], record),
            Kind::BareError => ([0x81, 0x85], &[][..], &[][..]),
            Kind::BareTc => ([0x83, 0x80], &question[..], &[][..]),
            Kind::LongTc => ([0x83, 0x80], &question[..], record),
            Kind::NoQuestion => ([0x81, 0x80], &[][..], record),
        };
        let edns: &[u8] =
            if shape.edns && !question.is_empty() { b"\0\0\x29\x04\xd0\0\0\0\0\0\0" } else { &[] };
        let counts = [question, record, edns].map(|part| u8::from(!part.is_empty()));
        let message = [
            &id.to_be_bytes()[..],
            &flags,
            &[0, counts[0], 0, counts[1], 0, 0, 0, counts[2]],
            question,
            record,
            edns,
        ];
        self.udp((from, to), ports, &message.concat(), shape)
    }

    fn note(&mut self, happened: Happened) {
        let tally = &mut self.tally;
        tally.packets += 1;
        *match happened {
            Happened::Nothing => &mut tally.nothing,
            Happened::Salted(_) => &mut tally.salted,
            Happened::Again(_) => &mut tally.again,
            Happened::Answered(_) => &mut tally.answered,
            Happened::Restored(_) => &mut tally.restored,
            Happened::Truncated(_) => &mut tally.truncated,
            Happened::Dropped(_) => &mut tally.dropped,
            Happened::Translated(_) => &mut tally.translated,
        } += 1;
    }
}

fn nth_last<T>(list: &[T], back: u8) -> Option<&T> {
    list.len().checked_sub(1 + usize::from(back)).map(|n| &list[n])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn be(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes()
}

fn ip((from, to): (IpAddr, IpAddr), protocol: u8, payload: &[u8], shape: Shape) -> Vec<u8> {
    let mut packet = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]].concat();
    for _ in 0..shape.tags.min(2) {
        packet.extend_from_slice(&[0x81, 0, 0, 7]);
    }
    let addresses = [octets(from), octets(to)].concat();
    if from.is_ipv4() {
        let options: &[u8] = if shape.options { &[0x94, 4, 0, 0, 1, 1, 1, 0] } else { &[] };
        let header = 20 + options.len();
        let total = be(header + payload.len());
        let fragment = if shape.more { 0x20 } else { 0 };
        let words = 0x40 + u8::try_from(header / 4).unwrap_or(5);
        let fixed = [words, 8, total[0], total[1], 0x12, 0x34, fragment, 0, 64, protocol, 0, 0];
        let mut header = [&fixed[..], &addresses, options].concat();
        let checksum = be(65_535 - sum(&[&header]) as usize);
        header[10..12].copy_from_slice(&checksum);
        packet.extend_from_slice(&[8, 0]);
        packet.extend_from_slice(&header);
    } else {
        let mut next = protocol;
        let mut headers = Vec::new();
        if shape.more {
            headers = [&[next, 0, 0, 1, 1, 2, 3, 4], &headers[..]].concat();
            next = 44;
        }
        if shape.options {
            headers = [&[next, 0, 1, 4, 0, 0, 0, 0], &headers[..]].concat();
            next = 60;
        }
        let length = be(headers.len() + payload.len());
        packet.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, length[0], length[1], next, 64]);
        packet.extend_from_slice(&addresses);
        packet.extend_from_slice(&headers);
    }
    packet.extend_from_slice(payload);
    packet.extend(std::iter::repeat_n(0xee, shape.padding.into()));
    packet
}

fn another(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [a, b, c, d ^ 1].into()
        }
        IpAddr::V6(address) => {
            let mut octets = address.octets();
            octets[15] ^= 1;
            octets.into()
        }
    }
}

/// Port unreachable, with so many bytes of what it is about.
fn error(sent: &Sent, length: usize, forged: bool) -> Vec<u8> {
    let Sent { ip: old, packet, .. } = sent;
    let mut quoted = packet[old.at..].to_vec();
    if forged {
        quoted[old.transport - old.at] ^= 1;
    }
    quoted.truncate(20 + length);
    let (kind, code) = if old.src.is_ipv4() { (3, 3) } else { (1, 4) };
    let mut icmp = [&[kind, code, 0, 0, 0, 0, 0, 0], &quoted[..]].concat();
    let protocol = if old.src.is_ipv4() { 1 } else { 58 };
    let rest = if old.src.is_ipv4() {
        sum(&[&icmp])
    } else {
        let length = be(icmp.len());
        sum(&[&octets(old.dst), &octets(old.src), &length, &[0, protocol], &icmp])
    };
    let checksum = be(65_535 - rest as usize);
    icmp[2..4].copy_from_slice(&checksum);
    ip((old.dst, old.src), protocol, &icmp, Shape::default())
}

/// The kernel half on the host.
pub struct Host {
    /// Maps, clock and packet.
    pub world: Box<World>,
    /// Whether cards are to finish the checksums of UDP.
    pub partial: bool,
}

impl Engine for Host {
    fn run(&mut self, way: Way, packet: &[u8]) -> Done {
        self.world.set_partial(self.partial && matches!(read(packet), Seen::Udp(..)));
        let mut packet = packet.to_vec();
        let way = match way {
            Way::Out => dnsalt_sim::Way::Out,
            Way::In => dnsalt_sim::Way::In,
        };
        let verdict = self.world.run(way, true, &mut packet);
        Done { verdict, packet }
    }

    fn wait(&mut self, units: u64) {
        self.world.wait(units);
    }

    fn count(&mut self, counter: Counter) -> Option<u64> {
        Some(self.world.count(counter))
    }
}
