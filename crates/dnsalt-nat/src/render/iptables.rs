//! The rules for iptables, in chains of our own, for `iptables-restore --noflush`.
//!
//! One text serves both families: `iptables-restore` passes over lines that start with `-6`,
//! `ip6tables-restore` over those with `-4`. One rule in each built-in chain jumps to ours and
//! carries a comment, so that it can be found and removed exactly.

use std::net::IpAddr;

use dnsalt_policy::{Family, Policy, PortRange, Protocol, Source};

use super::{RenderError, heading};

/// Our chain in each table that we use.
pub const CHAIN: &str = "DNSALT";
/// The comment on the rules that jump to it.
pub const TAG: &str = "dnsalt";

/// Where the ports are drawn.
const PORTS: &str = "DNSALT-PORTS";

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
const JUMPS: [(&str, &str, &str); 3] =
    [("raw", "PREROUTING", ""), ("raw", "OUTPUT", " ! -o lo"), ("nat", "POSTROUTING", " ! -o lo")];

/// The rules, as text for `iptables-restore --noflush` and `ip6tables-restore --noflush`.
///
/// # Errors
/// [`RenderError::PerQuery`] and [`RenderError::ManyPorts`].
pub fn iptables(policy: &Policy) -> Result<String, RenderError> {
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
    if table == "nat" {
        text += &format!("-F {PORTS}\n-X {PORTS}\n");
    }
    text + "COMMIT\n"
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
    let one_or_any = |options: Vec<String>| match options {
        none if none.is_empty() => vec![String::new()],
        some => some,
    };
    let named = |option: &str, list: Vec<dnsalt_policy::Prefix>| {
        one_or_any(list.into_iter().map(|prefix| format!(" {option} {prefix}")).collect())
    };
    let interfaces = if leaving {
        one_or_any(policy.interfaces().iter().map(|name| format!(" -o {name}")).collect())
    } else {
        vec![String::new()] // the raw table comes before routing: the way out is not known yet
    };
    let ports = match policy.dns_ports() {
        [port] => format!(" --dport {port}"),
        ports => {
            let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
            format!(" -m multiport --dports {}", ports.join(","))
        }
    };
    let mut all = Vec::new();
    for interface in &interfaces {
        for from in named("-s", policy.from(family)) {
            for to in named("-d", policy.to(family)) {
                all.push(format!("{interface}{from}{to} -p {}{ports}", protocol.keyword()));
            }
        }
    }
    all
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
