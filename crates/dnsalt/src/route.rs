//! Which way a packet takes, as the kernel's routing tables have it.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::net::{AddressFamily as Family, SocketType, netdevice};

/// The name of the interface through which `server` is reached, from `source` if it is given.
pub(crate) fn interface_to(server: IpAddr, source: Option<IpAddr>) -> io::Result<String> {
    let mut message = RouteMessage::default();
    message.header.address_family = family(server);
    message.header.destination_prefix_length = if server.is_ipv4() { 32 } else { 128 };
    message.attributes.push(RouteAttribute::Destination(address(server)));
    if let Some(source) = source {
        message.header.source_prefix_length = if source.is_ipv4() { 32 } else { 128 };
        message.attributes.push(RouteAttribute::Source(address(source)));
    }
    let reply = ask(RouteNetlinkMessage::GetRoute(message))?;
    let index = reply.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    });
    let index = index.ok_or_else(|| io::Error::from(io::ErrorKind::NetworkUnreachable))?;
    let socket = rustix::net::socket(Family::INET, SocketType::DGRAM, None)?;
    Ok(netdevice::index_to_name(&socket, index)?)
}

/// One request, one reply.
fn ask(request: RouteNetlinkMessage) -> io::Result<RouteMessage> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(request));
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&bytes, 0)?;
    let (datagram, _) = socket.recv_from_full()?;
    let reply = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&datagram)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    match reply.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => Ok(route),
        NetlinkPayload::Error(error) => Err(error.to_io()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "an answer that is no route")),
    }
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}
