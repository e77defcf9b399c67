//! Fuzzing by libFuzzer, without end but for the time that is given: what is found is kept as a case for the tests.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, bail};

use crate::step::{Step, root};

/// Executions so far, by target: of every run on this machine.
const EXECUTED: &str = "target/fuzz/executed.json";
/// Bytes of an input, at most; longer ones are slower, and find no more.
const LONGEST: &str = "-max_len=4096";

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Targets; default all
    targets: Vec<String>,
    /// For each of them
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Targets at a time [default: one for each CPU]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

/// How a target ran.
#[derive(Debug, Default)]
struct Ran {
    executed: u64,
    a_second: u64,
    /// Edges of the program that were reached.
    covered: u64,
    corpus: u64,
    found: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let known = targets()?;
    if let Some(wrong) = options.targets.iter().find(|name| !known.contains(name)) {
        bail!("no target {wrong}; there are {}", known.join(", "));
    }
    let is_wanted = |name: &&String| options.targets.is_empty() || options.targets.contains(name);
    let chosen: Vec<&str> = known.iter().filter(is_wanted).map(String::as_str).collect();
    // Without a sanitizer stable Rust will do; what is unsafe is not what is fuzzed.
    Step::program("cargo-fuzz", &["build", "--fuzz-dir", "fuzz", "--sanitizer", "none", "-O"])
        .env("CARGO_TARGET_DIR", "target/fuzz")
        .run()?;
    let jobs =
        options.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    println!("\n== {} targets, {} seconds each, {jobs} at a time", chosen.len(), options.seconds);
    let (next, ran) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs)
            .map(|_| {
                scope.spawn(|| -> anyhow::Result<()> {
                    while let Some(name) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let one = fuzzed(name, options.seconds)?;
                        ran.lock()
                            .map_err(|_| anyhow::anyhow!("a worker died"))?
                            .insert(*name, one);
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or(Ok(())))
    })?;
    let ran = ran.into_inner().unwrap_or_default();
    let all = added(&ran)?;
    println!("target      executions   a second   edges  corpus   in all runs");
    for (name, one) in &ran {
        let total = all.get(*name).copied().unwrap_or(0);
        println!(
            "{name:<10} {:>11} {:>10} {:>7} {:>7} {total:>13}{}",
            one.executed,
            one.a_second,
            one.covered,
            one.corpus,
            if one.found { "  FOUND" } else { "" }
        );
    }
    println!("{} executions in all runs", all.values().sum::<u64>());
    let found: Vec<&str> = ran.iter().filter(|(_, one)| one.found).map(|(name, _)| *name).collect();
    if !found.is_empty() {
        bail!("found in {}: see fuzz/regressions, and target/fuzz/TARGET.log", found.join(", "));
    }
    Ok(())
}

/// Their names: those of the programs in fuzz/.
fn targets() -> anyhow::Result<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct Manifest {
        bin: Vec<Program>,
    }
    #[derive(serde::Deserialize)]
    struct Program {
        name: String,
    }
    let manifest: Manifest = toml::from_str(&fs::read_to_string(root().join("fuzz/Cargo.toml"))?)?;
    Ok(manifest.bin.into_iter().map(|program| program.name).collect())
}

/// Runs one, with what earlier runs found of interest.
fn fuzzed(name: &str, seconds: u32) -> anyhow::Result<Ran> {
    let folder = |kind: &str| root().join("fuzz").join(kind).join(name);
    let corpus = root().join("target/fuzz/corpus").join(name);
    let regressions = folder("regressions");
    let log = root().join(format!("target/fuzz/{name}.log"));
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&regressions)?;
    let program = root().join(format!("target/fuzz/{}/release/{name}", triple()));
    let file = fs::File::create(&log).with_context(|| log.display().to_string())?;
    let status = Command::new(&program)
        .arg(format!("-max_total_time={seconds}"))
        .args([LONGEST, "-print_final_stats=1", "-timeout=10"])
        .arg(format!("-artifact_prefix={}/", regressions.display()))
        .args([&corpus, &folder("seeds"), &regressions])
        .stdout(Stdio::null())
        .stderr(file)
        .status()
        .with_context(|| program.display().to_string())?;
    let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    // An empty folder is nothing to keep.
    let _ = fs::remove_dir(&regressions);
    let _ = fs::remove_dir(root().join("fuzz/regressions"));
    Ok(Ran { found: !status.success(), ..read(&said) })
}

/// What libFuzzer says of itself: `#123 DONE cov: 45 ft: 67 corp: 8/9b ...` and `stat::NAME: NUMBER`.
fn read(said: &str) -> Ran {
    let after = |key: &str| {
        let line = said.lines().rev().find(|line| line.contains(key))?;
        let behind = line.split_once(key)?.1.trim_start();
        behind.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
    };
    let number = |key| after(key).unwrap_or(0);
    Ran {
        executed: number("stat::number_of_executed_units:"),
        a_second: number("stat::average_exec_per_sec:"),
        covered: number(" cov: "),
        corpus: number(" corp: "),
        found: false,
    }
}

/// Executions of each target, in all runs on this machine.
pub(crate) fn executed() -> BTreeMap<String, u64> {
    let text = fs::read(root().join(EXECUTED)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Adds to what was executed before.
fn added(ran: &BTreeMap<&str, Ran>) -> anyhow::Result<BTreeMap<String, u64>> {
    let path = root().join(EXECUTED);
    let mut all = executed();
    for (name, one) in ran {
        *all.entry((*name).to_owned()).or_default() += one.executed;
    }
    fs::write(&path, serde_json::to_vec_pretty(&all)?)?;
    Ok(all)
}

/// What this machine is called where programs are built for it.
fn triple() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_is_read() {
        let said = "#2\tINITED cov: 13 ft: 14 corp: 1/1b exec/s: 0\n#9 DONE   cov: 544 ft: 1 corp: 445/102Kb lim: 1\n\
                    stat::number_of_executed_units: 495622\nstat::average_exec_per_sec:     45056\n";
        let ran = read(said);
        assert_eq!(
            (ran.executed, ran.a_second, ran.covered, ran.corpus),
            (495_622, 45_056, 544, 445)
        );
        assert_eq!(read("nothing").executed, 0);
    }
}
