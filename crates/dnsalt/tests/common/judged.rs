//! Somebody asks, `dnsalt check` watches at the servers; what it says of who asked.

use std::process::Stdio;
use std::time::Duration;

use dnsalt_lab::Host;
use serde_json::Value;

use super::{BIN, Network, eventually};

/// How long anything may take. Most takes moments; the judge, not optimised, some seconds of a processor
/// that others may be using.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

const RESOLVER: &str = "10.53.1.2";

/// Watches at the servers while something asks; the judgement of who asked.
pub(crate) fn watched(network: &Network, ask: impl FnOnce(&Host)) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| std::fs::File::create(folder.path().join(name)).unwrap();
    let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let mut watch = network
        .net
        .upstream
        .command(BIN)
        .args(["check", "--iface", "eth0", "--json", "--deep"])
        .stdout(Stdio::from(file("report")))
        .stderr(Stdio::from(file("said")))
        .spawn()
        .unwrap();
    eventually("it watches", PATIENCE, || text("said").contains("Watching eth0 until Ctrl-C."));
    ask(&network.net.resolver);
    // The last packets pass.
    std::thread::sleep(Duration::from_millis(300));
    network.net.upstream.sh(&format!("kill -INT {}", watch.pid())).unwrap();
    assert!(watch.wait_timeout(PATIENCE).unwrap().is_some(), "Ctrl-C ends it");
    let report: Value = serde_json::from_str(&text("report")).unwrap();
    assert_eq!(report["dropped"], 0);
    let all = report["resolvers"].as_array().unwrap();
    let one = all.iter().find(|one| one["address"] == RESOLVER);
    one.unwrap_or_else(|| panic!("nobody asked: {report}"))["overall"].clone()
}

/// What it found.
pub(crate) fn names(judgement: &Value) -> Vec<&str> {
    let findings = judgement["findings"].as_array().unwrap();
    findings.iter().map(|finding| finding["name"].as_str().unwrap()).collect()
}

#[track_caller]
pub(crate) fn assert_broken(judgement: &Value, expected: &[&str]) {
    assert_eq!(judgement["verdict"], "broken", "{judgement:#}");
    let found = names(judgement);
    assert!(expected.iter().all(|name| found.contains(name)), "{expected:?}: {judgement:#}");
}
