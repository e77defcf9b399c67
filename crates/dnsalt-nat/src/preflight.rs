//! What to know before rules go in: what would keep them from working, and what to do about it.
//!
//! Other people's rules are looked at here and nowhere else, and only looked at: where `nft` can
//! print JSON, that is what is read. A rule that is not understood is not a finding.

use std::net::{SocketAddr, UdpSocket};

use dnsalt_policy::{Family, Policy, Source};
use serde_json::Value;

use crate::command::run;
use crate::driver::{Driver, DriverError};
use crate::{conntrack, sysctl};

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
    fn new(severity: Severity, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Finding {
            severity,
            what: what.into(),
            mend: mend.into(),
        }
    }
}

/// Everything that is worth saying before `policy` goes in, the worst first.
pub fn preflight(policy: &Policy, driver: &dyn Driver) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(error) = driver.check(policy) {
        findings.push(explain(&error));
    }
    let rules = Rules::read();
    findings.extend(nat_in_front(&rules, policy, driver));
    findings.extend(notrack(&rules, policy));
    findings.extend(keep_before_nat(&rules, policy));
    findings.extend(table_nearly_full(conntrack::usage()));
    findings.extend(forwarding(policy));
    findings.extend(fixed_port_53(policy));
    findings.extend(foreign_sources(policy));
    findings.extend(uncovered(policy));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// What a refusal by firewall or kernel means.
fn explain(error: &DriverError) -> Finding {
    let text = error.to_string();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let refused = |what: &str, mend: &str| Finding::new(Severity::Error, what, mend);
    if has(&[
        "Operation not permitted",
        "Permission denied",
        "must be root",
    ]) {
        refused(
            "changing the firewall needs root (CAP_NET_ADMIN)",
            "run it with sudo",
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
    } else if has(&[
        "masquerade",
        "snat",
        "type nat",
        "MASQUERADE",
        "SNAT",
        "table `nat'",
    ]) && has(&[
        "No such file",
        "not supported",
        "No chain/target/match",
        "does not exist",
    ]) {
        refused(
            "this kernel has no NAT",
            "load it: modprobe nft_chain_nat nft_masq (or iptable_nat), or use a kernel with CONFIG_NF_NAT",
        )
    } else {
        refused(&text, "")
    }
}

/// The rules of others, as JSON of nft and as text of iptables.
struct Rules {
    nft: Vec<Value>,
    iptables: String,
}

impl Rules {
    fn read() -> Self {
        let json = run("nft", &["--json", "--terse", "list", "ruleset"], None).unwrap_or_default();
        let parsed: Value = serde_json::from_str(&json).unwrap_or_default();
        let iptables = ["iptables-save", "ip6tables-save", "iptables-legacy-save"]
            .map(|command| run(command, &[], None).unwrap_or_default());
        Rules {
            nft: parsed["nftables"].as_array().cloned().unwrap_or_default(),
            iptables: iptables.concat(),
        }
    }

    /// Base chains where sources are translated: (family, table, chain, priority).
    fn source_nat_chains(&self) -> impl Iterator<Item = (&str, &str, &str, i64)> {
        self.nft
            .iter()
            .map(|object| &object["chain"])
            .filter_map(|chain| {
                let named = |key: &str| chain[key].as_str();
                (named("type") == Some("nat") && named("hook") == Some("postrouting"))
                    .then_some((
                        named("family")?,
                        named("table")?,
                        named("name")?,
                        chain["prio"].as_i64()?,
                    ))
                    .filter(|(_, table, ..)| *table != "dnsalt")
            })
    }

    fn in_chain<'a>(&'a self, of: (&'a str, &'a str, &'a str)) -> impl Iterator<Item = &'a Value> {
        self.nft
            .iter()
            .map(|object| &object["rule"])
            .filter(move |rule| {
                rule["family"] == of.0 && rule["table"] == of.1 && rule["chain"] == of.2
            })
    }
}

/// Whether a rule of nft may see DNS: it names no other port and no other protocol.
fn may_match_dns(rule: &Value, dns_ports: &[u16]) -> bool {
    let statements = rule["expr"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    statements
        .iter()
        .map(|statement| &statement["match"])
        .all(|matching| {
            let (left, right) = (&matching["left"], &matching["right"]);
            if matching["op"] != "==" || left["payload"]["field"] != "dport" {
                return left["meta"]["key"] != "l4proto" || names(right, &["udp", "tcp"], &[]);
            }
            names(right, &["domain"], dns_ports)
        })
}

/// Whether the right side of a match, a value or a set of values and ranges, has one of these.
fn names(right: &Value, words: &[&str], numbers: &[u16]) -> bool {
    match right {
        Value::String(text) => words.contains(&text.as_str()) || text.starts_with('@'),
        Value::Number(number) => numbers
            .iter()
            .any(|port| number.as_u64() == Some(u64::from(*port))),
        Value::Array(items) => items.iter().any(|item| names(item, words, numbers)),
        Value::Object(object) => match (object.get("set"), object.get("range")) {
            (Some(set), _) => names(set, words, numbers),
            (_, Some(range)) => {
                let end = |i: usize| range[i].as_u64().unwrap_or(u64::MAX);
                numbers
                    .iter()
                    .any(|port| (end(0)..=end(1)).contains(&u64::from(*port)))
            }
            _ => true,
        },
        _ => true,
    }
}

/// The first NAT that catches a connection decides; what stands before ours may take DNS.
fn nat_in_front(rules: &Rules, policy: &Policy, driver: &dyn Driver) -> Option<Finding> {
    let ours = if driver.name() == "nft" { 99 } else { 100 };
    let (family, table, chain, priority) = rules.source_nat_chains().find(|chain| {
        chain.3 < ours
            && rules
                .in_chain((chain.0, chain.1, chain.2))
                .any(|rule| may_match_dns(rule, policy.dns_ports()))
    })?;
    Some(Finding::new(
        Severity::Warning,
        format!(
            "NAT rules stand in front of ours and may catch DNS: chain {chain} of table {family} {table}, priority {priority}"
        ),
        "let them pass DNS (udp dport 53 return), or give them a priority above 99; `dnsalt prove` shows whether they do",
    ))
}

/// Where only the port is changed, nothing behind us translates the address any more.
fn keep_before_nat(rules: &Rules, policy: &Policy) -> Option<Finding> {
    if *policy.source() != Source::Keep {
        return None;
    }
    let translates = |line: &str| {
        line.starts_with("-A POSTROUTING") && (line.contains("MASQUERADE") || line.contains("SNAT"))
    };
    let behind = rules.source_nat_chains().any(|(family, table, chain, _)| {
        rules
            .in_chain((family, table, chain))
            .any(|rule| may_match_dns(rule, policy.dns_ports()))
    });
    (behind || rules.iptables.lines().any(translates)).then(|| {
        Finding::new(
            Severity::Warning,
            "`keep` leaves queries their source address, and other NAT rules of this machine will not see them any more",
            "use --source masquerade unless servers know the way to every client",
        )
    })
}

fn notrack(rules: &Rules, policy: &Policy) -> Option<Finding> {
    let nft = rules.nft.iter().map(|object| &object["rule"]).find(|rule| {
        let statements = rule["expr"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        statements
            .iter()
            .any(|statement| !statement["notrack"].is_null() || statement.get("notrack").is_some())
            && may_match_dns(rule, policy.dns_ports())
    });
    let place = match nft {
        Some(rule) => {
            let word = |key: &str| rule[key].as_str().unwrap_or("?");
            format!(
                "chain {} of table {} {}",
                word("chain"),
                word("family"),
                word("table")
            )
        }
        None => rules
            .iptables
            .lines()
            .find(|line| notrack_line(line, policy.dns_ports()))?
            .to_owned(),
    };
    Some(Finding::new(
        Severity::Warning,
        format!("a notrack rule may take DNS past conntrack, and so past NAT: {place}"),
        "leave DNS queries out of that rule; what is not tracked keeps its port",
    ))
}

/// `-A PREROUTING -p udp --dport 53 -j CT --notrack`, with or without the port.
fn notrack_line(line: &str, dns_ports: &[u16]) -> bool {
    if !line.starts_with("-A") || !line.to_ascii_lowercase().contains("notrack") {
        return false;
    }
    let mut words = line.split_whitespace();
    match words.find(|word| word.starts_with("--dport")) {
        None => !line.contains("--sport") && !line.contains("-p icmp"),
        Some(_) => words.next().is_some_and(|ports| {
            ports
                .split(',')
                .any(|port| dns_ports.iter().any(|dns| dns.to_string() == port))
        }),
    }
}

fn table_nearly_full(usage: Option<conntrack::Usage>) -> Option<Finding> {
    let usage = usage.filter(|usage| usage.count * 10 >= usage.max * 8)?;
    Some(Finding::new(
        Severity::Warning,
        format!(
            "the conntrack table is nearly full: {} of {} entries",
            usage.count, usage.max
        ),
        "raise it before queries get lost: sysctl -w net.netfilter.nf_conntrack_max=N",
    ))
}

fn forwarding(policy: &Policy) -> Option<Finding> {
    let off = |key: &str| sysctl::number(key) == Some(0);
    let (v4, v6) = (
        off("net/ipv4/ip_forward"),
        off("net/ipv6/conf/all/forwarding"),
    );
    let concerned = (v4 || !policy.covers(Family::V4)) && (v6 || !policy.covers(Family::V6));
    concerned.then(|| {
        Finding::new(
            Severity::Note,
            "forwarding is off: only queries of this machine itself are salted",
            "for a gateway: sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
        )
    })
}

/// Somebody here asks from port 53, the case in which a careless NAT rule does harm.
fn fixed_port_53(policy: &Policy) -> Option<Finding> {
    let entries = conntrack::entries(policy).unwrap_or_default();
    let seen = entries
        .iter()
        .find(|entry| entry.udp && entry.client.port() == 53)
        .map(|entry| {
            format!(
                "{} asks {} from port 53",
                entry.client.ip(),
                entry.server.ip()
            )
        })
        .or_else(|| {
            let files = [
                "/etc/bind/named.conf.options",
                "/etc/bind/named.conf",
                "/etc/named.conf",
            ];
            files.into_iter().find_map(|file| {
                let text = std::fs::read_to_string(file).ok()?;
                text.lines()
                    .any(asks_from_53)
                    .then(|| format!("{file} says query-source port 53"))
            })
        })?;
    Some(Finding::new(
        Severity::Note,
        format!(
            "{seen}; these queries get random ports of {} now",
            policy.ports()
        ),
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
    let pool = Family::BOTH
        .into_iter()
        .flat_map(|family| policy.source().pool(family));
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
            format!(
                "no interface of this machine has the source address {}",
                foreign.join(", ")
            ),
            "add it (ip address add), or make sure that it is routed to this machine",
        )
    })
}

fn uncovered(policy: &Policy) -> Option<Finding> {
    let family = Family::BOTH
        .into_iter()
        .find(|family| !policy.covers(*family))?;
    Some(Finding::new(
        Severity::Note,
        format!("{family} queries are not salted: --from and --to name no {family} prefix"),
        format!("add an {family} prefix if there is {family} here"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rule(statements: &Value) -> Value {
        json!({ "expr": statements })
    }

    fn dport(right: &Value) -> Value {
        let left = json!({"payload": {"protocol": "udp", "field": "dport"}});
        json!({"match": {"op": "==", "left": left, "right": right}})
    }

    #[test]
    fn rules_for_other_ports_do_not_match_dns() {
        let dns = |right: Value| {
            may_match_dns(&rule(&json!([dport(&right), {"masquerade": null}])), &[53])
        };
        assert!(dns(json!(53)));
        assert!(dns(json!({"set": [53, 123]})));
        assert!(dns(json!({"range": [1, 1023]})));
        assert!(dns(json!("@ports")));
        assert!(!dns(json!(443)));
        assert!(!dns(json!({"set": [80, {"range": [1000, 2000]}]})));
        assert!(may_match_dns(&rule(&json!([{"masquerade": null}])), &[53]));
        let icmp =
            json!({"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "icmp"}});
        assert!(!may_match_dns(&rule(&json!([icmp])), &[53]));
    }

    #[test]
    fn notrack_lines_of_iptables() {
        for line in [
            "-A PREROUTING -p udp -m udp --dport 53 -j CT --notrack",
            "-A OUTPUT -p udp -m multiport --dports 53,5353 -j NOTRACK",
            "-A OUTPUT -j CT --notrack",
        ] {
            assert!(notrack_line(line, &[53]), "{line}");
        }
        for line in [
            "-A PREROUTING -p udp -m udp --dport 123 -j CT --notrack",
            "-A PREROUTING -p udp -m udp --dport 53 -j ACCEPT",
            ":NOTRACK - [0:0]",
        ] {
            assert!(!notrack_line(line, &[53]), "{line}");
        }
    }

    #[test]
    fn query_source_lines_of_bind() {
        assert!(asks_from_53("  query-source address * port 53;"));
        assert!(!asks_from_53("  // query-source address * port 53;"));
        assert!(!asks_from_53("  query-source address * port 5353;"));
    }

    #[test]
    fn a_full_table_is_told() {
        let finding = |count, max| table_nearly_full(Some(conntrack::Usage { count, max }));
        assert!(finding(79, 100).is_none());
        assert_eq!(finding(80, 100).unwrap().severity, Severity::Warning);
        assert!(table_nearly_full(None).is_none());
    }

    #[test]
    fn refusals_are_explained() {
        let said = |stderr: &str| {
            explain(&DriverError::Command(crate::CommandError::Failed {
                command: "nft --check --file -".to_owned(),
                stderr: stderr.to_owned(),
            }))
        };
        let nat = said(
            "/dev/stdin:9:3-40: Error: Could not process rule: No such file or directory; masquerade to :1024-65535 fully-random",
        );
        assert_eq!(nat.what, "this kernel has no NAT");
        assert!(
            said("Operation not permitted (you must be root)")
                .mend
                .contains("sudo")
        );
        assert!(
            said("Error: Could not process rule: Operation not supported; ct timeout udp-ip {")
                .mend
                .contains("--timeout 0")
        );
    }
}
