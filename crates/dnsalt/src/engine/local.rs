//! Prefixes of source addresses as addresses of this machine: `ip route add local PREFIX dev lo`. Without it
//! what comes to one of them and belongs to no query would go back to whoever routed it here, in circles.
//!
//! A route of ours is known by its protocol, so that none is forgotten and none of others is taken away.

use std::io;
use std::net::IpAddr;

use dnsalt_nat::preflight::{Finding, Severity};
use dnsalt_policy::{Family, Policy, Prefix};
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::netlink;

/// The routing protocol of our routes. `/etc/iproute2/rt_protos` gives this number to nobody.
const OURS: RouteProtocol = RouteProtocol::Other(213);
/// The table of local addresses.
const LOCAL: u8 = 255;
/// The index that `lo` has in every network namespace.
const LO: u32 = 1;

/// Those of them that are not local here.
pub(super) fn missing(policy: &Policy) -> io::Result<Vec<Prefix>> {
    if policy.source().prefixes().is_empty() {
        return Ok(Vec::new());
    }
    let there: Vec<Prefix> = routes()?.iter().filter_map(destination).collect();
    Ok(policy
        .source()
        .prefixes()
        .iter()
        .copied()
        .filter(|prefix| !there.contains(prefix))
        .collect())
}

/// Makes local what is not.
pub(super) fn add(policy: &Policy) -> io::Result<()> {
    for prefix in missing(policy)? {
        let request = RouteNetlinkMessage::NewRoute(route(prefix));
        netlink::ask(request, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)?;
    }
    Ok(())
}

/// Takes away what we made local, but for some.
pub(super) fn remove_all_but(kept: &[Prefix]) -> io::Result<()> {
    for message in routes()? {
        let Some(prefix) = destination(&message) else { continue };
        if message.header.protocol == OURS && !kept.contains(&prefix) {
            netlink::ask(RouteNetlinkMessage::DelRoute(route(prefix)), NLM_F_ACK)?;
        }
    }
    Ok(())
}

/// A prefix that is the network of an interface has other machines in it, the next router for one.
pub(super) fn others_live_there(policy: &Policy) -> Option<Finding> {
    let networks = networks().ok()?;
    policy.source().prefixes().iter().find_map(|prefix| {
        let meets = |network: &Prefix| network.covers(*prefix) || prefix.covers(*network);
        let network = networks.iter().find(|network| meets(network))?;
        Some(Finding::new(
            Severity::Error,
            format!("the source prefix {prefix} meets {network}, the network of an interface, where others live"),
            "name the addresses that are this machine's, as a list or a range",
        ))
    })
}

/// Networks of interfaces, but for addresses that have none.
fn networks() -> io::Result<Vec<Prefix>> {
    let answers =
        netlink::ask(RouteNetlinkMessage::GetAddress(AddressMessage::default()), NLM_F_DUMP)?;
    let network = |answer: RouteNetlinkMessage| {
        let RouteNetlinkMessage::NewAddress(message) = answer else { return None };
        let length = message.header.prefix_len;
        let address = message.attributes.into_iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(address),
            _ => None,
        })?;
        Prefix::of(address, length).filter(|network| *network != Prefix::from(address))
    };
    Ok(answers.into_iter().filter_map(network).collect())
}

/// All local routes of this network namespace.
fn routes() -> io::Result<Vec<RouteMessage>> {
    let request = RouteNetlinkMessage::GetRoute(RouteMessage::default());
    let routes = netlink::ask(request, NLM_F_DUMP)?.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewRoute(route) if route.header.table == LOCAL => Some(route),
        _ => None,
    });
    Ok(routes.collect())
}

fn destination(route: &RouteMessage) -> Option<Prefix> {
    let length = route.header.destination_prefix_length;
    let address = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(v4)) => Some(IpAddr::V4(*v4)),
        RouteAttribute::Destination(RouteAddress::Inet6(v6)) => Some(IpAddr::V6(*v6)),
        _ => None,
    })?;
    Prefix::of(address, length)
}

fn route(prefix: Prefix) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = match prefix.family() {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    };
    message.header.destination_prefix_length = prefix.length();
    message.header.table = LOCAL;
    message.header.protocol = OURS;
    message.header.scope = RouteScope::Host;
    message.header.kind = RouteType::Local;
    let address = match prefix.address() {
        IpAddr::V4(v4) => RouteAddress::Inet(v4),
        IpAddr::V6(v6) => RouteAddress::Inet6(v6),
    };
    message.attributes = vec![RouteAttribute::Destination(address), RouteAttribute::Oif(LO)];
    message
}
