//! The table of docs/reference/assurance.md, anew: what tests and fuzzers say of themselves.
//!
//! A test that has a figure prints a line `figure: WHAT: NUMBER`.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context as _;

use crate::coverage;
use crate::fuzz;
use crate::step::{Step, root};

const PAGE: &str = "docs/reference/assurance.md";
const BEGIN: &str = "<!-- figures: cargo xtask assurance -->\n";
const END: &str = "<!-- end of figures -->\n";
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
    /// Faults of each engine that are injected; `all` takes most of an hour
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
    let mut table = "| what | how often |\n|---|---|\n".to_owned();
    for (what, number) in &figures {
        table += &format!("| {what} | {} |\n", grouped(*number));
    }
    table += "\n| fuzz target | executions without a finding that is left |\n|---|---|\n";
    let executed = fuzz::executed();
    for (target, number) in &executed {
        table += &format!("| `{target}` | {} |\n", grouped(*number));
    }
    table += &format!("| all | {} |\n", grouped(executed.values().sum()));
    if let Some(measured) = coverage::measured()? {
        table += "\n| package | lines that tests run |\n|---|---|\n";
        for (package, lines) in &measured {
            let all = grouped(lines.all);
            table += &format!("| `{package}` | {:.1} % of {all} |\n", lines.percent());
        }
    }
    let path = root().join(PAGE);
    let page = fs::read_to_string(&path).with_context(|| PAGE.to_owned())?;
    fs::write(&path, replaced(&page, &table).context("the page has no place for figures")?)?;
    println!("\nwrote {PAGE}");
    Ok(())
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
}
