//! What to know before rules go in: what would keep them from working, and what to do about it.

mod others;
mod untracked;

use std::net::{SocketAddr, UdpSocket};

use dnsalt_policy::{Family, Policy, Protocol, Source};

use crate::driver::{Driver, DriverError};
use crate::{conntrack, notrack, sysctl};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Note,
    /// Some queries will not be protected, or some may get lost.
    Warning,
    /// It cannot work.
    Error,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was found, in one sentence without a full stop.
    pub what: String,
    /// What to do about it; empty where the finding says it.
    pub mend: String,
}

impl Finding {
    /// With what to do about it.
    pub fn new(severity: Severity, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Finding { severity, what: what.into(), mend: mend.into() }
    }
}

/// Everything that is worth saying before `policy` goes in, the worst first.
pub fn preflight(policy: &Policy, driver: &dyn Driver) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(error) = driver.check(policy) {
        findings.push(explain(&error, conntrack::usage().is_some()));
    }
    let rules = others::Rules::read();
    findings.extend(others::nat_in_front(&rules, policy, driver));
    findings.extend(others::notrack(&rules, policy));
    findings.extend(others::keep_before_nat(&rules, policy));
    findings.extend(table_nearly_full(conntrack::usage()));
    findings.extend(forwarding(policy));
    findings.extend(inner_servers(policy));
    findings.extend(fixed_port_53(policy));
    findings.extend(open_clients(policy));
    findings.extend(foreign_sources(policy));
    findings.extend(uncovered(policy));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// Everything that is worth saying before the salt engine goes in.
pub fn before_salt(policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::from_iter(foreign_sources(policy));
    if !notrack::families(policy).is_empty() {
        let rules = others::Rules::read();
        findings.extend(untracked::dropped(&rules, policy));
        findings.extend(others::keep_before_nat(&rules, policy));
    }
    findings
}

/// What a refusal by firewall or kernel means; the firewall has loaded what there is of conntrack.
fn explain(error: &DriverError, conntrack: bool) -> Finding {
    let text = error.to_string();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let refused = |what: &str, mend: &str| Finding::new(Severity::Error, what, mend);
    if has(&["Operation not permitted", "Permission denied", "must be root"]) {
        refused("changing the firewall needs root (CAP_NET_ADMIN)", "run it with sudo")
    } else if !conntrack {
        refused(
            "this kernel has no conntrack, which NAT rests on",
            "load it (modprobe nf_conntrack nft_chain_nat), or use --engine salt, which needs none",
        )
    } else if has(&["ct timeout", "CT --timeout", "cttimeout"]) {
        refused(
            "this kernel has no conntrack timeout policies",
            "load nf_conntrack_timeout (modprobe nfnetlink_cttimeout), or use --timeout 0 and know that ports then stick for 30 s",
        )
    } else if has(&["original zone", "numgen"]) && has(&["syntax error", "not supported"]) {
        refused(
            "this nft is too old for random conntrack zones",
            "leave --per-query out, or update nftables",
        )
    } else if has(&["masquerade", "snat", "type nat", "MASQUERADE", "SNAT", "table `nat'"])
        && has(&["No such file", "not supported", "No chain/target/match", "does not exist"])
    {
        refused(
            "this kernel has no NAT",
            "load it: modprobe nft_chain_nat nft_masq (or iptable_nat), or use a kernel with CONFIG_NF_NAT",
        )
    } else {
        refused(&text, "")
    }
}

fn table_nearly_full(usage: Option<conntrack::Usage>) -> Option<Finding> {
    let usage = usage.filter(conntrack::Usage::is_nearly_full)?;
    Some(Finding::new(
        Severity::Warning,
        format!("the conntrack table is nearly full: {} of {} entries", usage.entries, usage.max),
        conntrack::MAKE_ROOM,
    ))
}

/// Who keeps its address is asked at its own port, too: replies to clients that are not named come in.
fn open_clients(policy: &Policy) -> Option<Finding> {
    let named = policy.families().iter().any(|family| !policy.from(*family).is_empty());
    let udp = policy.protocols().contains(&Protocol::Udp);
    (*policy.source() == Source::Keep && !named && udp).then(|| {
        Finding::new(
            Severity::Warning,
            "with `keep` forged replies to a client's own address and port are forwarded, as long as no client is named",
            "name the clients whose queries all pass here, and what they did not ask for is dropped: --from PREFIX",
        )
    })
}

fn forwarding(policy: &Policy) -> Option<Finding> {
    let off = |key: &str| sysctl::number(key) == Some(0);
    let (v4, v6) = (off("net/ipv4/ip_forward"), off("net/ipv6/conf/all/forwarding"));
    let concerned = (v4 || !policy.covers(Family::V4)) && (v6 || !policy.covers(Family::V6));
    concerned.then(|| {
        Finding::new(
            Severity::Note,
            "forwarding is off: only queries of this machine itself are salted",
            "for a gateway: sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
        )
    })
}

/// A router masquerades what it forwards, whichever way: servers inside see it ask for everybody.
fn inner_servers(policy: &Policy) -> Option<Finding> {
    let forwards = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];
    let forwards = forwards.iter().any(|key| sysctl::number(key) == Some(1));
    let devices = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    // Two lines of heading, and lo.
    let interfaces = devices.lines().count().saturating_sub(3);
    let narrowed = !policy.interfaces().is_empty() || policy.names_servers();
    (forwards && interfaces > 1 && !narrowed && *policy.source() == Source::Masquerade).then(|| {
        Finding::new(
            Severity::Note,
            "forwarded queries come from this machine's address now, also those to servers of your own",
            "if they tell clients apart by address: name the way out (--iface), or use --source keep",
        )
    })
}

/// Somebody here asks from port 53, the case in which a careless NAT rule does harm.
fn fixed_port_53(policy: &Policy) -> Option<Finding> {
    let entries = conntrack::entries(policy).unwrap_or_default();
    let seen = entries
        .iter()
        .find(|entry| entry.udp && entry.client.port() == 53)
        .map(|entry| format!("{} asks {} from port 53", entry.client.ip(), entry.server.ip()))
        .or_else(|| {
            let files = ["/etc/bind/named.conf.options", "/etc/bind/named.conf", "/etc/named.conf"];
            files.into_iter().find_map(|file| {
                let text = std::fs::read_to_string(file).ok()?;
                text.lines().any(asks_from_53).then(|| format!("{file} says query-source port 53"))
            })
        })?;
    Some(Finding::new(
        Severity::Note,
        format!("{seen}; these queries get random ports of {} now", policy.ports()),
        "nothing to do here, but take the line out of the resolver's configuration if you can",
    ))
}

/// `query-source address * port 53;`, not behind a comment.
fn asks_from_53(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("query-source") && line.replace(';', " ").contains("port 53 ")
}

/// Replies to an address that is not here find their way back only if somebody routes it here.
fn foreign_sources(policy: &Policy) -> Option<Finding> {
    let pool = Family::BOTH.into_iter().flat_map(|family| policy.source().pool(family));
    let foreign: Vec<_> = pool
        .filter(|address| {
            UdpSocket::bind(SocketAddr::new(*address, 0))
                .is_err_and(|error| error.kind() == std::io::ErrorKind::AddrNotAvailable)
        })
        .map(|address| address.to_string())
        .collect();
    (!foreign.is_empty()).then(|| {
        Finding::new(
            Severity::Warning,
            format!("no interface of this machine has the source address {}", foreign.join(", ")),
            "add it (ip address add), or make sure that it is routed to this machine",
        )
    })
}

fn uncovered(policy: &Policy) -> Option<Finding> {
    let family = Family::BOTH.into_iter().find(|family| !policy.covers(*family))?;
    Some(Finding::new(
        Severity::Note,
        format!("{family} queries are not salted: --from and --to name no {family} prefix"),
        format!("add an {family} prefix if there is {family} here"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_source_lines_of_bind() {
        assert!(asks_from_53("  query-source address * port 53;"));
        assert!(!asks_from_53("  // query-source address * port 53;"));
        assert!(!asks_from_53("  query-source address * port 5353;"));
    }

    #[test]
    fn a_full_table_is_told() {
        let finding = |entries, max| table_nearly_full(Some(conntrack::Usage { entries, max }));
        assert!(finding(79, 100).is_none());
        assert_eq!(finding(80, 100).unwrap().severity, Severity::Warning);
        assert!(finding(0, 0).is_none());
        assert!(table_nearly_full(None).is_none());
    }

    #[test]
    fn refusals_are_explained() {
        let explained = |stderr: &str, conntrack| {
            let error = DriverError::Command(crate::CommandError::Failed {
                command: "nft --check --file -".to_owned(),
                stderr: stderr.to_owned(),
            });
            explain(&error, conntrack)
        };
        let said = |stderr: &str| explained(stderr, true);
        let nat = said(
            "/dev/stdin:9:3-40: Error: Could not process rule: No such file or directory; masquerade to :1024-65535 fully-random",
        );
        assert_eq!(nat.what, "this kernel has no NAT");
        assert!(said("Operation not permitted (you must be root)").mend.contains("sudo"));
        assert!(
            said("Error: Could not process rule: Operation not supported; ct timeout udp-ip {")
                .mend
                .contains("--timeout 0")
        );
        let without = explained("Error: Could not process rule: No such file or directory", false);
        assert!(without.what.contains("no conntrack"), "{without:?}");
    }
}
