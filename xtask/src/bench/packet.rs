//! `bench packet`: the programs of the salt engine, packet by packet, by `BPF_PROG_TEST_RUN`.
//!
//! A query and its reply alternate, as state goes from one to the other: each is run once, and what that
//! takes is compared with a program that does nothing, run in the same way right after.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use dnsalt_bpf::{Trial, Way, verified};
use dnsalt_lab::load::{Tag, query, reply, tag};
use dnsalt_policy::{Case, Defaults, Policy, Settings};
use serde_json::json;

use super::contest::median;
use super::{machine, target};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Rounds
    #[arg(long, default_value = "7")]
    rounds: usize,

    /// Packets of each kind in a round
    #[arg(long, default_value = "20000")]
    packets: u32,
}

/// An Ethernet header before IPv4.
const ETHERNET: [u8; 14] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
/// Go on, and drop.
const PASS: i32 = -1;
const DROP: i32 = 2;
/// 198.51.100.7 asks 203.0.113.9.
const CLIENT: u32 = 0xc633_6407;
const SERVER: u32 = 0xcb00_7109;

/// What is measured: its name, the settings of the policy, the share of slots that are taken.
const CASES: [(&str, &str, f64); 11] = [
    ("port and ID", "", 0.0),
    ("half of the slots taken", "", 0.5),
    ("nine of ten taken", "", 0.9),
    ("scope: from, to", "from = ['198.51.100.0/24']\nto = ['203.0.113.0/24']", 0.0),
    ("fragments = drop", "fragments = 'drop'", 0.0),
    ("no cap on equal ones", "max-identical = 0", 0.0),
    ("letter case", "case = 'on'", 0.0),
    ("source address of 16", "source = '192.0.2.16/28'", 0.0),
    ("cookies", "cookies = 'on'", 0.0),
    (
        "everything",
        "case = 'on'\ncookies = 'on'\nfragments = 'drop'\nfrom = ['198.51.100.0/24']",
        0.0,
    ),
    ("256 ports, all in the cache", "ports = '20000-20255'", 0.0),
];

/// Near misses would begin one.
const NO_LOCKDOWN: &str = "lockdown-after = 0\nlockdown-unsolicited = 0";

/// Nanoseconds by what was measured, one number for each round.
type Times = BTreeMap<(usize, &'static str), Vec<f64>>;

/// Runs the benchmark, prints a table, and writes JSON.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    dnsalt_lab::require_root().map_err(|why| anyhow::anyhow!("{why}"))?;
    let mut times = Times::new();
    for round in 1..=options.rounds {
        for (index, (_, settings, share)) in CASES.iter().enumerate() {
            let mut trial = Trial::new(&policy(settings)?)?;
            trial.occupy(*share)?;
            let mut add = |name, value| times.entry((index, name)).or_default().push(value);
            let [out, inward] = exchanges(&mut trial, options.packets)?;
            add("query", out);
            add("reply", inward);
            if index == 0 {
                let mut open = Trial::new(&policy(NO_LOCKDOWN)?)?;
                add("near miss", near_misses(&mut open, options.packets)?);
                for (name, value) in others(&mut trial, options.packets)? {
                    add(name, value);
                }
            }
        }
        eprintln!("round {round} of {}", options.rounds);
    }
    let verified = verified()?;
    print!("\n{}", text(options, &times, &verified));
    let folder = target().join("bench");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("packet.json"), json(&times, &verified)?)?;
    println!("\nWritten: {}", folder.join("packet.json").display());
    Ok(())
}

fn policy(settings: &str) -> anyhow::Result<Policy> {
    let settings: Settings = toml::from_str(settings)?;
    let settings = settings.or(Settings { case: Some(Case::Off), ..Settings::default() });
    Ok(settings.complete(&Defaults { reserved: Vec::new() }).resolve()?)
}

fn framed(packet: &[u8]) -> Vec<u8> {
    [&ETHERNET, packet].concat()
}

fn asked(number: u32) -> Vec<u8> {
    framed(&query(Tag { number, client: CLIENT, server: SERVER, port: 44444, id: 7 }))
}

/// A program's nanoseconds for each packet; as a rule more than those of the one that does nothing.
struct Clock {
    with: Vec<f64>,
    without: Vec<f64>,
}

impl Clock {
    fn new() -> Self {
        Clock { with: Vec::new(), without: Vec::new() }
    }

    /// Shows a packet once to the program, and to the one that does nothing.
    fn show(
        &mut self,
        trial: &mut Trial,
        way: Way,
        packet: &[u8],
    ) -> anyhow::Result<dnsalt_bpf::Ran> {
        let ran = trial.run(way, packet, 1)?;
        self.with.push(ran.took.as_secs_f64() * 1e9);
        let nothing = trial.run(Way::Nothing, packet, 1)?;
        self.without.push(nothing.took.as_secs_f64() * 1e9);
        Ok(ran)
    }

    fn difference(mut self) -> f64 {
        let middle = |times: &mut Vec<f64>| {
            times.sort_unstable_by(f64::total_cmp);
            median(times).unwrap_or(f64::NAN)
        };
        middle(&mut self.with) - middle(&mut self.without)
    }
}

/// Queries, and the right reply to each.
fn exchanges(trial: &mut Trial, packets: u32) -> anyhow::Result<[f64; 2]> {
    let [mut out, mut inward] = [Clock::new(), Clock::new()];
    for number in 0..packets {
        let sent = out.show(trial, Way::Out, &asked(number))?;
        ensure!(sent.verdict == PASS, "a query did not leave: {}", sent.verdict);
        let answer = reply(&sent.packet[14..]).context("what left is no query")?;
        let got = inward.show(trial, Way::In, &framed(&answer))?;
        let seen = tag(&got.packet[14..]);
        let right = seen.is_some_and(|tag| {
            (tag.client, tag.port, tag.id, tag.number) == (CLIENT, 44444, 7, number)
        });
        ensure!(got.verdict == PASS && right, "a reply did not come in right: {seen:?}");
    }
    Ok([out.difference(), inward.difference()])
}

/// What is no exchange.
fn others(trial: &mut Trial, packets: u32) -> anyhow::Result<Vec<(&'static str, f64)>> {
    let mut result = Vec::new();
    let mut many = |name, way, packet: &[u8], verdict| -> anyhow::Result<()> {
        let mut clock = Clock::new();
        for _ in 0..packets {
            let ran = clock.show(trial, way, packet)?;
            ensure!(ran.verdict == verdict, "{name}: {} instead of {verdict}", ran.verdict);
        }
        result.push((name, clock.difference()));
        Ok(())
    };
    let mut web = asked(1);
    // TCP to port 443.
    web[23] = 6;
    web[36..38].copy_from_slice(&443_u16.to_be_bytes());
    many("other traffic out", Way::Out, &web, PASS)?;
    many("other traffic in", Way::In, &web, PASS)?;
    let again = asked(u32::MAX);
    many("retransmission", Way::Out, &again, PASS)?;
    // Each to another port, as whoever guesses sends them.
    let Some(mut unasked) = reply(&asked(2)[14..]) else { bail!("no reply") };
    let (mut clock, mut port) = (Clock::new(), 0_u16);
    for _ in 0..packets {
        port = port.wrapping_mul(25173).wrapping_add(13849);
        unasked[22..24].copy_from_slice(&port.max(1024).to_be_bytes());
        let ran = clock.show(trial, Way::In, &framed(&unasked))?;
        ensure!(ran.verdict == DROP, "an unsolicited reply came in");
    }
    result.push(("unsolicited reply", clock.difference()));
    Ok(result)
}

/// Replies with another ID, each to a query that waits.
fn near_misses(trial: &mut Trial, packets: u32) -> anyhow::Result<f64> {
    let mut clock = Clock::new();
    for number in 0..packets {
        let sent = trial.run(Way::Out, &asked(number), 1)?;
        let mut answer = reply(&sent.packet[14..]).context("what left is no query")?;
        // The sum is not looked at.
        answer[28] ^= 1;
        let ran = clock.show(trial, Way::In, &framed(&answer))?;
        ensure!(ran.verdict == DROP, "a near miss came in");
    }
    Ok(clock.difference())
}

fn text(options: &Options, times: &Times, verified: &[(&str, u32)]) -> String {
    let value = |index, name| {
        let mut all = times.get(&(index, name)).cloned().unwrap_or_default();
        all.sort_unstable_by(f64::total_cmp);
        (median(&all).unwrap_or(f64::NAN), all)
    };
    let mut text = format!(
        "{}\n{} rounds of {} packets of each kind. Again: ./x bench packet\n\n\
         Nanoseconds more than a program of tc that does nothing\n\n{:<26} {:>6} {:>6} {:>6}\n",
        machine(),
        options.rounds,
        options.packets,
        "",
        "query",
        "reply",
        "both"
    );
    for (index, (name, ..)) in CASES.iter().enumerate() {
        let [out, inward] = ["query", "reply"].map(|what| value(index, what).0);
        text += &format!("{name:<26} {out:>6.0} {inward:>6.0} {:>6.0}\n", out + inward);
    }
    text += "\n";
    let names = [
        "other traffic out",
        "other traffic in",
        "retransmission",
        "unsolicited reply",
        "near miss",
    ];
    for name in names {
        let (middle, all) = value(0, name);
        let [least, most] = [all.first(), all.last()].map(|one| one.copied().unwrap_or(f64::NAN));
        text += &format!("{name:<26} {middle:>6.0}   {least:.0} to {most:.0}\n");
    }
    text += "\nInstructions that the verifier followed\n";
    for (name, count) in verified {
        text += &format!("{name:<26} {count:>6}\n");
    }
    let both = value(0, "query").0 + value(0, "reply").0;
    text += "\n";
    for (what, value, goal) in [
        ("query and reply, port and ID", both, 150.0),
        ("unsolicited reply", value(0, "unsolicited reply").0, 60.0),
        ("near miss", value(0, "near miss").0, 60.0),
    ] {
        let word = if value <= goal { "reached" } else { "missed" };
        text += &format!("{what:<30} {value:>6.0} ns   wanted <= {goal} {word}\n");
    }
    let full = (value(1, "query").0 + value(1, "reply").0) / both;
    let word = if full <= 1.3 { "reached" } else { "missed" };
    text + &format!("{:<30} {full:>6.2}      wanted <= 1.3 {word}\n", "262,144 outstanding / none")
}

fn json(times: &Times, verified: &[(&str, u32)]) -> anyhow::Result<String> {
    let rows: Vec<_> = times
        .iter()
        .map(|((index, what), all)| {
            json!({ "case": CASES[*index].0, "what": what, "nanoseconds": all })
        })
        .collect();
    let verified: BTreeMap<_, _> = verified.iter().copied().collect();
    let all = json!({ "machine": machine(), "rows": rows, "verified_instructions": verified });
    Ok(serde_json::to_string_pretty(&all)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_goes_through_the_programs() {
        if let Err(why) = dnsalt_lab::require_root() {
            eprintln!("skipped: {why}");
            return;
        }
        let mut trial = Trial::new(&policy("").unwrap()).unwrap();
        trial.occupy(0.5).unwrap();
        exchanges(&mut trial, 20).unwrap();
        assert_eq!(others(&mut trial, 20).unwrap().len(), 4);
        near_misses(&mut Trial::new(&policy(NO_LOCKDOWN).unwrap()).unwrap(), 20).unwrap();
        assert!(verified().unwrap().iter().all(|(_, count)| *count > 1000));
    }
}
