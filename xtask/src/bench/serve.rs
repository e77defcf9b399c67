//! `bench serve`: answers a second of `dnsalt serve`, beside name servers that have nothing to measure.
//!
//! One host of the lab, `dnsperf` and the server on it, over the loopback: both cores are shared by the two, as
//! many threads for each server as there are cores, and nobody limits its rate.

use std::process::Stdio;
use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use dnsalt_lab::{Host, Running};

use super::contest::median;
use super::path::dnsperf::number;
use super::target;
use crate::step::Step;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Rounds
    #[arg(long, default_value = "5")]
    rounds: usize,

    /// Seconds of each
    #[arg(long, default_value = "5")]
    seconds: u32,
}

/// Who answers, and what is asked.
struct Contestant {
    name: &'static str,
    /// In target/tools, or installed.
    package: Option<&'static str>,
    /// Starts it; for `sh`.
    line: &'static str,
    query: &'static str,
}

const ZONE: &str = "\
t.example. 3600 SOA ns.t.example. hostmaster.t.example. 1 3600 600 604800 5
t.example. 3600 NS ns.t.example.
ns.t.example. 3600 A 127.0.0.1
";

const NSD: &str = "server:
 username: \"\"
 zonesdir: /run/server
 pidfile: \"\"
 database: \"\"
 zonelistfile: /run/server/list
 xfrdfile: /run/server/xfrd
 xfrdir: /run/server
 rrl-ratelimit: 0
 server-count: 2
 reuseport: yes
 ip-address: 127.0.0.1
remote-control:
 control-enable: no
zone:
 name: t.example
 zonefile: zone
";

const KNOT: &str = "server:
  rundir: /run/server
  listen: 127.0.0.1@53
  udp-workers: 2
database:
  storage: /run/server/db
zone:
  - domain: t.example
    storage: /run/server
    file: zone
    journal-content: none
";

const ADDRESS: &str = "ns.t.example A";

const CONTESTANTS: [Contestant; 4] = [
    Contestant {
        name: "NSD",
        package: Some("nsd"),
        line: "exec nsd -d -c /run/server/nsd.conf",
        query: ADDRESS,
    },
    Contestant {
        name: "Knot DNS",
        package: Some("knot"),
        line: "exec knotd -c /run/server/knot.conf",
        query: ADDRESS,
    },
    Contestant { name: "dnsalt serve", package: None, line: SERVE, query: ADDRESS },
    Contestant {
        name: "the same, a test",
        package: None,
        line: SERVE,
        query: "porttest.t.example TXT",
    },
];

const SERVE: &str = "exec \"$DNSALT\" serve --zone t.example --listen 127.0.0.1 --rate 0";

/// Runs the benchmark and prints a table.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let there = Step::program("sh", &["-c", "command -v dnsperf"]).works();
    ensure!(there, "dnsperf is missing: ./x bench serve installs it");
    Step::cargo(&["build", "--release", "--locked", "--package", "dnsalt"]).run()?;
    let mut rounds = [const { Vec::new() }; CONTESTANTS.len()];
    for _ in 0..options.rounds {
        for (contestant, rounds) in CONTESTANTS.iter().zip(&mut rounds) {
            rounds.push(contestant.ask(options.seconds)?);
        }
    }
    println!("\n{:<18} {:>9} {:>13} {:>7}", "1000 answers/s", "median", "least-most", "lost");
    for (contestant, rounds) in CONTESTANTS.iter().zip(&rounds) {
        let lost = rounds.iter().map(|[_, lost]| lost).sum::<f64>() / rounds.len() as f64;
        let mut rates: Vec<f64> = rounds.iter().map(|[rate, _]| *rate).collect();
        rates.sort_unstable_by(f64::total_cmp);
        let middle = median(&rates).unwrap_or(f64::NAN) / 1000.0;
        let [least, most] = [rates[0], rates[rates.len() - 1]].map(|rate| rate / 1000.0);
        let spread = format!("{least:.0}-{most:.0}");
        println!("{:<18} {middle:>9.1} {spread:>13} {:>6.2}%", contestant.name, lost * 100.0);
    }
    Ok(())
}

impl Contestant {
    /// Answers a second, and the share of queries that got none.
    fn ask(&self, seconds: u32) -> anyhow::Result<[f64; 2]> {
        let host = Host::new("server")?;
        host.sh("mkdir -p /run/server/db")?;
        for (file, text) in [("zone", ZONE), ("nsd.conf", NSD), ("knot.conf", KNOT)] {
            host.run(move || std::fs::write(format!("/run/server/{file}"), text))?;
        }
        if let Some(package) = self.package {
            let tools = target().join("tools").join(package);
            if tools.is_dir() {
                let tools = tools.canonicalize()?;
                host.sh(&format!(
                    "cd '{}'; mount -t overlay -o lowerdir=usr:/usr overlay /usr",
                    tools.display()
                ))?;
            }
        }
        let _server = self.start(&host)?;
        let said = host.sh(&format!(
            "echo {} > /run/names
             dnsperf -s 127.0.0.1 -d /run/names -c 16 -T 1 -q 512 -l {seconds} 2> /run/why \
             || {{ cat /run/why >&2; false; }}",
            self.query
        ))?;
        let [sent, lost, rate] = ["Queries sent:", "Queries lost:", "Queries per second:"]
            .map(|what| number(&said, what));
        Ok([rate?, lost? / sent?])
    }

    fn start(&self, host: &Host) -> anyhow::Result<Running> {
        let program = target().join("release/dnsalt").canonicalize()?;
        let running = host
            .command("sh")
            .args(["-c", self.line])
            .env("DNSALT", program)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        for _ in 0..100 {
            if host
                .sh("dig +short +tries=1 +time=1 @127.0.0.1 ns.t.example || true")?
                .contains("127.0.0.1\n")
            {
                return Ok(running);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        anyhow::bail!("{} does not answer; ./x bench serve installs it", self.name)
    }
}
