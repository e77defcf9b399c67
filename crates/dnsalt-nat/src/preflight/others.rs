//! Other people's rules, as far as they may keep ours from working.
//!
//! They are looked at here and nowhere else, and only looked at: where `nft` can print JSON, that
//! is what is read. A rule that is not understood is not a finding.

use dnsalt_policy::{Policy, Source};
use serde_json::Value;

use super::{Finding, Severity};
use crate::command::run;
use crate::driver::Driver;

/// The rules of others, as JSON of nft and as text of iptables.
pub(super) struct Rules {
    pub(super) nft: Vec<Value>,
    pub(super) iptables: String,
}

impl Rules {
    pub(super) fn read() -> Self {
        let json = run("nft", &["--json", "--terse", "list", "ruleset"], None).unwrap_or_default();
        let parsed: Value = serde_json::from_str(&json).unwrap_or_default();
        let iptables = ["iptables-save", "ip6tables-save", "iptables-legacy-save"]
            .map(|command| run(command, &[], None).unwrap_or_default());
        Rules::new(parsed["nftables"].as_array().cloned().unwrap_or_default(), &iptables.concat())
    }

    pub(super) fn new(nft: Vec<Value>, iptables: &str) -> Self {
        Rules { nft, iptables: iptables.to_owned() }
    }

    /// Base chains where sources are translated: (family, table, chain, priority).
    fn source_nat_chains(&self) -> impl Iterator<Item = (&str, &str, &str, i64)> {
        self.nft.iter().map(|object| &object["chain"]).filter_map(|chain| {
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
        self.nft.iter().map(|object| &object["rule"]).filter(move |rule| {
            rule["family"] == of.0 && rule["table"] == of.1 && rule["chain"] == of.2
        })
    }
}

pub(super) fn statements(rule: &Value) -> &[Value] {
    rule["expr"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Whether a rule of nft may see DNS: it names no other port and no other protocol.
fn may_match_dns(rule: &Value, dns_ports: &[u16]) -> bool {
    statements(rule).iter().map(|statement| &statement["match"]).all(|matching| {
        let (left, right) = (&matching["left"], &matching["right"]);
        if matching["op"] != "==" || left["payload"]["field"] != "dport" {
            return left["meta"]["key"] != "l4proto" || names(right, &["udp", "tcp"], &[]);
        }
        names(right, &["domain"], dns_ports)
    })
}

/// Whether the right side of a match, a value or a set of values and ranges, has one of these.
pub(super) fn names(right: &Value, words: &[&str], numbers: &[u16]) -> bool {
    match right {
        Value::String(text) => words.contains(&text.as_str()) || text.starts_with('@'),
        Value::Number(number) => {
            numbers.iter().any(|port| number.as_u64() == Some(u64::from(*port)))
        }
        Value::Array(items) => items.iter().any(|item| names(item, words, numbers)),
        Value::Object(object) => match (object.get("set"), object.get("range")) {
            (Some(set), _) => names(set, words, numbers),
            (_, Some(range)) => {
                let end = |i: usize| range[i].as_u64().unwrap_or(u64::MAX);
                numbers.iter().any(|port| (end(0)..=end(1)).contains(&u64::from(*port)))
            }
            _ => true,
        },
        _ => true,
    }
}

/// The first NAT that catches a connection decides; what stands before ours may take DNS.
pub(super) fn nat_in_front(rules: &Rules, policy: &Policy, driver: &dyn Driver) -> Option<Finding> {
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
pub(super) fn keep_before_nat(rules: &Rules, policy: &Policy) -> Option<Finding> {
    if *policy.source() != Source::Keep {
        return None;
    }
    let translates = |line: &str| {
        line.starts_with("-A POSTROUTING") && (line.contains("MASQUERADE") || line.contains("SNAT"))
    };
    let behind = rules.source_nat_chains().any(|(family, table, chain, _)| {
        rules.in_chain((family, table, chain)).any(|rule| may_match_dns(rule, policy.dns_ports()))
    });
    (behind || rules.iptables.lines().any(translates)).then(|| {
        Finding::new(
            Severity::Warning,
            "`keep` leaves queries their source address, and other NAT rules of this machine will not see them any more",
            "use --source masquerade unless servers know the way to every client",
        )
    })
}

pub(super) fn notrack(rules: &Rules, policy: &Policy) -> Option<Finding> {
    let nft = rules.nft.iter().map(|object| &object["rule"]).find(|rule| {
        // Ours goes with what the salt engine has, once this is in its place.
        rule["table"] != crate::notrack::TABLE
            && statements(rule).iter().any(|statement| statement.get("notrack").is_some())
            && may_match_dns(rule, policy.dns_ports())
    });
    let place = match nft {
        Some(rule) => {
            let word = |key: &str| rule[key].as_str().unwrap_or("?");
            format!("chain {} of table {} {}", word("chain"), word("family"), word("table"))
        }
        None => {
            rules.iptables.lines().find(|line| notrack_line(line, policy.dns_ports()))?.to_owned()
        }
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
            ports.split(',').any(|port| dns_ports.iter().any(|dns| dns.to_string() == port))
        }),
    }
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
}
