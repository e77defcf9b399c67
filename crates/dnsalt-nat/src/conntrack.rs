//! The kernel's table of connections, as far as DNS is concerned, over netlink.
//!
//! NAT is decided once, for the first packet of a connection. A program that asks all its queries
//! from one port keeps one entry alive for as long as it asks often enough, so rules that are put
//! in front of it would never be looked at: after every change the entries of DNS have to go.
//!
//! ```text
//!   original:  client:44444 ──> server:53        what the program sent
//!   reply:     server:53 ──> gateway:9374        what the server saw: the port on the wire
//! ```

use std::io;
use std::net::{IpAddr, SocketAddr as Peer};

use dnsalt_policy::{Family, Policy, Prefix};
use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_netfilter::conntrack::{
    ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Protocol, Status, Tuple,
};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

/// What the kernel did not do for us.
#[derive(Debug, thiserror::Error)]
#[error("conntrack over netlink, {operation}: {cause}")]
pub struct ConntrackError {
    operation: &'static str,
    cause: io::Error,
}

/// One connection to a DNS server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who asks, as it sees itself.
    pub client: Peer,
    /// Whom it asks.
    pub server: Peer,
    /// The source port on the wire.
    pub wire_port: u16,
    /// Whether it is UDP; else it is TCP.
    pub udp: bool,
    /// Seconds until the entry goes, unless another packet comes.
    pub expires: u32,
    /// Whether an answer was seen.
    answered: bool,
    original: Vec<Tuple>,
}

/// How full the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    /// Entries in this network namespace.
    pub entries: u64,
    /// The most there can be; 0 where that is not known.
    pub max: u64,
}

impl Usage {
    /// Whether it is time to make room: the kernel drops whatever finds none.
    pub fn is_nearly_full(&self) -> bool {
        self.max > 0 && self.entries * 10 >= self.max * 8
    }
}

/// What to do about a table that is nearly full.
pub const MAKE_ROOM: &str =
    "raise it before queries get lost: sysctl -w net.netfilter.nf_conntrack_max=N";

/// The entries that fit the policy: to a DNS port, from and to its prefixes.
///
/// # Errors
/// When the kernel cannot be asked: no rights (`CAP_NET_ADMIN`), no conntrack.
pub fn entries(policy: &Policy) -> Result<Vec<Entry>, ConntrackError> {
    matching(|entry| entry.fits(policy))
}

/// Ends every UDP connection that fits the policy, so that the next packet is translated anew.
/// Returns how many there were. A query that waits for its answer has to be asked again.
///
/// What servers sent unasked before the rules were in is ended, too: conntrack would go on keeping
/// it as long as more of the same comes, dropped or not, and NAT would not draw its port.
///
/// # Errors
/// As [`entries`].
pub fn cut(policy: &Policy) -> Result<usize, ConntrackError> {
    let ours = |entry: &Entry| entry.udp && (entry.fits(policy) || entry.is_unsolicited(policy));
    let mut netlink = Netlink::open()?;
    let mut count = 0;
    for entry in matching(ours)? {
        let family = Family::of(entry.server.ip());
        let was_query = entry.fits(policy);
        let delete =
            ConntrackMessage::Delete(vec![ConntrackAttribute::CtaTupleOrig(entry.original)]);
        match netlink.request("deleting", family_number(family), delete, NLM_F_ACK, |_| {}) {
            Ok(()) => count += usize::from(was_query),
            // It went by itself in the meantime.
            Err(error) if error.cause.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

fn matching(which: impl Fn(&Entry) -> bool) -> Result<Vec<Entry>, ConntrackError> {
    let mut netlink = Netlink::open()?;
    let mut entries = Vec::new();
    netlink.request("listing", 0, ConntrackMessage::Get(Vec::new()), NLM_F_DUMP, |attributes| {
        entries.extend(Entry::read(attributes).filter(&which));
    })?;
    Ok(entries)
}

/// How full the table is; none where conntrack is not there.
pub fn usage() -> Option<Usage> {
    Some(Usage {
        entries: crate::sysctl::number("net/netfilter/nf_conntrack_count")?,
        max: crate::sysctl::number("net/netfilter/nf_conntrack_max")?,
    })
}

/// Seconds that conntrack keeps an answered UDP flow that no policy shortens.
pub fn default_timeout() -> u64 {
    crate::sysctl::number("net/netfilter/nf_conntrack_udp_timeout").unwrap_or(30)
}

/// Makes or replaces the named timeout policy that the iptables rules refer to; nftables has its
/// own objects for that.
///
/// # Errors
/// When the kernel has no `nfnetlink_cttimeout`, or we no rights.
pub fn set_timeout_policy(name: &str, family: Family, unreplied: u8) -> Result<(), ConntrackError> {
    let seconds = |kind, value: u8| DefaultNla::new(kind, u32::from(value).to_be_bytes().to_vec());
    let mut attributes = timeout_policy_key(name, family);
    attributes.push(nested(4, &[seconds(1, unreplied), seconds(2, 1)]));
    let new = other(8, 0, attributes);
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
    Netlink::open()?.request("making a timeout policy", 0, new, flags, |_| {})
}

/// Removes such a policy; it is fine if there is none.
///
/// # Errors
/// When rules still refer to it.
pub fn remove_timeout_policy(name: &str, family: Family) -> Result<(), ConntrackError> {
    let delete = other(8, 2, timeout_policy_key(name, family));
    match Netlink::open()?.request("removing a timeout policy", 0, delete, NLM_F_ACK, |_| {}) {
        Err(error) if error.cause.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// `CTA_TIMEOUT_NAME`, `CTA_TIMEOUT_L3PROTO`, `CTA_TIMEOUT_L4PROTO` of UDP.
fn timeout_policy_key(name: &str, family: Family) -> Vec<DefaultNla> {
    vec![
        DefaultNla::new(1, [name.as_bytes(), b"\0"].concat()),
        DefaultNla::new(2, u16::from(family_number(family)).to_be_bytes().to_vec()),
        DefaultNla::new(3, vec![17]),
    ]
}

fn nested(kind: u16, inner: &[DefaultNla]) -> DefaultNla {
    use netlink_packet_core::Emitable as _;
    let mut bytes = vec![0; inner.buffer_len()];
    inner.emit(&mut bytes);
    DefaultNla::new(kind | 0x8000, bytes) // NLA_F_NESTED
}

fn other(subsys: u8, message_type: u8, attributes: Vec<DefaultNla>) -> NetfilterMessageInner {
    NetfilterMessageInner::Other { subsys: subsys.into(), message_type, attributes }
}

fn family_number(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

impl Entry {
    fn read(attributes: &[ConntrackAttribute]) -> Option<Self> {
        let mut original = None;
        let mut reply = None;
        let mut expires = 0;
        let mut answered = false;
        for attribute in attributes {
            match attribute {
                ConntrackAttribute::CtaTupleOrig(tuple) => original = Some(tuple),
                ConntrackAttribute::CtaTupleReply(tuple) => reply = Ends::read(tuple),
                ConntrackAttribute::CtaTimeout(seconds) => expires = *seconds,
                ConntrackAttribute::CtaStatus(status) => {
                    answered = status.contains(Status::SeenReply);
                }
                _ => {}
            }
        }
        let original = original?;
        let ends = Ends::read(original)?;
        Some(Entry {
            client: ends.source,
            server: ends.destination,
            wire_port: reply?.destination.port(),
            udp: ends.udp,
            expires,
            answered,
            original: original.clone(),
        })
    }

    /// Whether it is what the shield drops: from a server's port, and nobody answered it.
    fn is_unsolicited(&self, policy: &Policy) -> bool {
        let family = Family::of(self.client.ip());
        let dns = |peer: Peer| policy.dns_ports().contains(&peer.port());
        !self.answered
            && policy.covers(family)
            && dns(self.client)
            && !dns(self.server)
            && !self.client.ip().is_loopback()
            && within(&policy.to(family), self.client.ip())
    }

    fn fits(&self, policy: &Policy) -> bool {
        let family = Family::of(self.server.ip());
        policy.covers(family)
            && policy.dns_ports().contains(&self.server.port())
            && !self.server.ip().is_loopback()
            && within(&policy.from(family), self.client.ip())
            && within(&policy.to(family), self.server.ip())
    }
}

fn within(prefixes: &[Prefix], address: IpAddr) -> bool {
    prefixes.is_empty() || prefixes.iter().any(|prefix| prefix.contains(address))
}

/// The two ends of one direction.
struct Ends {
    source: Peer,
    destination: Peer,
    udp: bool,
}

impl Ends {
    /// None for what has no ports.
    fn read(tuple: &[Tuple]) -> Option<Self> {
        let (mut source, mut destination) = (None, None);
        let (mut source_port, mut destination_port, mut udp) = (None, None, None);
        for part in tuple {
            match part {
                Tuple::Ip(addresses) => {
                    for address in addresses {
                        match address {
                            IPTuple::SourceAddress(ip) => source = Some(*ip),
                            IPTuple::DestinationAddress(ip) => destination = Some(*ip),
                            _ => {}
                        }
                    }
                }
                Tuple::Proto(parts) => {
                    for part in parts {
                        match part {
                            ProtoTuple::Protocol(Protocol::Udp) => udp = Some(true),
                            ProtoTuple::Protocol(Protocol::Tcp) => udp = Some(false),
                            ProtoTuple::SourcePort(port) => source_port = Some(*port),
                            ProtoTuple::DestinationPort(port) => destination_port = Some(*port),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Some(Ends {
            source: Peer::new(source?, source_port?),
            destination: Peer::new(destination?, destination_port?),
            udp: udp?,
        })
    }
}

/// A netlink socket of the netfilter family.
struct Netlink {
    socket: Socket,
}

impl Netlink {
    fn open() -> Result<Self, ConntrackError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        };
        open().map(|socket| Self { socket }).map_err(|cause| failed("opening a socket", cause))
    }

    /// Sends one request and hands every conntrack entry of the answer to `each`.
    fn request(
        &mut self,
        operation: &'static str,
        family: u8,
        message: impl Into<NetfilterMessageInner>,
        flags: u16,
        mut each: impl FnMut(&[ConntrackAttribute]),
    ) -> Result<(), ConntrackError> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        let family = NetfilterProtoFamily::from(family);
        let payload = NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), message);
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(payload));
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map_err(|cause| failed(operation, cause))?;
        loop {
            let (datagram, _) =
                self.socket.recv_from_full().map_err(|cause| failed(operation, cause))?;
            if read_datagram(&datagram, &mut each).map_err(|cause| failed(operation, cause))? {
                return Ok(());
            }
        }
    }
}

/// Reads the messages of one datagram; true when the answer is complete.
fn read_datagram(
    datagram: &[u8],
    each: &mut impl FnMut(&[ConntrackAttribute]),
) -> io::Result<bool> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkMessage::<NetfilterMessage>::deserialize(rest)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        match message.payload {
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) => {
                return match error.code {
                    None => Ok(true),
                    Some(_) => Err(error.to_io()),
                };
            }
            NetlinkPayload::InnerMessage(NetfilterMessage {
                inner: NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)),
                ..
            }) => each(&attributes),
            _ => {}
        }
        // Messages are aligned to four bytes (NLMSG_ALIGN).
        let length = (message.header.length as usize).next_multiple_of(4).max(16);
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(false)
}

fn failed(operation: &'static str, cause: io::Error) -> ConntrackError {
    ConntrackError { operation, cause }
}
