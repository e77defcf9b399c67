//! Faults at each step: what the kernel refuses, a full disk, too few descriptors, and being killed, at the n-th
//! call of each system call that changes something or may fail, injected by strace.
//!
//! By itself a few of them; with `DNSALT_FAULTS=all` each one, which takes more than an hour, or so many with a
//! number, or those with such words (`inject=socket:`).

mod common;

use common::faults::{at, calls, each, look, resolves, run_by, trace};
use common::{BIN, Ended, Network, dnsalt, mount_bpffs, network};
use dnsalt_lab::Host;

/// System calls, and what they fail with.
const CALLS: [(&str, &str); 16] = [
    ("bpf", "EPERM"),
    ("clone3", "EAGAIN"),
    ("connect", "EACCES"),
    ("flock", "ENOLCK"),
    ("fsync", "EIO"),
    ("getrandom", "ENOSYS"),
    ("ioctl", "ENOMEM"),
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

const SALT: [&str; 4] = ["--engine", "salt", "--bpffs", "/run/bpf"];
const NAT: [&str; 4] = ["--engine", "nat", "--backend", "nft"];

/// A verb, in a state of the host.
struct Case<'a> {
    name: &'static str,
    /// What is there already.
    prepare: Option<Vec<&'a str>>,
    args: Vec<&'a str>,
}

/// Runs it, with a fault at one call.
fn with_fault(host: &Host, kernel: &[&str], fault: &str, args: &[&str]) -> Ended {
    let tracer = ["strace", "-qq", "-o", "/dev/null", "-e", fault];
    run_by(host, &[kernel, &tracer], args)
}

/// All that can be refused to an engine. What installs it runs by way of `kernel`, which may make this one look
/// like another.
fn every_fault(name: &str, kernel: &[&str], engine: &[&str], network: &Network) {
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
    let prepare = |case: &Case<'_>| {
        if let Some(args) = &case.prepare {
            run_by(gateway, &[kernel], args).exits(0);
        }
    };
    let mut faults = Vec::new();
    for case in &cases {
        prepare(case);
        let of_case = faults_of(gateway, |tracer| {
            run_by(gateway, &[kernel, tracer], &case.args);
        });
        dnsalt(gateway, &["down"]);
        faults.extend(of_case.into_iter().map(|fault| (case, fault)));
    }
    let tried = each(gateway, &before, &faults, A_FEW, |case, fault| {
        prepare(case);
        let ended = with_fault(gateway, kernel, fault, &case.args);
        let told = format!("{}, {fault}: {ended:?}", case.name);
        survives(network, case, &ended, &before, &told);
    });
    println!("figure: faults of system calls that {name} survived: {tried}");
}

/// All that can be injected into what runs by way of a tracer.
fn faults_of(host: &Host, run: impl FnOnce(&[&str])) -> Vec<String> {
    let made = calls(host, run);
    let mut faults = Vec::new();
    for (call, error) in CALLS {
        faults.extend(made.get(call).into_iter().flatten().flat_map(|n| at(call, error, *n)));
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
    every_fault("the salt engine", &[], &SALT, &network);
}

/// With filters, as before Linux 6.6: a kernel that calls itself 2.6 has the same of everything.
#[test]
fn the_salt_engine_survives_each_with_filters() {
    let Some(network) = network(&["tc", "nft", "strace", "setarch"]) else { return };
    let gateway = &network.net.gateway;
    mount_bpffs(gateway);
    let kernel = ["setarch", "--uname-2.6"];
    let up = [&["up", "--no-health"], &SALT[..]].concat();
    run_by(gateway, &[&kernel], &up).exits(0);
    let filters = gateway.sh("tc filter show dev wan0 egress").unwrap();
    dnsalt(gateway, &["down"]).exits(0);
    if filters.is_empty() {
        println!("skipped: this kernel tells its version elsewhere, too");
        return;
    }
    every_fault("the salt engine with filters", &kernel, &SALT, &network);
}

/// A policy that has less of everything than the one before: at no step is a query salted by neither.
#[test]
fn a_change_that_is_killed_at_each_map_it_writes_leaves_every_query_salted() {
    let Some(network) = network(&["tc", "nft", "strace"]) else { return };
    let gateway = &network.net.gateway;
    mount_bpffs(gateway);
    let up = [&["up", "--no-health"], &SALT[..]].concat();
    let much = [&up[..], &["--from", "10.53.0.0/16", "--from", "10.0.0.0/8"]].concat();
    let less = [&up[..], &["--ports", "20000-20255"]].concat();
    dnsalt(gateway, &much).exits(0);
    let trace = trace(gateway, |tracer| {
        run_by(gateway, &[tracer], &less);
    });
    let calls: Vec<&str> = trace.lines().filter(|line| line.starts_with("bpf(")).collect();
    let loaded = calls.iter().rposition(|call| call.contains("BPF_PROG_LOAD")).unwrap() + 1;
    let changes = |call: &str| ["_UPDATE", "_DELETE"].iter().any(|what| call.contains(what));
    let mut tried = 0;
    // Killed as it makes the next call, it has made this one.
    for n in (loaded..calls.len()).filter(|n| changes(calls[*n])) {
        let fault = format!("inject=bpf:signal=KILL:when={}", n + 2);
        dnsalt(gateway, &much).exits(0);
        let ended = with_fault(gateway, &[], &fault, &less);
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
    every_fault("the nat engine", &[], &NAT, &network);
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
            [&SALT, &NAT].map(|engine| all_or_nothing(&network, engine, &without));
        // SYS_ADMIN stands for BPF and PERFMON, as before Linux 5.8.
        assert_eq!(natted, capability != "net_admin", "{capability}");
        assert!(salted || capability == "net_admin", "{capability}");
    }
    let none = "setpriv --bounding-set=-bpf,-sys_admin --inh-caps=-bpf,-sys_admin";
    assert!(!all_or_nothing(&network, &SALT, none));
    // Kernels before 5.11 count maps against it; now it makes no difference.
    assert!(all_or_nothing(&network, &SALT, "prlimit --memlock=0"));
    assert!(!all_or_nothing(&network, &NAT, "prlimit --nofile=5"));
    assert!(!all_or_nothing(&network, &SALT, "prlimit --nofile=12"));
}

#[test]
fn on_a_full_disk() {
    let Some(network) = network(&["tc", "nft"]) else { return };
    let gateway = &network.net.gateway;
    mount_bpffs(gateway);
    for engine in [SALT, NAT] {
        // As many blocks as it takes for folder and lock, and none for what is written.
        gateway
            .sh("mkdir -p /run/dnsalt; mount -t tmpfs -o size=4k tmpfs /run/dnsalt
                head -c 4096 /dev/zero > /run/dnsalt/filler")
            .unwrap();
        assert!(!all_or_nothing(&network, &engine, ""));
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
