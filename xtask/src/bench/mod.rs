//! `bench check`: `dnsalt check` beside what a user would take instead, in one run. `bench path`: see
//! [`path`]; `bench packet`: see [`packet`]; `bench serve`: see [`serve`].
//!
//! Rounds are interleaved (A B C, A B C, ...), so that a busy moment of the machine hits all alike;
//! what is reported is the median, with the least and the most.

pub(crate) mod capture;
mod chart;
mod contest;
pub(crate) mod packet;
pub(crate) mod path;
pub(crate) mod serve;
pub(crate) mod userspace;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::step::Step;
use contest::{Contestant, Result, measure};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Packets of the capture: half queries, half replies
    #[arg(long, default_value = "5000000")]
    packets: u64,

    /// Clients that ask
    #[arg(long, default_value = "1000")]
    resolvers: u32,

    /// Rounds
    #[arg(long, default_value = "7")]
    rounds: usize,

    /// Also run those that take more than a minute, once
    #[arg(long)]
    all: bool,

    /// Also from compressed files, and with 1, 1,000 and 1,000,000 clients
    #[arg(long)]
    more: bool,
}

/// Runs the benchmark, prints a table, and writes JSON and a chart.
pub(crate) fn check(options: &Options) -> anyhow::Result<()> {
    Step::cargo(&["build", "--release", "--locked", "--package", "dnsalt"]).run()?;
    let folder = target().join("bench");
    fs::create_dir_all(&folder)?;
    let file = capture::made(&folder, options.packets, options.resolvers)?;
    let results = measure(&contestants(&file), options.rounds, options.all)?;
    let memory = memory(&folder)?;
    let mut text = report(options, &results, memory);
    if options.more {
        text += &more(options, &folder)?;
    }
    print!("\n{text}");
    fs::write(folder.join("check.json"), chart::json(options, &results, memory))?;
    fs::write(folder.join("check.svg"), chart::svg(&results))?;
    println!("\nWritten: {}", folder.join("check.{json,svg}").display());
    Ok(())
}

fn target() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    std::env::var_os("CARGO_TARGET_DIR").map_or(beside, PathBuf::from)
}

fn contestants(file: &Path) -> Vec<Contestant> {
    let file = file.display();
    let dnsalt = target().join("release/dnsalt");
    let dnsalt = dnsalt.display();
    let count = "{n[$1]++; s[$1]+=$2; q[$1]+=$2*$2} END {for (i in n) print i, n[i], s[i]/n[i]}";
    let one = |name, program, line: String, slow| Contestant { name, program, line, slow };
    vec![
        one("cat to nowhere", "cat", format!("cat {file} > /dev/null"), false),
        // Started by root it would give /dev/null away to its own user.
        one("tcpdump -w", "tcpdump", format!("tcpdump -Z root -r {file} -w /dev/null"), false),
        one("check, 1 thread", "sh", format!("{dnsalt} check --threads 1 {file}"), false),
        one("check, 2 threads", "sh", format!("{dnsalt} check --threads 2 {file}"), false),
        one(
            "PacketQ grouped",
            "packetq",
            format!(
                "packetq -s 'select src_addr, count(*), avg(src_port), stdev(src_port) from dns where qr=0 group by src_addr' {file}"
            ),
            false,
        ),
        one(
            "tcpdump and awk",
            "tcpdump",
            format!(
                "tcpdump -nn -r {file} 'udp dst port 53' | awk '{{i=match($3, /[0-9]*$/); p=substr($3, i); a=substr($3, 1, i-2); n[a]++; s[a]+=p; q[a]+=p*p}} END {{for (a in n) print a, n[a], s[a]/n[a]}}'"
            ),
            false,
        ),
        one(
            "tshark and awk",
            "tshark",
            format!(
                "tshark -r {file} -Y 'udp.dstport==53' -T fields -e ip.src -e udp.srcport -e dns.id | awk '{count}'"
            ),
            true,
        ),
    ]
}

/// Compressed files, and growth with the number of clients.
fn more(options: &Options, folder: &Path) -> anyhow::Result<String> {
    let dnsalt = target().join("release/dnsalt");
    let dnsalt = dnsalt.display();
    let file = capture::made(folder, options.packets, options.resolvers)?;
    let mut contestants = Vec::new();
    for (name, ours, theirs, packer, end) in [
        (".gz", "check, .gz", "gzip and tcpdump", "gzip", "gz"),
        (".zst", "check, .zst", "zstd and tcpdump", "zstd", "zst"),
    ] {
        let packed = format!("{}.{end}", file.display());
        if Step::program("sh", &["-c", &format!("command -v {packer}")]).works()
            && !Path::new(&packed).exists()
        {
            eprintln!("making the {name}");
            Step::program("sh", &["-c", &format!("{packer} -kc {} > {packed}", file.display())])
                .run()?;
        }
        let check = format!("{dnsalt} check --threads 1 {packed}");
        contestants.push(Contestant { name: ours, program: packer, line: check, slow: false });
        let line = format!("{packer} -dc {packed} | tcpdump -Z root -r - -w /dev/null");
        contestants.push(Contestant { name: theirs, program: packer, line, slow: false });
    }
    for (name, clients) in
        [("1 client", 1), ("1,000 clients", 1000), ("1,000,000 clients", 1_000_000)]
    {
        let file = capture::made(folder, options.packets, clients)?;
        let line = format!("{dnsalt} check --threads 1 {} > /dev/null", file.display());
        contestants.push(Contestant { name, program: "sh", line, slow: false });
    }
    let results = measure(&contestants, options.rounds, false)?;
    let mut text = format!("\n{:<18} {:>9} {:>17}\n", "", "median s", "least to most");
    for result in &results {
        text += &match result.median {
            Some(seconds) => {
                let spread = format!("{:.2} to {:.2}", result.least, result.most);
                format!("{:<18} {seconds:>9.2} {spread:>17}\n", result.name)
            }
            None => format!("{:<18} {}\n", result.name, result.why.as_deref().unwrap_or("-")),
        };
    }
    Ok(text)
}

/// The most memory in kilobytes for 100,000 clients, read as a stream, so that the file itself does
/// not count.
fn memory(folder: &Path) -> anyhow::Result<u64> {
    let file = capture::made(folder, 10_000_000, 100_000)?;
    let line = format!(
        "/usr/bin/time -f %M {} check --threads 1 - < {} 2>&1 > /dev/null | tail -n 1",
        target().join("release/dnsalt").display(),
        file.display()
    );
    let output = std::process::Command::new("sh").args(["-c", &line]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().with_context(|| format!("GNU time said: {text}"))
}

/// The table, with what it is to be.
fn report(options: &Options, results: &[Result], memory: u64) -> String {
    let median = |name: &str| results.iter().find(|r| r.name == name).and_then(|r| r.median);
    let base = median("tcpdump -w");
    let mut text = format!(
        "{}\n{} packets, {} clients, {} rounds. Again: cargo xtask bench check\n\n",
        machine(),
        options.packets,
        options.resolvers,
        options.rounds
    );
    text += &format!("{:<18} {:>9} {:>17} {:>12}\n", "", "median s", "least to most", "tcpdump -w");
    for result in results {
        let Some(seconds) = result.median else {
            text += &format!("{:<18} {}\n", result.name, result.why.as_deref().unwrap_or("-"));
            continue;
        };
        let ratio = base.map_or(String::new(), |base| format!("{:.2} x", seconds / base));
        let spread = format!("{:.2} to {:.2}", result.least, result.most);
        text += &format!("{:<18} {seconds:>9.2} {spread:>17} {ratio:>12}\n", result.name);
    }
    text += "\n";
    let goals = [
        ("check on 1 thread / tcpdump -w", "check, 1 thread", "tcpdump -w", 1.5, true),
        ("tshark and awk / check", "tshark and awk", "check, 1 thread", 100.0, false),
        ("tcpdump and awk / check", "tcpdump and awk", "check, 1 thread", 10.0, false),
        ("PacketQ grouped / check", "PacketQ grouped", "check, 1 thread", 3.0, false),
        ("1 thread / 2 threads", "check, 1 thread", "check, 2 threads", 1.7, false),
    ];
    for (what, above, below, goal, at_most) in goals {
        if let (Some(above), Some(below)) = (median(above), median(below)) {
            let ratio = above / below;
            let good = if at_most { ratio <= goal } else { ratio >= goal };
            let sign = if at_most { "<=" } else { ">=" };
            let word = if good { "reached" } else { "missed" };
            text += &format!("{what:<32} {ratio:>6.1}   wanted {sign} {goal:<5} {word}\n");
        }
    }
    let word = if memory < 200_000 { "reached" } else { "missed" };
    text + &format!(
        "{:<32} {:>6}   wanted <= 200   {word}\n",
        "MB for 100,000 clients",
        memory / 1000
    )
}

/// Kernel, processor and number of cores.
fn machine() -> String {
    let line = "echo \"Linux $(uname -r), $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores\"";
    let output = std::process::Command::new("sh").args(["-c", line]).output();
    output.map_or(String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
