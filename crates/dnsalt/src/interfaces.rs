//! The network interfaces of the network namespace that we run in.

use std::io;

use dnsalt_policy::InterfaceName;
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// The names, as the kernel lists them. Not from /sys, which may show another namespace.
fn names() -> Vec<String> {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    let name = |line: &str| line.split_once(':').map(|(name, _)| name.trim().to_owned());
    text.lines().skip(2).filter_map(name).collect()
}

/// Whether all of these are there; else what to say.
pub(crate) fn all_exist(wanted: &[InterfaceName]) -> Result<(), String> {
    let names = names();
    match wanted.iter().find(|wanted| !names.iter().any(|name| name == wanted.as_str())) {
        None => Ok(()),
        Some(missing) => Err(format!(
            "--iface: there is no interface `{missing}` here; there are {}",
            names.join(", ")
        )),
    }
}

/// Interfaces that packets leave by: those that are up, but for `lo` and for ports of bridges and
/// bonds, whose traffic leaves by what they are part of.
pub(crate) fn outer() -> io::Result<Vec<String>> {
    let name = |link: LinkMessage| {
        let flags = link.header.flags;
        let up = flags.contains(LinkFlags::Up) && !flags.contains(LinkFlags::Loopback);
        let part = |attribute: &LinkAttribute| matches!(attribute, LinkAttribute::Controller(_));
        if !up || link.attributes.iter().any(part) {
            return None;
        }
        link.attributes.into_iter().find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name),
            _ => None,
        })
    };
    Ok(links()?.into_iter().filter_map(name).collect())
}

/// Every interface, as the kernel tells of it.
fn links() -> io::Result<Vec<LinkMessage>> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(request));
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&bytes, 0)?;
    let mut links = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = &datagram[..];
        while !rest.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            let length = message.header.length as usize;
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(links),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                    links.push(link);
                }
                _ => {}
            }
            rest = rest.get(length.next_multiple_of(4).max(4)..).unwrap_or_default();
        }
    }
}
