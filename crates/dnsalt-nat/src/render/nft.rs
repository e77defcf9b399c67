//! The rules for nftables, all in one table of our own.

use std::net::IpAddr;

use dnsalt_policy::{Family, Policy, PortRange, Protocol, Source};

use super::shield::{Shield, To, asking, leaving};
use super::{comma, heading};

/// Our table, family and name; no other is ever touched.
pub const TABLE: &str = "inet dnsalt";

/// The chains of the shield begin with this.
const UNSOLICITED: &str = "unsolicited";

/// The rules as a file for `nft -f`: one transaction that replaces what we had before.
pub fn nft(policy: &Policy) -> String {
    nft_with(policy, Shield::Whole)
}

/// The same with as much of the shield as the kernel can hold: all or nothing.
pub fn nft_with(policy: &Policy, shield: Shield) -> String {
    let mut text = heading(
        policy,
        "nftables",
        &["Load with: nft -f FILE    Remove with: nft delete table inet dnsalt".to_owned()],
    );
    // Making the table first lets the deletion succeed where there was none.
    text += &format!("\ntable {TABLE}\ndelete table {TABLE}\n\ntable {TABLE} {{\n");
    let mut parts = Vec::from_iter(timeout_objects(policy));
    parts.extend(port_chains(policy));
    parts.push(postrouting(policy));
    if policy.per_query() {
        parts.extend(zone_chains(policy));
    }
    if shield.min(Shield::wanted(policy)) == Shield::Whole {
        parts.extend(shield_chains(policy));
    }
    text += &parts.join("\n");
    text + "}\n"
}

/// `ct timeout` knows one family and one protocol at a time.
fn timeout_objects(policy: &Policy) -> Option<String> {
    let timeout = policy.udp_timeout()?;
    let objects = policy.families().into_iter().map(|family| {
        format!(
            "\tct timeout {} {{\n\t\tprotocol udp\n\t\tl3proto {}\n\
             \t\tpolicy = {{ unreplied : {timeout}, replied : 1 }}\n\t}}\n",
            timeout_name(family),
            keyword(family),
        )
    });
    Some(format!(
        "\t# How long a UDP query keeps its port: conntrack's default of 30 s would leave every\n\
         \t# port open for forged replies long after the answer came.\n{}",
        objects.collect::<Vec<_>>().join("\n")
    ))
}

/// A NAT statement takes one range of ports: one chain for each, drawn by its size.
fn port_chains(policy: &Policy) -> Vec<String> {
    let ranges = policy.ports().ranges();
    if ranges.len() == 1 {
        return Vec::new();
    }
    let mut chains: Vec<String> = ranges
        .iter()
        .map(|&range| {
            format!("\tchain {} {{\n{}\t}}\n", chain_name(range), nat_rules(policy, range))
        })
        .collect();
    let mut start = 0;
    let mut elements = Vec::new();
    for &range in ranges {
        let end = start + range.count() - 1;
        let key = if start == end { start.to_string() } else { format!("{start}-{end}") };
        elements.push(format!("\t\t\t{key} : goto {}", chain_name(range)));
        start = end + 1;
    }
    chains.push(format!(
        "\t# A NAT rule takes one range of ports; this draws among those that the avoid list\n\
         \t# leaves, each by its size, so that every port is as likely as any other.\n\
         \tchain ports {{\n\t\tnumgen random mod {start} vmap {{\n{}\n\t\t}}\n\t}}\n",
        elements.join(",\n"),
    ));
    chains
}

/// The statements that translate, for one range of ports.
fn nat_rules(policy: &Policy, range: PortRange) -> String {
    // A port can be translated only where there is one.
    let ported = "meta l4proto { tcp, udp }";
    match policy.source() {
        Source::Masquerade => format!("\t\t{ported} masquerade to :{range} fully-random\n"),
        Source::Keep => format!("\t\t{ported} snat to :{range} fully-random\n"),
        Source::Pool(pool) => policy
            .families()
            .into_iter()
            .map(|family| {
                let nfproto = nfproto(family);
                let pool = pool.of(family);
                if pool.is_empty() {
                    return format!("\t\t{nfproto} {ported} masquerade to :{range} fully-random\n");
                }
                let word = keyword(family);
                let to = snat_target(&pool, range);
                format!("\t\t{nfproto} {ported} snat {word} to {to} fully-random\n")
            })
            .collect(),
    }
}

/// The address or the draw among addresses. A range `A-B` would not do: there the kernel takes a
/// hash of client and server, so that one pair always has the same address.
fn snat_target(pool: &[IpAddr], range: PortRange) -> String {
    match pool {
        [IpAddr::V6(address)] => format!("[{address}]:{range}"),
        [address] => format!("{address}:{range}"),
        many => {
            let elements = comma(many.iter().enumerate().map(|(i, a)| format!("{i} : {a}")));
            format!("numgen random mod {} map {{ {elements} }}:{range}", many.len())
        }
    }
}

/// The one place where it is decided what is salted.
fn postrouting(policy: &Policy) -> String {
    let mut text = format!(
        "\t# Just before the usual place of NAT (100), so that other NAT rules do not take the\n\
         \t# queries first. What they translate besides DNS is theirs as before.\n\
         \tchain postrouting {{\n\
         \t\ttype nat hook postrouting priority srcnat - 1; policy accept;\n\
         \t\toifname \"lo\" return comment \"policy {}\"\n",
        policy.digest()
    );
    text += &other_interfaces(policy, "oifname");
    for family in policy.families() {
        for &protocol in policy.protocols() {
            text += &format!("\t\t{}", queries(policy, family, protocol));
            if protocol == Protocol::Udp && policy.timeout().is_some() {
                text += &format!(" ct timeout set \"{}\"", timeout_name(family));
            }
            text += &match policy.ports().ranges() {
                [range] => format!(" counter goto {}\n", chain_name(*range)),
                _ => " counter goto ports\n".to_owned(),
            };
        }
    }
    text += "\t}\n";
    match policy.ports().ranges() {
        [range] => {
            format!(
                "\tchain {} {{\n{}\t}}\n\n{text}",
                chain_name(*range),
                nat_rules(policy, *range)
            )
        }
        _ => text,
    }
}

/// Before conntrack looks at a query, it gets a random zone: to conntrack it is then a connection
/// of its own, and NAT draws a port of its own.
fn zone_chains(policy: &Policy) -> [String; 2] {
    let zones: String = policy
        .families()
        .into_iter()
        .map(|family| {
            let queries = queries(policy, family, Protocol::Udp);
            format!("\t\t{queries} ct original zone set numgen random mod 65535\n")
        })
        .collect();
    let forwarded = format!(
        "\t# A random conntrack zone makes every query a connection of its own, with a port of its\n\
         \t# own. Only the direction of the query has the zone: replies find their way as ever.\n\
         \tchain zones_forwarded {{\n\
         \t\ttype filter hook prerouting priority raw; policy accept;\n\
         \t\tfib daddr type local return comment \"queries to a server on this machine\"\n\
         {}{zones}\t}}\n",
        other_interfaces(policy, "fib daddr oifname"),
    );
    let local = format!(
        "\tchain zones_local {{\n\
         \t\ttype filter hook output priority raw; policy accept;\n\
         \t\toifname \"lo\" return\n\
         {}{zones}\t}}\n",
        other_interfaces(policy, "oifname"),
    );
    [forwarded, local]
}

/// How much of the shield is in a listing of our table.
pub fn nft_shield(listing: &str) -> Shield {
    let there = listing.contains(&format!("chain {UNSOLICITED} {{"));
    if there { Shield::Whole } else { Shield::None }
}

/// Right after conntrack, which knows by then whether a packet belongs to a query.
fn shield_chains(policy: &Policy) -> Vec<String> {
    let jumps: String = policy
        .families()
        .into_iter()
        .map(|family| {
            let servers = addresses(family, "saddr", &policy.to(family));
            let port = ports(policy);
            let (nfproto, word) = (nfproto(family), keyword(family));
            format!("\t\t{nfproto}{servers} udp sport {port} goto {UNSOLICITED}-{word}\n")
        })
        .collect();
    let mut chains: Vec<String> =
        policy.families().into_iter().map(|family| unsolicited(policy, family)).collect();
    chains.push(format!(
        "\t# What comes from a server and belongs to no query. Kept by conntrack, it would take its\n\
         \t# port out of the draw for 30 s; answered with an ICMP error, it would tell that the port\n\
         \t# is closed; and a program here that asks from a port of its own would believe it.\n\
         \tchain {UNSOLICITED} {{\n\
         \t\ttype filter hook prerouting priority mangle; policy accept;\n\
         \t\tct state != new return\n\
         \t\tiifname \"lo\" return\n\
         {}{jumps}\t}}\n",
        other_interfaces(policy, "iifname"),
    ));
    chains
}

/// A reply is told by the first bit after the query ID.
fn unsolicited(policy: &Policy, family: Family) -> String {
    let to = |to: &To| match to {
        To::Local => "fib daddr type local".to_owned(),
        To::Named(list) => addresses(family, "daddr", list).trim_start().to_owned(),
    };
    let mut text = format!("\tchain {UNSOLICITED}-{} {{\n", keyword(family));
    for asking in asking(policy, family) {
        text += &format!("\t\t{} @th,80,1 1 counter drop comment \"a reply\"\n", to(&asking));
    }
    text += &format!("\t\tudp dport {} return comment \"a query\"\n", ports(policy));
    let drawn = comma(policy.ports().ranges());
    for leaving in leaving(policy, family) {
        text += &format!("\t\t{} udp dport {{ {drawn} }} counter drop\n", to(&leaving));
    }
    text + "\t}\n"
}

fn other_interfaces(policy: &Policy, selector: &str) -> String {
    match policy.interfaces() {
        [] => String::new(),
        names => {
            let names = comma(names.iter().map(|name| format!("\"{name}\"")));
            format!("\t\t{selector} != {{ {names} }} return\n")
        }
    }
}

/// The match for queries of one family and protocol.
fn queries(policy: &Policy, family: Family, protocol: Protocol) -> String {
    let from = addresses(family, "saddr", &policy.from(family));
    let to = addresses(family, "daddr", &policy.to(family));
    format!("{}{from}{to} {} dport {}", nfproto(family), protocol.keyword(), ports(policy))
}

/// ` ip saddr { a, b }`; nothing where no address is named.
pub(crate) fn addresses<T: ToString>(family: Family, selector: &str, list: &[T]) -> String {
    match list {
        [] => String::new(),
        list => {
            let list = comma(list.iter().map(ToString::to_string));
            format!(" {} {selector} {{ {list} }}", keyword(family))
        }
    }
}

/// The DNS ports, one or several in braces.
pub(crate) fn ports(policy: &Policy) -> String {
    match policy.dns_ports() {
        [port] => port.to_string(),
        ports => format!("{{ {} }}", comma(ports)),
    }
}

fn keyword(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

pub(crate) fn nfproto(family: Family) -> &'static str {
    match family {
        Family::V4 => "meta nfproto ipv4",
        Family::V6 => "meta nfproto ipv6",
    }
}

fn timeout_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "udp-ip",
        Family::V6 => "udp-ip6",
    }
}

fn chain_name(range: PortRange) -> String {
    format!("ports-{range}")
}
