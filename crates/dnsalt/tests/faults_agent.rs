//! The agent with a fault at one of its system calls: as it starts, while it keeps the protection up, as it ends.
//!
//! By itself a few of them; with `DNSALT_FAULTS=all` all that are chosen below, or so many with a number, or
//! those with such words (`inject=socket:`).

mod common;

use std::time::{Duration, Instant};

use common::agent::{Agent, PATIENCE, is_protected};
use common::faults::{at, calls, each, look, resolves};
use common::{Network, dnsalt, mount_bpffs, network};
use dnsalt_lab::Host;

/// System calls, and what they fail with.
const CALLS: [(&str, &str); 35] = [
    ("bind", "EADDRINUSE"),
    ("bpf", "EPERM"),
    ("capget", "EPERM"),
    ("capset", "EPERM"),
    ("chmod", "EPERM"),
    ("clone3", "EAGAIN"),
    ("connect", "EACCES"),
    ("fcntl", "EMFILE"),
    ("flock", "ENOLCK"),
    ("fsync", "EIO"),
    ("getdents64", "EIO"),
    ("getrandom", "ENOSYS"),
    ("ioctl", "ENOMEM"),
    ("landlock_add_rule", "EINVAL"),
    ("landlock_create_ruleset", "ENOSYS"),
    ("landlock_restrict_self", "EPERM"),
    ("listen", "EADDRINUSE"),
    ("mkdir", "ENOSPC"),
    ("openat", "EMFILE"),
    ("pipe2", "EMFILE"),
    ("poll", "EINTR"),
    ("ppoll", "ENOMEM"),
    ("prctl", "EPERM"),
    // Nothing else: of a pipe, which never fails, the standard library takes no other error without a panic.
    ("read", "EINTR"),
    ("recvfrom", "ENOBUFS"),
    ("rename", "ENOSPC"),
    ("rt_sigaction", "EINVAL"),
    ("seccomp", "EINVAL"),
    ("sendto", "ENOBUFS"),
    ("setsockopt", "EPERM"),
    ("socket", "EMFILE"),
    ("socketpair", "EMFILE"),
    ("statx", "EACCES"),
    ("unlink", "EIO"),
    ("write", "ENOSPC"),
];
/// Of one call so many are tried at most, spread over all: most are those of each look.
const OF_ONE: usize = 12;
/// How many are tried by themselves, spread over all.
const A_FEW: usize = 6;

/// An engine, and what takes its protection away behind its back.
struct Case {
    name: &'static str,
    options: &'static [&'static str],
    damage: &'static str,
}

/// What became of an agent.
struct Course {
    /// Its code, if it ended before it was asked to; -1 if it was killed.
    ended: Option<i32>,
    /// Its code, if it was asked to end.
    stopped: Option<i32>,
    log: String,
}

/// Runs one by way of a tracer, takes the protection away once, waits until it is back, and ends it.
fn course(host: &Host, case: &Case, tracer: &[&str]) -> Course {
    let mut agent = Agent::spawn(host, tracer, case.options);
    let begun = Instant::now();
    let wait_for = |agent: &mut Agent<'_>, what: &dyn Fn() -> bool| -> Option<i32> {
        loop {
            let ended = agent.code(Duration::from_millis(20));
            if ended.is_some() || what() {
                return ended;
            }
            assert!(begun.elapsed() < 2 * PATIENCE, "{tracer:?}: {}", agent.log());
        }
    };
    let log = || host.sh("cat /run/agent.log").unwrap();
    // What it tells systemd may be what is refused, and so may be what it logs: either will do.
    let ready = || log().contains("\"protected\"") || log().contains("privileges dropped");
    let mut ended = wait_for(&mut agent, &ready);
    if ended.is_none() {
        host.sh(case.damage).unwrap();
        ended = wait_for(&mut agent, &|| is_protected(host));
    }
    let stopped = ended.is_none().then(|| {
        agent.signal("TERM");
        agent.ends()
    });
    Course { ended, stopped, log: log() }
}

/// All that are tried.
fn faults<'a>(host: &Host, case: &'a Case) -> Vec<(&'a Case, String)> {
    let made = calls(host, |tracer| {
        assert_eq!(course(host, case, tracer).stopped, Some(0));
    });
    dnsalt(host, &["down"]).exits(0);
    let mut faults = Vec::new();
    for (call, error) in CALLS {
        let those = made.get(call).map(Vec::as_slice).unwrap_or_default();
        let step = those.len().div_ceil(OF_ONE).max(1);
        let chosen = those.iter().step_by(step).flat_map(|n| at(call, error, *n));
        faults.extend(chosen.map(|fault| (case, fault)));
    }
    faults
}

/// Whatever it was: names resolve, an agent that goes on puts back what is damaged, one that does not says why and
/// is not taken for one that was asked to end, the next one finds its way, and `down` puts everything back.
fn survives(network: &Network, case: &Case, fault: &str, before: &str) {
    let gateway = &network.net.gateway;
    let tracer = ["strace", "-D", "-qq", "-o", "/dev/null", "-e", fault];
    let Course { ended, stopped, log } = course(gateway, case, &tracer);
    let told = format!("{}, {fault}: {ended:?} {stopped:?} {log}", case.name);
    assert!(!log.contains("panicked"), "{told}");
    assert_ne!(ended, Some(0), "{told}");
    if ended.is_some_and(|code| code > 0) {
        assert!(log.contains("dnsalt: "), "nothing was said: {told}");
    }
    assert!(stopped.is_none_or(|code| [-1, 0].contains(&code)), "{told}");
    resolves(network, &told);
    let mut again = Agent::start(gateway, case.options);
    assert!(is_protected(gateway), "{told}");
    resolves(network, &told);
    again.signal("TERM");
    assert_eq!(again.ends(), 0, "{told}");
    let down = dnsalt(gateway, &["down"]);
    assert_eq!(down.code, 0, "{told}\nthen {down:?}");
    assert_eq!(look(gateway), before, "{told}\nthen {down:?}");
    resolves(network, &told);
}

fn every_fault(case: &Case) {
    let Some(network) = network(&["tc", "nft", "strace"]) else { return };
    let gateway = &network.net.gateway;
    mount_bpffs(gateway);
    let before = look(gateway);
    let faults = faults(gateway, case);
    let tried = each(gateway, &before, &faults, A_FEW, |case, fault| {
        survives(&network, case, fault, &before);
    });
    let name = case.name;
    println!("figure: faults of system calls that the agent survived, {name} engine: {tried}");
}

#[test]
fn an_agent_of_the_nat_engine_survives_each() {
    every_fault(&Case {
        name: "nat",
        options: &["--engine", "nat", "--backend", "nft"],
        damage: "nft flush ruleset",
    });
}

#[test]
fn an_agent_of_the_salt_engine_survives_each() {
    every_fault(&Case {
        name: "salt",
        options: &["--engine", "salt", "--bpffs", "/run/bpf"],
        // In this order, as they go a moment later: what salts must not stay behind alone.
        damage: "rm -f /run/bpf/dnsalt/net-*/link-out-*; rm -f /run/bpf/dnsalt/net-*/link-in-*",
    });
}
