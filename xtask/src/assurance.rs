//! The table of docs/reference/assurance.md, anew: what tests and fuzzers say of themselves.
//!
//! A test that has a figure prints a line `figure: WHAT: NUMBER`. Where this machine has not fuzzed, or not counted
//! lines, these tables stay as they are.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context as _;

use crate::coverage;
use crate::fuzz;
use crate::step::{Step, root};

const PAGE: &str = "docs/reference/assurance.md";
const BEGIN: &str = "<!-- figures: cargo xtask assurance -->\n";
const END: &str = "<!-- end of figures -->\n";
/// Heads of the tables.
const TESTED: &str = "| what | how often |";
const FUZZED: &str = "| fuzz target | executions without a finding that is left |";
const COVERED: &str = "| package | lines that tests run |";
/// Tests that have figures: package, test program.
const TESTS: [(&str, &str); 9] = [
    ("dnsalt", "faults"),
    ("dnsalt", "faults_agent"),
    ("dnsalt", "bad_input"),
    ("dnsalt", "run"),
    ("dnsalt-model", "host"),
    ("dnsalt-model", "kernel"),
    ("dnsalt-model", "races"),
    ("dnsalt-model", "sabotage"),
    ("dnsalt-model", "soak"),
];

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Faults of each engine that are injected; `all` takes some hours
    #[arg(long, value_name = "N", default_value = "400")]
    faults: String,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut figures = BTreeMap::<String, u64>::new();
    for (package, test) in TESTS {
        let args = [
            "test",
            "--locked",
            "--quiet",
            "--package",
            package,
            "--test",
            test,
            "--",
            "--nocapture",
        ];
        Step::cargo(&args).env("DNSALT_FAULTS", &options.faults).run_lines(|line| {
            if let Some((what, number)) = figure(line) {
                *figures.entry(what.to_owned()).or_default() += number;
            }
        })?;
    }
    let path = root().join(PAGE);
    let page = fs::read_to_string(&path).with_context(|| PAGE.to_owned())?;
    let rows = figures.iter().map(|(what, number)| (what.clone(), grouped(*number)));
    let tables = [
        table(TESTED, rows),
        anew_or_as_it_is(&page, FUZZED, fuzzed())?,
        anew_or_as_it_is(&page, COVERED, covered()?)?,
    ];
    let replaced =
        replaced(&page, &tables.join("\n")).context("the page has no place for figures")?;
    fs::write(&path, replaced)?;
    println!("\nwrote {PAGE}");
    Ok(())
}

/// What fuzz targets have executed on this machine, and together.
fn fuzzed() -> Vec<(String, String)> {
    let executed = fuzz::executed();
    let each = executed.iter().map(|(target, number)| (format!("`{target}`"), grouped(*number)));
    let all = ("all".to_owned(), grouped(executed.values().sum()));
    if executed.is_empty() { Vec::new() } else { each.chain([all]).collect() }
}

fn covered() -> anyhow::Result<Vec<(String, String)>> {
    let share =
        |lines: &coverage::Lines| format!("{:.1} % of {}", lines.percent(), grouped(lines.all));
    let measured = coverage::measured()?.unwrap_or_default();
    Ok(measured.iter().map(|(package, lines)| (format!("`{package}`"), share(lines))).collect())
}

fn anew_or_as_it_is(page: &str, head: &str, rows: Vec<(String, String)>) -> anyhow::Result<String> {
    if !rows.is_empty() {
        return Ok(table(head, rows));
    }
    let found = page.split("\n\n").find(|part| part.starts_with(head));
    Ok(found.with_context(|| format!("{PAGE} has no table {head}"))?.to_owned() + "\n")
}

fn table(head: &str, rows: impl IntoIterator<Item = (String, String)>) -> String {
    let rows = rows.into_iter().map(|(what, number)| format!("| {what} | {number} |\n"));
    format!("{head}\n|---|---|\n{}", rows.collect::<String>())
}

/// Of a line of a test; what stands before it is the test harness's.
fn figure(line: &str) -> Option<(&str, u64)> {
    let (what, number) = line.split_once("figure: ")?.1.rsplit_once(": ")?;
    Some((what, number.trim().parse().ok()?))
}

fn replaced(page: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

/// With a comma after each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_and_written() {
        assert_eq!(figure(".figure: queries, lost: 12"), Some(("queries, lost", 12)));
        assert_eq!(figure("figure: nothing"), None);
        assert_eq!(["7", "1,000", "12,345,678"], [7, 1000, 12_345_678].map(grouped));
        let page = format!("a\n{BEGIN}old\n{END}b\n");
        assert_eq!(replaced(&page, "new\n").unwrap(), format!("a\n{BEGIN}\nnew\n\n{END}b\n"));
        assert_eq!(replaced("a", "b"), None);
    }

    #[test]
    fn a_table_that_was_not_measured_stays() {
        let [old, new] = [7, 8].map(|n| table(FUZZED, [("`states`".to_owned(), grouped(n))]));
        let page = format!("{BEGIN}\n{}\n{old}\n{END}", table(TESTED, []));
        assert_eq!(anew_or_as_it_is(&page, FUZZED, Vec::new()).unwrap(), old);
        let rows = vec![("`states`".to_owned(), grouped(8))];
        assert_eq!(anew_or_as_it_is(&page, FUZZED, rows).unwrap(), new);
        assert!(anew_or_as_it_is(&page, COVERED, Vec::new()).is_err());
    }
}
