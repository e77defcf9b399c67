//! The network interfaces of the network namespace that we run in.

use std::io;

use dnsalt_policy::InterfaceName;
use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};

use crate::netlink;

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
    let all = netlink::ask(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP)?;
    let name = |answer: RouteNetlinkMessage| {
        let RouteNetlinkMessage::NewLink(link) = answer else { return None };
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
    Ok(all.into_iter().filter_map(name).collect())
}
