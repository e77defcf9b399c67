//! How much of each package its tests run, by the compiler's own counting: `cargo llvm-cov`.
//!
//! Processes that the tests start are counted too, but for those that are killed, or may write no files.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::step::{Step, root};

/// What the measurement leaves for whoever writes the figures down.
const FILE: &str = "target/coverage.json";

/// Lines that can be run, and those that were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lines {
    pub(crate) all: u64,
    pub(crate) run: u64,
}

impl Lines {
    pub(crate) fn percent(self) -> f64 {
        self.run as f64 * 100.0 / self.all.max(1) as f64
    }
}

pub(crate) fn run() -> anyhow::Result<()> {
    // Tests of time do not fail because the instrumented program is slower: they are counted all the same.
    let args = ["llvm-cov", "--workspace", "--locked", "--ignore-run-fail"];
    // Nor are the counts of one that was killed as it wrote them.
    let output = ["--failure-mode", "all", "--json", "--summary-only", "--output-path", FILE];
    Step::cargo(&[&args[..], &output].concat()).run()?;
    let measured = measured()?.context("nothing was measured")?;
    println!();
    for (package, lines) in &measured {
        println!("{package:<16} {:>6.1} % of {:>6} lines", lines.percent(), lines.all);
    }
    Ok(())
}

/// Lines of each package at the last measurement; none before the first.
pub(crate) fn measured() -> anyhow::Result<Option<BTreeMap<String, Lines>>> {
    let path = root().join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path).with_context(|| FILE.to_owned())?;
    by_package(&text).with_context(|| FILE.to_owned()).map(Some)
}

#[derive(Deserialize)]
struct Export {
    data: Vec<Data>,
}

#[derive(Deserialize)]
struct Data {
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    filename: PathBuf,
    summary: Summary,
}

#[derive(Deserialize)]
struct Summary {
    lines: Count,
}

#[derive(Deserialize)]
struct Count {
    count: u64,
    covered: u64,
}

/// Only what users get: neither tests, nor what developers run.
fn by_package(text: &str) -> anyhow::Result<BTreeMap<String, Lines>> {
    let export: Export = serde_json::from_str(text)?;
    let mut packages = BTreeMap::<String, Lines>::new();
    for file in export.data.into_iter().flat_map(|data| data.files) {
        let path = file.filename.to_string_lossy();
        let Some((_, inside)) = path.rsplit_once("/crates/") else { continue };
        let Some((package, within)) = inside.split_once('/') else { continue };
        if within.starts_with("src/") && !within.ends_with("tests.rs") {
            let lines = packages.entry(package.to_owned()).or_default();
            lines.all += file.summary.lines.count;
            lines.run += file.summary.lines.covered;
        }
    }
    ensure!(!packages.is_empty(), "no package in it");
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_summed_by_package_without_tests() {
        let file = |name: &str, count: u64, covered: u64| {
            format!(
                "{{\"filename\":\"/home/x/{name}\",\"summary\":{{\"lines\":{{\"count\":{count},\"covered\":{covered}}}}}}}"
            )
        };
        let files = [
            file("crates/dnsalt-wire/src/ip.rs", 100, 90),
            file("crates/dnsalt-wire/src/udp.rs", 100, 100),
            file("crates/dnsalt-wire/src/udp/tests.rs", 50, 50),
            file("crates/dnsalt-wire/tests/all.rs", 50, 50),
            file("xtask/src/main.rs", 50, 0),
        ];
        let text = format!("{{\"data\":[{{\"files\":[{}]}}]}}", files.join(","));
        let packages = by_package(&text).unwrap();
        assert_eq!(packages["dnsalt-wire"], Lines { all: 200, run: 190 });
        assert_eq!(packages.len(), 1);
        assert!((packages["dnsalt-wire"].percent() - 95.0).abs() < 1e-9);
        assert!(by_package("{\"data\":[]}").is_err());
    }
}
