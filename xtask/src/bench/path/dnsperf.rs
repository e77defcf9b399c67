//! The same by dnsperf, whose numbers are not ours: from sockets of UDP, 16 of them.

use anyhow::{Context as _, ensure};
use dnsalt_lab::load::{Path, Responder, SERVERS};

use super::Options;
use super::contestants::Contestant;
use crate::bench::contest::median;
use crate::step::Step;

/// Queries a second of each contestant, in rounds.
pub(super) fn table(options: &Options) -> anyhow::Result<String> {
    let there = Step::program("sh", &["-c", "command -v dnsperf"]).works();
    ensure!(there, "dnsperf is missing: ./x bench path installs it");
    let contestants: Vec<_> = Contestant::ALL
        .into_iter()
        .filter(|one| options.wants(*one) && !one.forwards() && one.missing().is_none())
        .collect();
    let mut rates = vec![Vec::new(); contestants.len()];
    for _ in 0..options.rounds {
        for (contestant, rates) in contestants.iter().zip(&mut rates) {
            rates.push(ask(*contestant, options.seconds)?);
        }
    }
    let mut text = format!("\n{:<14} {:>19}\n", "by dnsperf", "1000 queries/s");
    for (contestant, mut rates) in contestants.iter().zip(rates) {
        rates.sort_unstable_by(f64::total_cmp);
        let middle = median(&rates).unwrap_or(f64::NAN) / 1000.0;
        let [least, most] = [rates[0], rates[rates.len() - 1]].map(|rate| rate / 1000.0);
        let speed = format!("{middle:.1}, {least:.0}-{most:.0}");
        text += &format!("{:<14} {speed:>19}\n", contestant.name());
    }
    Ok(text)
}

fn ask(contestant: Contestant, seconds: f64) -> anyhow::Result<f64> {
    let path = Path::new()?;
    let _responder = Responder::start(&path.server, 1)?;
    let _running = contestant.start(&path)?;
    // Names as the responder knows them.
    let line = format!(
        "i=0; while [ $i -lt 50000 ]; do printf '%08x.bench.example A\\n' $i; i=$((i+1)); done > /run/names
         dnsperf -s {SERVERS} -d /run/names -c 16 -T 1 -q 512 -l {} 2> /run/why || {{ cat /run/why >&2; false; }}",
        seconds.ceil()
    );
    let said = path.client.sh(&line)?;
    number(&said, "Queries per second:")
}

/// A number that dnsperf said.
pub(in crate::bench) fn number(said: &str, what: &str) -> anyhow::Result<f64> {
    let rest = said.lines().find_map(|line| line.trim().strip_prefix(what));
    let word = rest.and_then(|rest| rest.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).with_context(|| format!("dnsperf said: {said}"))
}
