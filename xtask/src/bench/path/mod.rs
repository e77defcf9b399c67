//! `bench path`: DNS through a gateway, with each protection in the path, in turns.
//!
//! ```text
//!   generator ── client ── gateway ── server ── responder
//!   (processor 0)            │                  (processor 1)
//!                   what is measured: rules, programs, a forwarder
//! ```
//!
//! For each shape of traffic, and each round, every contestant gets a network of its own, is asked as
//! fast as answers come, and then at half of that rate, where latency is measured.

mod contestants;
pub(super) mod dnsperf;
mod report;

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use dnsalt_lab::load::{Generator, Outcome, Path, Responder, Shape};

use crate::step::Step;
use contestants::Contestant;

/// Queries that wait at a time.
const WINDOW: usize = 512;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Rounds
    #[arg(long, default_value = "7")]
    rounds: usize,

    /// Seconds of each measurement at full speed; at half of it as many
    #[arg(long, default_value = "1")]
    seconds: f64,

    /// Shapes of traffic: fixed, sixteen, fresh, servers
    #[arg(long, value_delimiter = ',', default_value = "fixed,sixteen,fresh,servers")]
    shape: Vec<String>,

    /// Only these contestants, by their names
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,

    /// Also ask by dnsperf, from 16 sockets: what a generator of others says
    #[arg(long)]
    dnsperf: bool,
}

impl Options {
    fn wants(&self, contestant: Contestant) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == contestant.name())
    }
}

/// One measurement.
#[derive(Clone, Debug, Default)]
struct Measured {
    /// Exchanges a second at full speed.
    rate: f64,
    /// Seconds of all processors for a million of them.
    cpu: f64,
    /// Of what was sent at half of that rate, the share that got no answer.
    lost: f64,
    /// At half of that rate, in microseconds: in the middle, at 99 and at 99.9 of 100.
    latency: [f64; 3],
    /// Megabytes that it takes, if that can be told.
    memory: Option<f64>,
}

/// All rounds of a contestant with a shape.
struct Row {
    shape: Shape,
    contestant: Contestant,
    rounds: Vec<Measured>,
    /// Why it was not measured.
    why: Option<String>,
}

/// Runs the benchmark, prints a table, and writes JSON and a chart.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    dnsalt_lab::require_root().map_err(|why| anyhow::anyhow!("{why}"))?;
    if cfg!(debug_assertions) {
        // The generator is a part of what is measured.
        return again_in_release();
    }
    Step::cargo(&["build", "--release", "--locked", "--package", "dnsalt"]).run()?;
    let mut rows = rows(options)?;
    for round in 1..=options.rounds {
        for row in rows.iter_mut().filter(|row| row.why.is_none()) {
            match measure(row.contestant, row.shape, Duration::from_secs_f64(options.seconds)) {
                Ok(measured) => row.rounds.push(measured),
                Err(why) => row.why = Some(format!("{why:#}")),
            }
        }
        eprintln!("round {round} of {}", options.rounds);
    }
    let mut text = report::text(options, &rows);
    if options.dnsperf {
        text += &dnsperf::table(options)?;
    }
    print!("\n{text}");
    let folder = super::target().join("bench");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("path.json"), report::json(options, &rows)?)?;
    fs::write(folder.join("path.svg"), report::svg(&rows))?;
    println!("\nWritten: {}", folder.join("path.{json,svg}").display());
    let missing = rows.iter().filter(|row| row.why.is_some()).count();
    ensure!(missing == 0, "{missing} rows could not be measured; the table says why");
    Ok(())
}

fn again_in_release() -> anyhow::Result<()> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let run = ["run", "--release", "--locked", "--quiet", "--package", "xtask", "--"];
    Step::cargo(&[&run[..], &args.iter().map(String::as_str).collect::<Vec<_>>()].concat()).run()
}

fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for name in &options.shape {
        let shape = Shape::ALL.into_iter().find(|shape| shape.name() == name);
        let shape = shape.with_context(|| format!("there is no shape `{name}`"))?;
        for contestant in Contestant::ALL {
            if options.wants(contestant) {
                let why = contestant.missing();
                rows.push(Row { shape, contestant, rounds: Vec::new(), why });
            }
        }
    }
    let unknown = |name: &&String| Contestant::ALL.iter().all(|one| one.name() != name.as_str());
    if let Some(name) = options.only.iter().find(unknown) {
        let names: Vec<_> = Contestant::ALL.iter().map(|one| one.name()).collect();
        anyhow::bail!("there is no contestant `{name}`; there are: {}", names.join(", "));
    }
    Ok(rows)
}

fn measure(contestant: Contestant, shape: Shape, lasts: Duration) -> anyhow::Result<Measured> {
    let path = Path::new()?;
    let _responder = Responder::start(&path.server, 1)?;
    let mut running = contestant.start(&path)?;
    let mut generator = Generator::new(&path.client, shape, running.forwarder())?;
    // On a thread of its own, which stays on its processor; what is started later does not.
    let mut asked = |how: &mut (dyn FnMut(&mut Generator) -> std::io::Result<Outcome> + Send)| {
        std::thread::scope(|scope| scope.spawn(|| how(&mut generator)).join())
            .map_err(|_| anyhow::anyhow!("the generator panicked"))?
            .context("asking")
    };
    // Until a program answers, and once through all code paths.
    for attempt in 0.. {
        let outcome = asked(&mut |load| load.at_rate(1000.0, Duration::from_millis(200)))?;
        if outcome.answered > 0 {
            break;
        }
        ensure!(attempt < 20 && running.is_alive(), "it does not answer");
    }
    let before = busy()?;
    let fast = asked(&mut |load| load.as_fast_as_it_goes(WINDOW, lasts))?;
    let busy = busy()? - before;
    // Before it gives anything back.
    let memory = running.memory();
    let rate = fast.rate();
    let half = asked(&mut |load| load.at_rate(rate / 2.0, lasts))?;
    // Late answers of what was given up are no wrong ones of the path.
    let wrong = fast.wrong.saturating_sub(fast.lost) + half.wrong.saturating_sub(half.lost);
    ensure!(wrong == 0, "{wrong} answers were wrong");
    let latency = [0.5, 0.99, 0.999]
        .map(|share| half.percentile(share).map_or(0.0, |time| time.as_secs_f64() * 1e6));
    Ok(Measured {
        rate,
        cpu: busy / (fast.answered as f64 / 1e6),
        lost: half.lost as f64 / half.sent.max(1) as f64,
        latency,
        memory,
    })
}

/// Seconds that all processors of the machine have worked, interrupts included.
fn busy() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line.split_whitespace().skip(1).flat_map(str::parse).collect();
    ensure!(ticks.len() >= 7, "/proc/stat: {line}");
    // user, nice, system; idle and iowait not; irq, softirq. USER_HZ is 100.
    Ok([0, 1, 2, 5, 6].iter().map(|at| ticks[*at]).sum::<f64>() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_no_build_is_measured() {
        if let Err(why) = dnsalt_lab::require_root() {
            eprintln!("skipped: {why}");
            return;
        }
        for contestant in [Contestant::Plain, Contestant::Masquerade, Contestant::Dnsmasq] {
            if let Some(why) = contestant.missing() {
                eprintln!("skipped: {why}");
                continue;
            }
            let lasts = Duration::from_millis(300);
            let measured = measure(contestant, Shape::Sixteen, lasts).unwrap();
            assert!(measured.rate > 1000.0 && measured.cpu > 0.0, "{measured:?}");
            assert!(measured.latency[0] > 0.0 && measured.latency[2] >= measured.latency[0]);
        }
    }
}
