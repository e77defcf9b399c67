//! Somebody asks, `dnsalt check` watches at the servers; what it says of who asked.

use std::process::Stdio;
use std::time::Duration;

use dnsalt_lab::{Host, Running};
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

/// A resolver on the host that was asked to start.
pub(crate) struct Resolver {
    /// Where it listens, for dig.
    at: &'static str,
    _running: Running,
}

impl Resolver {
    /// Starts it, and waits until it answers.
    pub(crate) fn start(host: &Host, at: &'static str, program: &str, args: &[&str]) -> Self {
        let said = tempfile::NamedTempFile::new().unwrap();
        let mut running = host
            .command(program)
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::from(said.reopen().unwrap()))
            .spawn()
            .unwrap();
        let dig = format!("dig {at} +short +tries=1 +time=2 ready.example A || true");
        eventually(&format!("{program} answers"), PATIENCE, || {
            if let Some(status) = running.wait_timeout(Duration::ZERO).unwrap() {
                let said = std::fs::read_to_string(said.path()).unwrap();
                panic!("{program} ended, {status}: {said}");
            }
            host.sh(&dig).unwrap().contains("192.0.2.80")
        });
        Resolver { at, _running: running }
    }

    /// The judgement of it, asked for so many new names: nameN.letters-of-a-resolver.example.
    pub(crate) fn judged(&self, network: &Network, count: usize) -> Value {
        watched(network, |host| {
            let list: String =
                (0..count).map(|i| format!("name{i}.letters-of-a-resolver.example A\\n")).collect();
            let dig =
                format!("printf '{list}' | dig {} +tries=1 +time=5 -f - > /dev/null", self.at);
            host.sh(&dig).unwrap();
        })
    }
}
