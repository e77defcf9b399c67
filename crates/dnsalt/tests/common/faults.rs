//! Faults at single system calls, injected by strace, and what has to be so after each.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use dnsalt_lab::Host;

use super::{BIN, Ended, Network, answered, dnsalt, eventually};

/// Runs dnsalt by way of other programs.
pub(crate) fn run_by(host: &Host, others: &[&[&str]], args: &[&str]) -> Ended {
    let words = [&others.concat()[..], &[BIN], args].concat();
    host.command(words[0]).args(&words[1..]).output().unwrap().into()
}

/// The calls of a program, one a line. `run` gets the words of a tracer, and runs the program by it.
pub(crate) fn trace(host: &Host, run: impl FnOnce(&[&str])) -> String {
    host.sh("rm -f /run/calls").unwrap();
    run(&["strace", "-D", "-q", "-o", "/run/calls"]);
    let read = || host.run(|| std::fs::read_to_string("/run/calls").unwrap());
    // With -D the tracer may end after what it traces.
    eventually("the trace is whole", Duration::from_secs(10), || read().contains("+++ exited"));
    read()
}

/// The calls of each name that can fail, by their numbers: those that a program makes from `main` on.
pub(crate) fn calls(host: &Host, run: impl FnOnce(&[&str])) -> BTreeMap<String, Vec<usize>> {
    let text = trace(host, run);
    let (mut made, mut calls) = (BTreeMap::new(), BTreeMap::<String, Vec<usize>>::new());
    // The loader's calls end with that for random numbers of the standard library.
    let loaded = text.lines().position(|line| line.starts_with("sigaltstack")).unwrap_or(0);
    for (place, line) in text.lines().enumerate() {
        let Some((name, arguments)) = line.split_once('(') else { continue };
        let n = made.entry(name).or_insert(0);
        *n += 1;
        // Of a pipe, that never fails: the standard library takes no error of it without a panic.
        if place >= loaded && !arguments.contains("FIONBIO") {
            calls.entry(name.to_owned()).or_default().push(*n);
        }
    }
    calls
}

/// What strace is asked for: an error of the n-th call, or to be killed there.
pub(crate) fn at(call: &str, error: &str, n: usize) -> [String; 2] {
    [&format!("error={error}"), "signal=KILL"].map(|what| format!("inject={call}:{what}:when={n}"))
}

/// Tries some of them, spread over all, or those that `DNSALT_FAULTS` asks for: `all`, so many, or what strace
/// is to do (`inject=socket:`); how many. What one does not survive is told, and the rest is tried all the same,
/// unless something is left behind.
pub(crate) fn each<C>(
    host: &Host,
    before: &str,
    faults: &[(C, String)],
    few: usize,
    survives: impl Fn(&C, &str),
) -> usize {
    let wanted = std::env::var("DNSALT_FAULTS").unwrap_or_else(|_| few.to_string());
    let chosen: Vec<&(C, String)> = match wanted.parse::<usize>() {
        Ok(most) => faults.iter().step_by(faults.len().div_ceil(most).max(1)).collect(),
        Err(_) if wanted == "all" => faults.iter().collect(),
        Err(_) => faults.iter().filter(|(_, fault)| fault.contains(&wanted)).collect(),
    };
    println!("{} of {} faults", chosen.len(), faults.len());
    let mut failed = 0;
    for (case, fault) in &chosen {
        if catch_unwind(AssertUnwindSafe(|| survives(case, fault))).is_err() {
            failed += 1;
            dnsalt(host, &["down"]);
            assert_eq!(look(host), before, "what is left of it would spoil the rest");
        }
    }
    assert_eq!(failed, 0, "of {}", chosen.len());
    chosen.len()
}

/// All that `up` could leave on a host, but for folders and locks; of what is counted, nothing.
pub(crate) fn look(host: &Host) -> String {
    host.sh("tc qdisc show; nft -s list ruleset
        find /run/bpf 2> /dev/null | grep -vx /run/bpf/dnsalt | sort
        find /run/dnsalt -type f ! -name lock ! -name '*.agent' 2> /dev/null | sort")
        .unwrap()
}

/// Names resolve, whatever happened; also for a program that asks from one port only.
#[track_caller]
pub(crate) fn resolves(network: &Network, told: &str) {
    let answered = answered(network, &network.net.resolver, 44444, 2, Duration::from_secs(5));
    assert_eq!(answered, 2, "names do not resolve: {told}");
}
