//! The rules for iptables, in chains of our own, for `iptables-restore --noflush`.
//!
//! One text serves both families: `iptables-restore` passes over lines that start with `-6`,
//! `ip6tables-restore` over those with `-4`. One rule in each built-in chain jumps to ours and
//! carries a comment, so that it can be found and removed exactly.

use std::net::IpAddr;

use dnsalt_policy::{Family, Policy, PortRange, Protocol, Source};

use super::shield::{Shield, To, asking, leaving};
use super::{RenderError, heading};

/// Our chain in each table that we use.
pub const CHAIN: &str = "DNSALT";
/// The comment on the rules that jump to it.
pub const TAG: &str = "dnsalt";

/// Where the ports are drawn.
const PORTS: &str = "DNSALT-PORTS";
/// What comes from a server and belongs to no query.
const UNASKED: &str = "DNSALT-UNASKED";
/// The same at a port that is drawn.
const DRAWN: &str = "DNSALT-DRAWN";

/// The chains that [`CHAIN`] leads to.
const INNER: [(&str, &str); 3] = [("mangle", UNASKED), ("mangle", DRAWN), ("nat", PORTS)];

/// The name of the conntrack timeout policy that the rules refer to.
///
/// Four letters: `iptables-save` 1.8 prints no more of it, and a saved rule set has to load again.
pub fn timeout_policy(family: Family) -> &'static str {
    match family {
        Family::V4 => "dns4",
        Family::V6 => "dns6",
    }
}

/// The jumps out of built-in chains: table, chain, match.
const JUMPS: [(&str, &str, &str); 4] = [
    ("raw", "PREROUTING", ""),
    ("raw", "OUTPUT", " ! -o lo"),
    ("mangle", "PREROUTING", " ! -i lo"),
    ("nat", "POSTROUTING", " ! -o lo"),
];

/// The rules, as text for `iptables-restore --noflush` and `ip6tables-restore --noflush`.
///
/// # Errors
/// [`RenderError::PerQuery`] and [`RenderError::ManyPorts`].
pub fn iptables(policy: &Policy) -> Result<String, RenderError> {
    iptables_with(policy, Shield::Whole)
}

/// The same with as much of the shield as the machine can hold.
///
/// # Errors
/// As [`iptables`].
pub fn iptables_with(policy: &Policy, shield: Shield) -> Result<String, RenderError> {
    if policy.per_query() {
        return Err(RenderError::PerQuery("iptables"));
    }
    if policy.dns_ports().len() > 15 {
        return Err(RenderError::ManyPorts);
    }
    let mut text = heading(policy, "iptables", &usage(policy));
    if policy.udp_timeout().is_some() {
        text += "\n# How long a UDP query keeps its port: conntrack's default of 30 s would leave every port\n\
                 # open for forged replies long after the answer came.\n*raw\n";
        text += &format!(":{CHAIN} - [0:0]\n");
        for family in policy.families() {
            let target = format!("-j CT --timeout {}", timeout_policy(family));
            for query in queries(policy, family, Protocol::Udp, false) {
                text += &format!(
                    "{} -A {CHAIN}{query} -m addrtype ! --dst-type LOCAL {target}\n",
                    flag(family)
                );
            }
        }
        text += &jumps("raw", "-I", " 1");
        text += "COMMIT\n";
    }
    let shield = shield.min(Shield::wanted(policy));
    if shield > Shield::None {
        text += &shield_rules(policy, shield);
    }
    text += "\n# Each query that leaves gets a random port. The range is always named: without one the\n\
             # kernel maps a source port below 512 to another below 512.\n*nat\n";
    text += &format!(":{CHAIN} - [0:0]\n:{PORTS} - [0:0]\n");
    for family in policy.families() {
        for &protocol in policy.protocols() {
            for query in queries(policy, family, protocol, true) {
                text += &format!(
                    "{} -A {CHAIN}{query} -m comment --comment \"policy {}\" -j {PORTS}\n",
                    flag(family),
                    policy.digest()
                );
            }
        }
    }
    for family in policy.families() {
        for &protocol in policy.protocols() {
            text += &draws(policy, family, protocol);
        }
    }
    text += &jumps("nat", "-I", " 1");
    Ok(text + "COMMIT\n")
}

/// What takes the rules out again, as text for the same commands.
pub fn iptables_removal(table: &str) -> String {
    let mut text = format!("*{table}\n{}-F {CHAIN}\n-X {CHAIN}\n", jumps(table, "-D", ""));
    for (_, inner) in INNER.iter().filter(|(of, _)| *of == table) {
        text += &format!("-F {inner}\n-X {inner}\n");
    }
    text + "COMMIT\n"
}

/// How much of the shield is among rules as `iptables-save` prints them.
pub fn iptables_shield(saved: &str) -> Shield {
    match (saved.contains(&format!("-A {DRAWN} ")), saved.contains("-m u32 ")) {
        (false, _) => Shield::None,
        (true, false) => Shield::Ports,
        (true, true) => Shield::Whole,
    }
}

/// Behind conntrack, which knows by then whether a packet belongs to a query.
fn shield_rules(policy: &Policy, shield: Shield) -> String {
    let mut text = format!(
        "\n# What comes from a server and belongs to no query. Kept by conntrack, it would take its port\n\
         # out of the draw for 30 s; answered with an ICMP error, it would tell that the port is closed;\n\
         # and a program here that asks from a port of its own would believe it.\n*mangle\n\
         :{CHAIN} - [0:0]\n:{UNASKED} - [0:0]\n:{DRAWN} - [0:0]\n"
    );
    for family in policy.families() {
        let flag = flag(family);
        for packets in from_servers(policy, family) {
            text +=
                &format!("{flag} -A {CHAIN}{packets} -m conntrack --ctstate NEW -j {UNASKED}\n");
        }
        if shield == Shield::Whole {
            for to in asking(policy, family).iter().flat_map(destinations) {
                for reply in replies(family) {
                    text += &format!("{flag} -A {UNASKED}{to} -m u32 --u32 \"{reply}\" -j DROP\n");
                }
            }
        }
        text += &format!("{flag} -A {UNASKED} -p udp{} -j RETURN\n", ports(policy, "dport"));
        for range in policy.ports().ranges() {
            let (low, high) = (range.low(), range.high());
            text += &format!("{flag} -A {UNASKED} -p udp --dport {low}:{high} -j {DRAWN}\n");
        }
        for to in leaving(policy, family).iter().flat_map(destinations) {
            text += &format!("{flag} -A {DRAWN}{to} -j DROP\n");
        }
    }
    text + &jumps("mangle", "-I", " 1") + "COMMIT\n"
}

/// The matches of u32 for replies: the bit QR, the first after the query ID. In IPv6 it looks where
/// UDP is if no other header stands between; where one does, nothing of DNS is lost.
fn replies(family: Family) -> &'static [&'static str] {
    match family {
        Family::V4 => &["0>>22&0x3C@8&0x8000=0x8000"],
        Family::V6 => &["48&0x8000=0x8000", "3&0xFF=0:0x10,0x12:0xFF"],
    }
}

fn destinations(to: &To) -> Vec<String> {
    match to {
        To::Local => vec![" -m addrtype --dst-type LOCAL".to_owned()],
        To::Named(list) => list.iter().map(|address| format!(" -d {address}")).collect(),
    }
}

/// The matches for what comes from servers, one for each combination.
fn from_servers(policy: &Policy, family: Family) -> Vec<String> {
    let ports = ports(policy, "sport");
    let mut all = Vec::new();
    for interface in one_or_any("-i", policy.interfaces()) {
        for server in one_or_any("-s", &policy.to(family)) {
            all.push(format!("{interface}{server} -p udp{ports}"));
        }
    }
    all
}

fn usage(policy: &Policy) -> Vec<String> {
    let mut usage = vec![
        "Load with: iptables-restore --noflush FILE; ip6tables-restore --noflush FILE".to_owned(),
    ];
    if let Some(timeout) = policy.udp_timeout() {
        usage.push("Before that, the conntrack timeouts that the rules name:".to_owned());
        for family in policy.families() {
            usage.push(format!(
                "  nfct timeout add {} {} udp unreplied {timeout} replied 1",
                timeout_policy(family),
                match family {
                    Family::V4 => "inet",
                    Family::V6 => "inet6",
                },
            ));
        }
    }
    usage
}

fn jumps(table: &str, verb: &str, position: &str) -> String {
    JUMPS
        .iter()
        .filter(|(of, ..)| *of == table)
        .map(|(_, chain, matching)| {
            format!("{verb} {chain}{position}{matching} -m comment --comment {TAG} -j {CHAIN}\n")
        })
        .collect()
}

/// The matches for queries: iptables has no lists, so one for each combination.
fn queries(policy: &Policy, family: Family, protocol: Protocol, leaving: bool) -> Vec<String> {
    // The raw table comes before routing: the way out is not known yet.
    let interfaces = if leaving { policy.interfaces() } else { &[] };
    let ports = ports(policy, "dport");
    let mut all = Vec::new();
    for interface in one_or_any("-o", interfaces) {
        for from in one_or_any("-s", &policy.from(family)) {
            for to in one_or_any("-d", &policy.to(family)) {
                all.push(format!("{interface}{from}{to} -p {}{ports}", protocol.keyword()));
            }
        }
    }
    all
}

/// An option with each item of a list; nothing, once, for an empty list.
fn one_or_any<T: ToString>(option: &str, list: &[T]) -> Vec<String> {
    match list {
        [] => vec![String::new()],
        some => some.iter().map(|item| format!(" {option} {}", item.to_string())).collect(),
    }
}

/// ` --dport 53`, or several.
fn ports(policy: &Policy, option: &str) -> String {
    match policy.dns_ports() {
        [port] => format!(" --{option} {port}"),
        ports => {
            let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
            format!(" -m multiport --{option}s {}", ports.join(","))
        }
    }
}

/// One rule for each address and range, each taken with its share of what is left: the last takes
/// all that remains.
fn draws(policy: &Policy, family: Family, protocol: Protocol) -> String {
    let pool = policy.source().pool(family);
    let addresses: Vec<Option<IpAddr>> =
        if pool.is_empty() { vec![None] } else { pool.into_iter().map(Some).collect() };
    let targets: Vec<(PortRange, String)> = addresses
        .iter()
        .flat_map(|address| {
            let ranges = policy.ports().ranges().iter();
            ranges.map(|&range| (range, target(policy.source(), *address, range)))
        })
        .collect();
    let mut left: u32 = targets.iter().map(|(range, _)| range.count()).sum();
    let mut text = String::new();
    for (range, target) in &targets {
        let chance = f64::from(range.count()) / f64::from(left);
        let statistic = if range.count() == left {
            String::new()
        } else {
            format!(" -m statistic --mode random --probability {chance:.10}")
        };
        left -= range.count();
        let (flag, protocol) = (flag(family), protocol.keyword());
        text += &format!("{flag} -A {PORTS} -p {protocol}{statistic} {target} --random-fully\n");
    }
    text
}

fn target(source: &Source, address: Option<IpAddr>, range: PortRange) -> String {
    match (source, address) {
        (_, Some(IpAddr::V4(address))) => format!("-j SNAT --to-source {address}:{range}"),
        (_, Some(IpAddr::V6(address))) => format!("-j SNAT --to-source [{address}]:{range}"),
        (Source::Keep, None) => format!("-j SNAT --to-source :{range}"),
        (_, None) => format!("-j MASQUERADE --to-ports {range}"),
    }
}

fn flag(family: Family) -> &'static str {
    match family {
        Family::V4 => "-4",
        Family::V6 => "-6",
    }
}
