//! Filters that let in what conntrack knows, and drop what it does not: replies to queries that are kept out of
//! it would never come in.
//!
//! Whether a filter drops a packet cannot be told without being one. So this looks for three things together, in
//! the chains that replies come by: something lets in by the state `established`; something drops the rest; and
//! nothing lets in what is untracked, or what comes from a DNS port.

use dnsalt_policy::Policy;
use serde_json::Value;

use super::others::{Rules, names, statements};
use super::{Finding, Severity};
use crate::notrack::families;

/// An error: the way in would be shut.
pub(super) fn dropped(rules: &Rules, policy: &Policy) -> Option<Finding> {
    if families(policy).is_empty() {
        return None;
    }
    let ports = policy.dns_ports();
    nft(rules, ports).or_else(|| iptables(rules, ports))
}

fn finding(place: &str, mend: &str) -> Finding {
    Finding::new(
        Severity::Error,
        format!(
            "{place} lets in established connections and drops the rest: replies that conntrack does not see, too"
        ),
        format!("let them in first: {mend}; or leave conntrack on"),
    )
}

fn nft(rules: &Rules, ports: &[u16]) -> Option<Finding> {
    for chain in rules.nft.iter().map(|object| &object["chain"]) {
        let hook = chain["hook"].as_str().unwrap_or_default();
        if chain["type"] != "filter" || !["input", "forward"].contains(&hook) {
            continue;
        }
        let (family, table) = (chain["family"].as_str()?, chain["table"].as_str()?);
        let all = || {
            let rules = rules.nft.iter().map(|object| &object["rule"]);
            rules.filter(|rule| rule["family"] == family && rule["table"] == table)
        };
        let drops = chain["policy"] == "drop" || all().any(drops_all);
        if drops
            && all().any(|rule| has_state(rule, "established"))
            && !all().any(|rule| lets_in(rule, ports))
        {
            let name = chain["name"].as_str()?;
            return Some(finding(
                &format!("chain {name} of table {family} {table}"),
                &format!(
                    "nft insert rule {family} {table} {name} ct state untracked udp sport {} accept",
                    ports[0]
                ),
            ));
        }
    }
    None
}

/// Whether a rule drops whatever comes to it.
fn drops_all(rule: &Value) -> bool {
    let statements = statements(rule);
    let is = |word: &str| statements.iter().any(|statement| statement.get(word).is_some());
    (is("drop") || is("reject")) && !is("match")
}

/// Whether a rule asks for a state of conntrack, in whatever way.
fn has_state(rule: &Value, state: &str) -> bool {
    statements(rule).iter().any(|statement| {
        let (matching, map) = (&statement["match"], &statement["vmap"]);
        let is_state = |value: &Value| value["ct"]["key"] == "state";
        (is_state(&matching["left"]) && names(&matching["right"], &[state], &[]))
            || (is_state(&map["key"]) && map["data"].to_string().contains(&format!("\"{state}\"")))
    })
}

/// Whether a rule lets in what is untracked, or what comes from a DNS port.
fn lets_in(rule: &Value, ports: &[u16]) -> bool {
    let accepts =
        statements(rule).iter().any(|one| one.get("accept").is_some() || one.get("vmap").is_some());
    let from_dns = statements(rule).iter().map(|statement| &statement["match"]).any(|matching| {
        matching["left"]["payload"]["field"] == "sport"
            && names(&matching["right"], &["domain"], ports)
    });
    accepts && (has_state(rule, "untracked") || from_dns)
}

fn iptables(rules: &Rules, ports: &[u16]) -> Option<Finding> {
    // All of one table, whichever command printed it.
    let tables = rules
        .iptables
        .split("\n*")
        .filter(|table| table.trim_start_matches('*').starts_with("filter"));
    tables.flat_map(|table| ["FORWARD", "INPUT"].map(|chain| (table, chain))).find_map(|(table, chain)| {
        let drops = table.lines().any(|line| {
            line.starts_with(&format!(":{chain} DROP"))
                || ["DROP", "REJECT"].iter().any(|target| line.starts_with(&format!("-A {chain} -j {target}")))
        });
        let accepts = |line: &str| line.starts_with("-A") && line.contains("-j ACCEPT");
        let relies = table.lines().any(|line| accepts(line) && line.contains("ESTABLISHED"));
        let passes = table.lines().any(|line| {
            accepts(line)
                && (line.contains("UNTRACKED")
                    || ports.iter().any(|port| format!("{line} ").contains(&format!("--sport {port} "))))
        });
        (drops && relies && !passes).then(|| {
            finding(
                &format!("chain {chain} of iptables"),
                &format!("iptables -I {chain} -p udp --sport {} -m conntrack --ctstate UNTRACKED -j ACCEPT", ports[0]),
            )
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(nft: &Value, iptables: &str) -> Option<Finding> {
        let settings = "source = '192.0.2.1'\nconntrack = 'off'";
        let policy =
            toml::from_str::<dnsalt_policy::Settings>(settings).unwrap().resolve().unwrap();
        dropped(&Rules::new(nft.as_array().unwrap().clone(), iptables), &policy)
    }

    fn chain(hook: &str, policy: &str) -> Value {
        json!({"chain": {"family": "inet", "table": "fw", "name": "way", "type": "filter", "hook": hook, "policy": policy}})
    }

    fn rule(expr: &Value) -> Value {
        json!({"rule": {"family": "inet", "table": "fw", "chain": "way", "expr": expr}})
    }

    fn state(states: &Value) -> Value {
        json!({"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": states}})
    }

    #[test]
    fn filters_of_nft() {
        let established =
            rule(&json!([state(&json!(["established", "related"])), {"accept": null}]));
        let map = rule(
            &json!([{"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["established", {"accept": null}]]}}}]),
        );
        let untracked = rule(&json!([state(&json!("untracked")), {"accept": null}]));
        let reject = rule(&json!([{"counter": {}}, {"reject": null}]));
        let is_found = |all: &[&Value]| found(&json!(all), "").is_some();
        for one in [&established, &map] {
            assert!(is_found(&[&chain("forward", "drop"), one]));
            assert!(is_found(&[&chain("input", "accept"), one, &reject]));
            assert!(!is_found(&[&chain("forward", "accept"), one]));
            assert!(!is_found(&[&chain("output", "drop"), one]));
            assert!(!is_found(&[&chain("forward", "drop"), one, &untracked]));
        }
        assert!(!is_found(&[&chain("forward", "drop")]));
        let what = found(&json!([chain("forward", "drop"), established]), "").unwrap();
        assert!(
            what.mend
                .contains("nft insert rule inet fw way ct state untracked udp sport 53 accept")
        );
    }

    #[test]
    fn filters_of_iptables() {
        let table = |rules: &str| {
            format!("# saved\n*nat\n:INPUT DROP [0:0]\nCOMMIT\n*filter\n{rules}COMMIT\n")
        };
        let is_found = |rules: &str| found(&json!([]), &table(rules)).is_some();
        let state = "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n";
        assert!(is_found(&format!(":FORWARD DROP [0:0]\n{state}")));
        assert!(is_found(&format!(
            ":FORWARD ACCEPT [0:0]\n{state}-A FORWARD -j REJECT --reject-with icmp-host-prohibited\n"
        )));
        assert!(!is_found(&format!(":FORWARD ACCEPT [0:0]\n{state}")));
        assert!(!is_found(":FORWARD DROP [0:0]\n-A FORWARD -i lan0 -j ACCEPT\n"));
        let sport = "-A FORWARD -i wan0 -p udp -m udp --sport 53 -j ACCEPT\n";
        assert!(!is_found(&format!(":FORWARD DROP [0:0]\n{state}{sport}")));
    }
}
