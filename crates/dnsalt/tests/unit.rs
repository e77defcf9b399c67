//! The unit for systemd: the agent works with the rights that it leaves, and with the system calls.

mod common;

use std::collections::BTreeSet;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{BIN, dnsalt, eventually, mount_bpffs, network};
use dnsalt_lab::Host;

const UNIT: &str = include_str!("../../../packaging/systemd/dnsalt.service");
const PATIENCE: Duration = Duration::from_secs(15);

/// The words of a setting.
fn words(key: &str) -> Vec<&'static str> {
    let setting = |line: &'static str| line.strip_prefix(key)?.strip_prefix('=');
    UNIT.lines().filter_map(setting).flat_map(str::split_whitespace).collect()
}

/// What it leaves of capabilities, as setpriv wants it.
fn bounding_set() -> String {
    let names = words("CapabilityBoundingSet");
    let names = names.iter().map(|name| name.strip_prefix("CAP_").unwrap().to_lowercase());
    ["-all".to_owned()]
        .into_iter()
        .chain(names.map(|name| format!("+{name}")))
        .collect::<Vec<_>>()
        .join(",")
}

/// Runs the agent as the unit would, as far as that goes without systemd; damages it, and ends it. With a
/// tracer its system calls are in /run/calls.
fn works(host: &Host, tracer: &[&str], options: &[&str], damage: &str) {
    let notices = host.run(|| {
        let _ = std::fs::remove_file("/run/notify");
        UnixDatagram::bind("/run/notify").unwrap()
    });
    notices.set_read_timeout(Some(PATIENCE * 2)).unwrap();
    let log = host.run(|| std::fs::File::create("/run/agent.log").unwrap());
    let log_text = || host.sh("cat /run/agent.log").unwrap();
    let bounding = format!("--bounding-set={}", bounding_set());
    let setpriv = ["setpriv", "--no-new-privs", &bounding, BIN, "run"];
    let line = [tracer, &setpriv, options].concat();
    let mut running = host
        .command(line[0])
        .args(&line[1..])
        .env("NOTIFY_SOCKET", "/run/notify")
        .stdout(Stdio::null())
        .stderr(Stdio::from(log))
        .spawn()
        .unwrap();
    let mut buffer = [0; 1024];
    let got = notices.recv(&mut buffer).unwrap_or_else(|why| panic!("{why}: {}", log_text()));
    assert!(buffer[..got].starts_with(b"READY=1"), "{}", log_text());
    host.sh(damage).unwrap();
    let restored = || log_text().contains("it was put back");
    eventually("what was damaged is put back", PATIENCE, restored);
    dnsalt(host, &["status"]).exits(0);
    dnsalt(host, &["down"]).exits(0);
    let ended = running.wait_timeout(PATIENCE).unwrap();
    assert_eq!(ended.and_then(|status| status.code()), Some(0), "{}", log_text());
}

#[test]
fn its_capabilities_are_enough() {
    let Some(network) = network(&["tc", "setpriv", "iptables-legacy"]) else { return };
    let gateway = &network.net.gateway;
    mount_bpffs(gateway);
    let salt = ["--engine", "salt", "--bpffs", "/run/bpf"];
    works(gateway, &[], &salt, "rm -r /run/bpf/dnsalt");
    works(gateway, &[], &["--engine", "nat", "--backend", "nft"], "nft flush ruleset");
    let legacy = ["--engine", "nat", "--backend", "iptables-legacy"];
    works(gateway, &[], &legacy, "iptables-legacy -t nat -F");
}

#[test]
fn its_system_calls_are_enough() {
    let Some(network) = network(&["tc", "setpriv", "strace", "systemd-analyze"]) else { return };
    let gateway = &network.net.gateway;
    mount_bpffs(gateway);
    let tracer = ["strace", "-f", "-qq", "-o", "/run/calls"];
    let allowed = allowed();
    let salt = ["--engine", "salt", "--bpffs", "/run/bpf"];
    works(gateway, &tracer, &salt, "rm -r /run/bpf/dnsalt");
    only_calls(gateway, &allowed);
    works(gateway, &tracer, &["--engine", "nat", "--backend", "nft"], "nft flush ruleset");
    only_calls(gateway, &allowed);
}

#[test]
fn its_exposure_is_small() {
    if !common::can_run(&["systemd-analyze"]) {
        return;
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/systemd/dnsalt.service");
    // In tenths: 3.0.
    let options = ["security", "--offline=true", "--threshold=30", file];
    let judged = Command::new("systemd-analyze").args(options).output().unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
}

/// The names in `SystemCallFilter=`, sets of systemd taken apart.
fn allowed() -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    let mut sets: Vec<String> =
        words("SystemCallFilter").iter().map(|&word| word.to_owned()).collect();
    // systemd allows it of itself.
    sets.push("@default".to_owned());
    while let Some(word) = sets.pop() {
        if !word.starts_with('@') {
            allowed.insert(word);
            continue;
        }
        let listing =
            Command::new("systemd-analyze").args(["syscall-filter", &word]).output().unwrap();
        let listing = String::from_utf8(listing.stdout).unwrap();
        let members = listing.lines().skip(1).map(str::trim);
        sets.extend(
            members.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned),
        );
    }
    assert!(allowed.contains("openat") && !allowed.contains("mount"), "{allowed:?}");
    allowed
}

#[track_caller]
fn only_calls(host: &Host, allowed: &BTreeSet<String>) {
    let trace = host.sh("cat /run/calls").unwrap();
    // `PID name(arguments...`
    let call = |line: &str| Some(line.split_whitespace().nth(1)?.split_once('(')?.0.to_owned());
    let called: BTreeSet<String> = trace.lines().filter_map(call).collect();
    assert!(called.contains("bpf") || called.contains("socket"), "{called:?}");
    let others: Vec<_> = called.difference(allowed).collect();
    assert!(others.is_empty(), "the unit's SystemCallFilter= lacks {others:?}");
}
