//! From a packet to an event of the audit, and a count of what is none.

use std::ops::AddAssign;

use dnsalt_audit::event::{Address, Event, Kind, QueryTraits, ReplyTraits};
use dnsalt_policy::Prefix;
use dnsalt_wire::ParseError;
use dnsalt_wire::dns::{self, Letters, Message};
use dnsalt_wire::ip::{self, Packet, Transport};
use dnsalt_wire::link::{LinkType, Network, network};
use dnsalt_wire::tcp::Tcp;
use dnsalt_wire::udp::Udp;
use serde::Serialize;

const DNS_HEADER: usize = 12;

/// What became of the packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Totals {
    /// Packets in all.
    pub(crate) packets: u64,
    /// Queries over UDP.
    pub(crate) queries: u64,
    /// Replies over UDP.
    pub(crate) replies: u64,
    /// Queries over TCP.
    pub(crate) tcp_queries: u64,
    /// To or from a DNS port, but neither query nor reply: TCP without a query, replies to a DNS port.
    pub(crate) other_dns: u64,
    /// Within another packet: IP in IP, GRE. Not looked into.
    pub(crate) tunnels: u64,
    /// Fragments that carry no ports.
    pub(crate) fragments: u64,
    /// Cut or damaged before the DNS header was complete.
    pub(crate) malformed: u64,
    /// On links that nobody here can read.
    pub(crate) unknown_links: u64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.queries += other.queries;
        self.replies += other.replies;
        self.tcp_queries += other.tcp_queries;
        self.other_dns += other.other_dns;
        self.tunnels += other.tunnels;
        self.fragments += other.fragments;
        self.malformed += other.malformed;
        self.unknown_links += other.unknown_links;
    }
}

/// What an audit goes by: the ports that DNS is asked on, and who is one client.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    bits: Vec<u64>,
    /// Prefixes whose addresses are one client's: the first address, and the bits that are their own.
    one_client: Vec<(u128, u128)>,
}

impl Scope {
    pub(crate) fn new(ports: &[u16]) -> Self {
        let mut bits = vec![0; 1024];
        for port in ports {
            bits[usize::from(port >> 6)] |= 1 << (port & 63);
        }
        Scope { bits, one_client: Vec::new() }
    }

    /// Takes all addresses of each prefix for one client.
    pub(crate) fn with_one_client(mut self, prefixes: &[Prefix]) -> Self {
        let own = |prefix: &Prefix| {
            let whole = if prefix.address().is_ipv4() { 32 } else { 128 };
            let drawn = whole - u32::from(prefix.length());
            (Address::from(prefix.address()).0, u128::MAX.checked_shl(drawn).unwrap_or(0))
        };
        self.one_client = prefixes.iter().map(own).collect();
        self
    }

    fn client(&self, address: Address) -> Address {
        let one = self.one_client.iter().find(|(first, own)| address.0 & own == *first);
        one.map_or(address, |(first, _)| Address(*first))
    }

    fn has(&self, port: u16) -> bool {
        self.bits[usize::from(port >> 6)] >> (port & 63) & 1 == 1
    }
}

/// What a DNS message shows that the audit has no use for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct More {
    /// The type that is asked for; none where the question cannot be read, or over TCP.
    pub(crate) qtype: Option<u16>,
    /// The third and the fourth byte of the message, from QR to RCODE (RFC 1035 section 4.1.1).
    pub(crate) flags: u16,
}

/// What a packet is to the audit; one at most is.
pub(crate) fn event(
    time: u64,
    link: LinkType,
    frame: &[u8],
    scope: &Scope,
    totals: &mut Totals,
) -> Option<Event> {
    seen(time, link, frame, scope, totals).map(|(event, _)| event)
}

/// The same, with what else it shows.
#[inline]
pub(crate) fn seen(
    time: u64,
    link: LinkType,
    frame: &[u8],
    scope: &Scope,
    totals: &mut Totals,
) -> Option<(Event, More)> {
    totals.packets += 1;
    match network(link, frame) {
        Ok(Network::Ip(packet)) => of_ip(time, packet, scope, totals),
        Ok(Network::Other) => None,
        Ok(Network::UnknownLink) => {
            totals.unknown_links += 1;
            None
        }
        Err(_) => {
            totals.malformed += 1;
            None
        }
    }
}

fn of_ip(time: u64, bytes: &[u8], scope: &Scope, totals: &mut Totals) -> Option<(Event, More)> {
    let Ok(packet) = Packet::parse(bytes) else {
        totals.malformed += 1;
        return None;
    };
    let transport = packet.transport();
    let event = match transport.protocol {
        // IP in IP (RFC 2003, 2473), GRE (RFC 2784).
        4 | 41 | 47 => {
            totals.tunnels += 1;
            return None;
        }
        ip::UDP | ip::TCP if !transport.first_fragment => {
            totals.fragments += 1;
            return None;
        }
        ip::UDP => of_udp(transport, scope, totals),
        ip::TCP => of_tcp(transport, scope, totals),
        _ => return None,
    };
    if let Ok(found) = event {
        found.map(|found| (found.event(time, &packet, scope), found.more))
    } else {
        totals.malformed += 1;
        None
    }
}

/// An event without the addresses and the time.
struct Found {
    port: u16,
    id: u16,
    question: u32,
    kind: Kind,
    /// Whether it went from the client to the server.
    forth: bool,
    more: More,
}

impl Found {
    fn event(&self, time: u64, packet: &Packet<'_>, scope: &Scope) -> Event {
        let (client, server) = (packet.src().into(), packet.dst().into());
        let (client, server) = if self.forth { (client, server) } else { (server, client) };
        let Found { port, id, question, kind, .. } = *self;
        let client = scope.client(client);
        Event { time, client, server, port, id, question, kind }
    }
}

fn of_udp(
    transport: Transport<'_>,
    scope: &Scope,
    totals: &mut Totals,
) -> Result<Option<Found>, ParseError> {
    let udp = Udp::parse(transport.payload)?;
    let (to, from) = (scope.has(udp.dst_port()), scope.has(udp.src_port()));
    if !to && !from {
        return Ok(None);
    }
    let message = Message::parse(udp.payload())?;
    let reply = message.is_response();
    // Whatever the kind of query, an update or a notification too, it shows how its sender draws.
    if (reply && !from) || (!reply && !to) {
        totals.other_dns += 1;
        return Ok(None);
    }
    let id = message.id();
    let (question, letters, qtype) = question(&message, udp.payload());
    let more = More { qtype, flags: message.flags() };
    if reply {
        totals.replies += 1;
        let traits = ReplyTraits {
            truncated: message.is_truncated(),
            questionless: message.questions() == 0,
            cookie: message.edns().and_then(|edns| edns.cookie()).filter(|c| c.1).map(|c| c.0),
        };
        let kind = Kind::Reply(traits, transport.fragmented);
        return Ok(Some(Found { port: udp.dst_port(), id, question, kind, forth: false, more }));
    }
    totals.queries += 1;
    let edns = message.edns();
    let kind = Kind::Query(QueryTraits {
        letters: letters.letters,
        upper: letters.upper,
        edns: edns.map(|edns| edns.size),
        dnssec_ok: edns.is_some_and(|edns| edns.dnssec_ok),
        cookie: edns.and_then(|edns| edns.cookie()).map(|(cookie, _)| cookie),
    });
    Ok(Some(Found { port: udp.src_port(), id, question, kind, forth: true, more }))
}

fn of_tcp(
    transport: Transport<'_>,
    scope: &Scope,
    totals: &mut Totals,
) -> Result<Option<Found>, ParseError> {
    let tcp = Tcp::parse(transport.payload)?;
    if !scope.has(tcp.dst_port()) {
        return Ok(None);
    }
    let query = dns::tcp_payload(tcp.payload())
        .and_then(|bytes| Message::parse(bytes).ok())
        .is_some_and(|message| !message.is_response());
    let kind = match (tcp.opens(), query) {
        (true, _) => Kind::TcpOpened,
        (false, true) => Kind::TcpQuery,
        (false, false) => {
            totals.other_dns += 1;
            return Ok(None);
        }
    };
    totals.tcp_queries += u64::from(query);
    let more = More::default();
    Ok(Some(Found { port: tcp.src_port(), id: 0, question: 0, kind, forth: true, more }))
}

/// A hash of the question, the letters of its name, and its type. Of a question that is cut, too long or
/// compressed, all that there is stands for it.
fn question(message: &Message<'_>, bytes: &[u8]) -> (u32, Letters, Option<u16>) {
    let Ok(question) = message.question() else {
        let hash = Letters::of(&bytes[DNS_HEADER..]).hash;
        return ((hash & 0xffff_ffff) as u32, Letters::default(), None);
    };
    let letters = question.name.letters();
    let kind = u64::from(question.qtype) << 16 | u64::from(question.qclass);
    let hash = letters.hash ^ kind.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (((hash ^ hash >> 32) & 0xffff_ffff) as u32, letters, Some(question.qtype))
}
