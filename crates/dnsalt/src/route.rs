//! Which way a packet takes, as the kernel's routing tables have it.

use std::io;
use std::net::IpAddr;

use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::net::{AddressFamily as Family, SocketType, netdevice};

use crate::netlink;

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
    let replies = netlink::ask(RouteNetlinkMessage::GetRoute(message), 0)?;
    let attributes = replies.iter().filter_map(|reply| match reply {
        RouteNetlinkMessage::NewRoute(route) => Some(&route.attributes),
        _ => None,
    });
    let index = attributes.flatten().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    });
    let index = index.ok_or_else(|| io::Error::from(io::ErrorKind::NetworkUnreachable))?;
    let socket = rustix::net::socket(Family::INET, SocketType::DGRAM, None)?;
    Ok(netdevice::index_to_name(&socket, index)?)
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
