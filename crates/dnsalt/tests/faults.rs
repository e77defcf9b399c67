//! Faults at each step: what the kernel refuses, a full disk, too few descriptors, and being killed, at the n-th
//! call of each system call that changes something or may fail, injected by strace.
//!
//! By itself a few of them; with `DNSALT_FAULTS=all` each one, which takes most of an hour, or so many with a
//! number.

mod common;

use common::faults::{at, calls, chosen, look, resolves, trace};
use common::{BIN, Ended, Network, dnsalt, mount_bpffs, network};
use dnsalt_lab::Host;

/// System calls, and what they fail with.
const CALLS: [(&str, &str); 15] = [
    ("bpf", "EPERM"),
    ("clone3", "EAGAIN"),
    ("connect", "EACCES"),
    ("flock", "ENOLCK"),
    ("fsync", "EIO"),
    ("getrandom", "ENOSYS"),
    ("mkdir", "ENOSPC"),
    ("openat", "EMFILE"),
    ("pipe2", "EMFILE"),
    ("rename", "ENOSPC"),
    ("rmdir", "EBUSY"),
    ("sendto", "ENOBUFS"),
    ("socket", "EMFILE"),
    ("unlink", "EIO"),
    ("write", "ENOSPC"),
];
/// How many are tried by themselves, spread over all.
const A_FEW: usize = 12;

/// A verb, in a state of the host.
struct Case<'a> {
    name: &'static str,
    /// What is there already.
    prepare: Option<Vec<&'a str>>,
    args: Vec<&'a str>,
}

fn traced(host: &Host, tracer: &[&str], args: &[&str]) {
    let words = [tracer, &[BIN], args].concat();
    host.command(words[0]).args(&words[1..]).output().unwrap();
}

/// Runs it, with a fault at one call.
fn with_fault(host: &Host, fault: &str, args: &[&str]) -> Ended {
    let inject = ["-qq", "-o", "/dev/null", "-e", fault, BIN];
    host.command("strace").args(inject).args(args).output().unwrap().into()
}

fn every_fault(engine: &[&str], network: &Network) {
    let gateway = &network.net.gateway;
    let up = [&["up", "--no-health"], engine].concat();
    let other = [&up[..], &["--ports", "20000-60000"]].concat();
    let before = look(gateway);
    let cases = [
        Case { name: "up", prepare: None, args: up.clone() },
        Case { name: "up anew", prepare: Some(up.clone()), args: other },
        Case { name: "down", prepare: Some(up.clone()), args: vec!["down"] },
        Case { name: "status", prepare: Some(up), args: vec!["status"] },
    ];
    let faults: Vec<(&Case<'_>, String)> = cases
        .iter()
        .flat_map(|case| faults_of(gateway, case).into_iter().map(move |fault| (case, fault)))
        .collect();
    let chosen = chosen(&faults, A_FEW);
    for (case, fault) in &chosen {
        if let Some(prepare) = &case.prepare {
            dnsalt(gateway, prepare).exits(0);
        }
        let ended = with_fault(gateway, fault, &case.args);
        let told = format!("{}, {fault}: {ended:?}", case.name);
        survives(network, case, &ended, &before, &told);
    }
    let name = engine[1];
    println!("figure: faults of system calls that the {name} engine survived: {}", chosen.len());
}

/// All that can be injected into a verb.
fn faults_of(host: &Host, case: &Case<'_>) -> Vec<String> {
    if let Some(prepare) = &case.prepare {
        dnsalt(host, prepare).exits(0);
    }
    let counts = calls(host, |tracer| traced(host, tracer, &case.args));
    dnsalt(host, &["down"]);
    let mut faults = Vec::new();
    for (call, error) in CALLS {
        let [loaded, made] = counts.get(call).copied().unwrap_or_default();
        for n in loaded + 1..=made {
            faults.extend(at(call, error, n));
        }
    }
    faults
}

/// Whatever it was: names resolve, nothing is half there without a word, and `down` puts everything back.
fn survives(network: &Network, case: &Case<'_>, ended: &Ended, before: &str, told: &str) {
    let gateway = &network.net.gateway;
    let killed = ended.code == 137 || ended.code == -1;
    assert!(killed || (0..=3).contains(&ended.code), "{told}");
    assert!(!ended.stderr.contains("panicked"), "{told}");
    if !killed && ended.code > 0 && case.name != "status" {
        assert!(!ended.stderr.trim().is_empty(), "nothing was said: {told}");
    }
    resolves(network, told);
    let status = dnsalt(gateway, &["status"]).code;
    if !killed && case.name.starts_with("up") {
        match ended.code {
            0 => assert_eq!(status, 0, "{told}"),
            // It is all there; only that could not be told.
            _ if ended.stderr.contains("standard output") => assert_eq!(status, 0, "{told}"),
            // What was there before is there still, whole.
            _ if case.prepare.is_some() => assert_eq!(status, 0, "{told}"),
            _ => assert_eq!(look(gateway), before, "{told}"),
        }
    }
    let down = dnsalt(gateway, &["down"]);
    assert!([0, 1].contains(&down.code), "{told}\nthen {down:?}");
    assert_eq!(look(gateway), before, "{told}\nthen {down:?}");
    resolves(network, told);
}

#[test]
fn the_salt_engine_survives_each() {
    let Some(network) = network(&["tc", "nft", "strace"]) else { return };
    mount_bpffs(&network.net.gateway);
    every_fault(&["--engine", "salt", "--bpffs", "/run/bpf"], &network);
}

/// A policy that has less of everything than the one before: at no step is a query salted by neither.
#[test]
fn a_change_that_is_killed_at_each_map_it_writes_leaves_every_query_salted() {
    let Some(network) = network(&["tc", "nft", "strace"]) else { return };
    let gateway = &network.net.gateway;
    mount_bpffs(gateway);
    let up = ["up", "--no-health", "--engine", "salt", "--bpffs", "/run/bpf"];
    let much = [&up[..], &["--from", "10.53.0.0/16", "--from", "10.0.0.0/8"]].concat();
    let less = [&up[..], &["--ports", "20000-20255"]].concat();
    dnsalt(gateway, &much).exits(0);
    let trace = trace(gateway, |tracer| traced(gateway, tracer, &less));
    let calls: Vec<&str> = trace.lines().filter(|line| line.starts_with("bpf(")).collect();
    let loaded = calls.iter().rposition(|call| call.contains("BPF_PROG_LOAD")).unwrap() + 1;
    let changes = |call: &str| ["_UPDATE", "_DELETE"].iter().any(|what| call.contains(what));
    let mut tried = 0;
    // Killed as it makes the next call, it has made this one.
    for n in (loaded..calls.len()).filter(|n| changes(calls[*n])) {
        let fault = format!("inject=bpf:signal=KILL:when={}", n + 2);
        dnsalt(gateway, &much).exits(0);
        let ended = with_fault(gateway, &fault, &less);
        let told = format!("after {}: {ended:?}", calls[n]);
        resolves(&network, &told);
        let seen = network.servers.take_seen();
        let ports: Vec<u16> = seen.iter().map(|seen| seen.peer.port()).collect();
        assert!(!ports.contains(&44444), "{told}: {ports:?}");
        tried += 1;
    }
    assert!(tried >= 8, "{tried} of {trace}");
    println!("figure: changes of policy that were killed half-way, every query salted: {tried}");
}

#[test]
fn the_nat_engine_survives_each() {
    let Some(network) = network(&["nft", "strace"]) else { return };
    every_fault(&["--engine", "nat", "--backend", "nft"], &network);
}

/// What it does where something is missing: all of it, or nothing and a line that says why.
fn all_or_nothing(network: &Network, engine: &[&str], wrapped: &str) -> bool {
    let gateway = &network.net.gateway;
    let before = look(gateway);
    let up = [&["up", "--no-health"], engine].concat().join(" ");
    let script = format!("code=0; {wrapped} {BIN} {up} 2>/run/said || code=$?; echo $code");
    let code = gateway.sh(&script).unwrap().lines().last().unwrap().to_owned();
    let said = gateway.sh("cat /run/said; rm /run/said").unwrap();
    let told = format!("{wrapped} {up}: {code}, {said}");
    println!("{told}");
    match code.as_str() {
        "0" => {
            dnsalt(gateway, &["status"]).exits(0);
        }
        "2" | "3" => {
            let error = said.lines().filter(|line| line.starts_with("dnsalt: ")).count();
            assert_eq!(error, 1, "{told}");
            assert_eq!(look(gateway), before, "{told}");
        }
        _ => panic!("{told}"),
    }
    resolves(network, &told);
    dnsalt(gateway, &["down"]);
    assert_eq!(look(gateway), before, "{told}");
    println!("figure: times without a capability, a descriptor or a disk, all or nothing: 1");
    code == "0"
}

#[test]
fn without_one_capability_after_the_other() {
    let Some(network) = network(&["tc", "nft", "setpriv"]) else { return };
    mount_bpffs(&network.net.gateway);
    let salt = ["--engine", "salt", "--bpffs", "/run/bpf"];
    let nat = ["--engine", "nat", "--backend", "nft"];
    for capability in [
        "bpf",
        "perfmon",
        "sys_admin",
        "net_admin",
        "net_raw",
        "sys_resource",
        "dac_override",
        "chown",
    ] {
        let without = format!("setpriv --bounding-set=-{capability} --inh-caps=-{capability}");
        let [salted, natted] =
            [&salt, &nat].map(|engine| all_or_nothing(&network, engine, &without));
        // SYS_ADMIN stands for BPF and PERFMON, as before Linux 5.8.
        assert_eq!(natted, capability != "net_admin", "{capability}");
        assert!(salted || capability == "net_admin", "{capability}");
    }
    let none = "setpriv --bounding-set=-bpf,-sys_admin --inh-caps=-bpf,-sys_admin";
    assert!(!all_or_nothing(&network, &salt, none));
    // Kernels before 5.11 count maps against it; now it makes no difference.
    assert!(all_or_nothing(&network, &salt, "prlimit --memlock=0"));
    assert!(!all_or_nothing(&network, &nat, "prlimit --nofile=5"));
    assert!(!all_or_nothing(&network, &salt, "prlimit --nofile=12"));
}

#[test]
fn on_a_full_disk() {
    let Some(network) = network(&["tc", "nft"]) else { return };
    let gateway = &network.net.gateway;
    mount_bpffs(gateway);
    for engine in
        [&["--engine", "salt", "--bpffs", "/run/bpf"], &["--engine", "nat", "--backend", "nft"]]
    {
        // As many blocks as it takes for folder and lock, and none for what is written.
        gateway
            .sh("mkdir -p /run/dnsalt; mount -t tmpfs -o size=4k tmpfs /run/dnsalt
                head -c 4096 /dev/zero > /run/dnsalt/filler")
            .unwrap();
        assert!(!all_or_nothing(&network, engine, ""));
        // What was up stays up, with what is known of it.
        gateway.sh("mount -o remount,size=64k /run/dnsalt; rm /run/dnsalt/filler").unwrap();
        dnsalt(gateway, &[&["up", "--no-health"], engine.as_slice()].concat()).exits(0);
        gateway.sh("head -c 65536 /dev/zero > /run/dnsalt/filler || true").unwrap();
        let other = [&["up", "--no-health", "--ports", "20000-60000"], engine.as_slice()].concat();
        let refused = dnsalt(gateway, &other).exits(3);
        assert!(refused.stderr.contains("No space left"), "{}", refused.stderr);
        dnsalt(gateway, &["status"]).exits(0);
        dnsalt(gateway, &["down"]).exits(0);
        gateway.sh("umount /run/dnsalt").unwrap();
    }
}
