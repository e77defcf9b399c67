//! The report as text: a table for each resolver, then what was expected and did not come.

use dnsalt_audit::{grouped, time};
use dnsalt_lab::race::ScanEnd;

use super::{Race, Report};
use crate::output::{Tone, paint};

/// The whole report.
pub(crate) fn render(report: &Report) -> String {
    let mut text = String::new();
    let mut victim = "";
    for race in report.races.iter().filter(|race| race.told.is_none()) {
        if race.victim != victim {
            victim = race.victim;
            text += &format!("\n{}\n{HEADING}\n", paint(Tone::Strong, victim));
        }
        text += &row(race);
    }
    let measured: Vec<_> = report.races.iter().filter(|race| race.told.is_some()).collect();
    if !measured.is_empty() {
        text += &format!("\n{}\n{MEASURED}\n", paint(Tone::Strong, "Measured against the formula"));
        text += &measured.into_iter().map(measured_row).collect::<String>();
    }
    text += &notes(report);
    for skipped in &report.skipped {
        text += &format!("Not run: {}: {}\n", skipped.title, skipped.why);
    }
    text + &verdict(report)
}

const HEADING: &str = "\
Protection               Attack           Forged  Missed  ICMP  Poisoned  Even odds";
const MEASURED: &str = "\
Protection               Ports  IDs     Guesses  Won         Expected  Deviations";

fn row(race: &Race) -> String {
    let attacked = &race.raced.attacked;
    let (result, tone) = match &attacked.poisoned {
        Some(poisoned) => (time(poisoned.after), Tone::Bad),
        None => ("no".to_owned(), Tone::Good),
    };
    let missed = race.counted.and_then(|counted| counted.near_misses);
    format!(
        "{:<24} {:<12} {:>10}  {:>6}  {:>4}  {}  {}\n",
        race.protection,
        race.attack,
        grouped(attacked.forged as f64),
        missed.map_or("-".to_owned(), |missed| grouped(missed as f64)),
        race.raced.icmp_errors(),
        paint(tone, &format!("{result:<8}")),
        odds(race)
    )
}

/// When the chance is one half, by the formula; why not, if it says nothing.
pub(super) fn odds(race: &Race) -> String {
    let scan = race.raced.attacked.scan.as_ref().map(|scan| scan.end);
    match (scan, race.predicted.even_odds) {
        (Some(ScanEnd::NoSignal | ScanEnd::NoErrors), _) => "nothing seen".to_owned(),
        (Some(ScanEnd::NotFound), _) => "none found".to_owned(),
        (_, Some(seconds)) => time(seconds),
        (_, None) => "-".to_owned(),
    }
}

fn measured_row(race: &Race) -> String {
    let (attacked, predicted) = (&race.raced.attacked, &race.predicted);
    let deviations = race.deviations();
    let tone = if deviations.abs() <= 3.0 { Tone::Good } else { Tone::Bad };
    format!(
        "{:<24} {:>5}  {:>5}  {:>8}  {:<10}  {:>8.1}  {}\n",
        race.protection,
        predicted.ports,
        predicted.ids,
        grouped(predicted.guesses.round()),
        format!("{} of {}", attacked.hits, attacked.windows),
        attacked.windows as f64 * predicted.window,
        paint(tone, &format!("{deviations:+.1}")),
    )
}

fn notes(report: &Report) -> String {
    let mut text = String::from(
        "\nMissed: forged replies to the right port that dnsalt dropped. ICMP: errors that\n\
         tell which ports are closed. Even odds: when the attack, at the rate it had here,\n\
         has succeeded with a chance of one half (RFC 5452); where that is longer than it\n\
         ran, it is an extrapolation.\n",
    );
    let zones = report.races.iter().filter_map(|race| race.raced.attacked.poisoned.as_ref());
    if zones.clone().any(|poisoned| poisoned.whole_zone) {
        text += "The legacy resolver lost the whole zone with the first name.\n";
    }
    text
}

fn verdict(report: &Report) -> String {
    let all: Vec<_> = report
        .races
        .iter()
        .flat_map(|race| race.expectations.iter().map(move |expectation| (race, expectation)))
        .collect();
    let mut text = String::new();
    for (race, expectation) in all.iter().filter(|(_, expectation)| !expectation.met) {
        text += &format!(
            "{} {}\n    {}: {}\n",
            paint(Tone::Bad, "NOT AS EXPECTED"),
            race.title,
            expectation.what,
            expectation.seen
        );
    }
    match all.iter().filter(|(_, expectation)| !expectation.met).count() {
        0 if all.is_empty() => {}
        0 => text += &format!("\nAll {} as expected.\n", all.len()),
        some => text += &format!("\n{some} of {} NOT as expected.\n", all.len()),
    }
    text
}
