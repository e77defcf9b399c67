//! Captures of real networks and of real programs with known flaws, kept outside the project: `check`
//! has to count what is known, and to judge as an expert would. Skips where the folder is missing.

mod common;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::BIN;
use serde_json::Value;

fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/captures");
    if !folder.exists() {
        println!("skipped: no captures beside the project");
        return None;
    }
    Some(folder)
}

/// The rows of a table, by the names of its first line.
fn table(path: &Path) -> Vec<HashMap<String, String>> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines().map(|line| line.split('\t').map(str::to_owned));
    let names: Vec<String> = lines.next().unwrap().collect();
    lines.map(|fields| names.iter().cloned().zip(fields).collect()).collect()
}

fn check(path: &Path, options: &[&str]) -> Value {
    let output =
        Command::new(BIN).args(["check", "--json"]).args(options).arg(path).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", path.display()))
}

/// Findings that go with a label.
fn expected(label: &str) -> Vec<&'static str> {
    let known = [
        ("fixed-port", "fixed-port"),
        ("seq-txid", "sequential-id"),
        ("xoshiro", "xoshiro128**"),
        ("small-pool", "narrow-range"),
        ("clock", "clock-ids"),
        ("alfg", "lagged-fibonacci"),
        ("drand48", "drand48"),
        ("V8", "v8-math-random"),
    ];
    known.into_iter().filter(|(word, _)| label.contains(word)).map(|(_, name)| name).collect()
}

#[test]
fn real_programs_are_judged_by_their_labels() {
    let Some(folder) = folder() else { return };
    for row in table(&folder.join("labelled.tsv")) {
        let (name, label) = (&row["name"], &row["label"]);
        let options = if label.contains("xoshiro") { &["--deep"][..] } else { &[] };
        let report = check(&folder.join("labelled").join(format!("{name}.pcap")), options);
        let judged = &report["resolvers"][0];
        let overall = &judged["overall"];
        let known = |key: &str| row[key].parse::<u64>().unwrap();
        assert_eq!(judged["counters"]["queries"], known("queries"), "{name}");
        assert_eq!(overall["ports"]["distinct"], known("distinct_ports"), "{name}");
        let findings = overall["findings"].as_array().unwrap();
        let found: Vec<&str> =
            findings.iter().map(|finding| finding["name"].as_str().unwrap()).collect();
        for name_of in expected(label) {
            let other = match name.as_str() {
                // Two ports in 2,010 queries: all but ten from one.
                "x-evdns" => "favourite-port",
                // It takes its time between making an ID and sending it: no more can be said.
                "x-busybox" => "id-bits-repeat",
                _ => name_of,
            };
            assert!(
                found.contains(&name_of) || found.contains(&other),
                "{name} ({label}): {found:?}"
            );
        }
        if label.contains("birthday") {
            assert_eq!(overall["target"]["identical"], 42.0, "{name}");
        }
        let verdict = overall["verdict"].as_str().unwrap();
        match label.as_str() {
            "" | "NAT-preserving" => {
                assert!(found.is_empty(), "{name}: {overall:#}");
                // One sends the same question eight times at once.
                let good = ["fair", "strong", "unknown"].contains(&verdict);
                assert!(good || name == "bday-knot-default", "{name}: {overall:#}");
            }
            "txid=clock" | "birthday 42 outstanding" => assert_eq!(verdict, "weak", "{name}"),
            _ => assert_eq!(verdict, "broken", "{name}: {overall:#}"),
        }
    }
}

#[test]
fn public_captures_are_counted_and_their_weak_clients_found() {
    let Some(folder) = folder() else { return };
    for row in table(&folder.join("public.tsv")) {
        let name = &row["file"];
        let report = check(&folder.join("public").join(name), &[]);
        // The table leaves out seven queries, and a client with them, that its parser refused.
        let (queries, clients) = if name.contains("nsd-live") { (7, 1) } else { (0, 0) };
        let known = |key: &str| row[key].parse::<u64>().unwrap();
        assert_eq!(report["totals"]["packets"], known("packets"), "{name}");
        assert_eq!(report["totals"]["queries"], known("udp_dns_queries") + queries, "{name}");
        let all: Vec<&Value> = report["resolvers"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|resolver| resolver["counters"]["queries"].as_u64() > Some(0))
            .collect();
        assert_eq!(all.len() as u64, known("distinct_client_ips") + clients, "{name}");
        // "N flagged: ADDRESS n=.. FLAW | ADDRESS n=.. FLAW"
        let (_, flagged) = row["dedup_flags"].split_once(": ").unwrap_or_default();
        for one in flagged.split(" | ").filter(|one| !one.is_empty()) {
            let address = one.split(' ').next().unwrap();
            let resolver = all.iter().find(|resolver| resolver["address"] == address);
            let overall = &resolver.unwrap_or_else(|| panic!("{name}: {one}"))["overall"];
            assert_eq!(overall["verdict"], "broken", "{name}: {one}: {overall:#}");
        }
    }
}

#[test]
fn captures_of_many_links_are_counted() {
    let Some(folder) = folder() else { return };
    for row in table(&folder.join("links.tsv")) {
        let name = &row["file"];
        // Nobody has ARCNET any more; and what is within WireGuard needs the keys.
        if row["linktype"] == "Linux ARCNET" || name.contains("wireguard") {
            continue;
        }
        let report = check(&folder.join("links").join(name), &[]);
        let known: u64 = row["udp_dns_queries"].parse().unwrap();
        let counted = report["totals"]["queries"].as_u64().unwrap();
        // Made to break parsers: where IP says that a packet ends within the DNS header, we stop.
        let broken = ["fuzz", "seg-fault", "malformed"].iter().any(|word| name.contains(word));
        assert!(counted.abs_diff(known) <= u64::from(broken), "{name}: {counted}, not {known}");
    }
}
