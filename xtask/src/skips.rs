//! Tests that were skipped: finds them in what `cargo test -- --show-output` prints.
//!
//! A test that cannot run here prints `skipped: REASON` and passes. The test harness keeps to itself
//! what a passing test prints, unless it is asked for:
//!
//! ```text
//!   running 2 tests
//!   test a ... ok
//!   test b ... ok
//!   (empty)
//!   successes:                      ┐
//!   (empty)                         │ `--show-output` adds this:
//!   ---- a stdout ----              │ read here, not passed on
//!   skipped: not installed: nmap    │
//!   (empty)                         │
//!   successes:                      │
//!       a                           │
//!       b                           ┘
//!   test result: ok. 2 passed; 0 failed; ...
//! ```

use std::collections::BTreeMap;

/// Reads the output of the test harness line by line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Skips {
    /// How many tests gave each reason.
    reasons: BTreeMap<String, usize>,
    in_successes: bool,
}

impl Skips {
    /// Takes a line; whether it is to be shown.
    pub(crate) fn line(&mut self, line: &str) -> bool {
        match line {
            "successes:" => self.in_successes = true,
            "failures:" => self.in_successes = false,
            _ if line.starts_with("test result: ") => self.in_successes = false,
            _ => {}
        }
        if self.in_successes
            && let Some(reason) = line.strip_prefix("skipped: ")
        {
            *self.reasons.entry(reason.to_owned()).or_default() += 1;
        }
        !self.in_successes
    }

    /// `3 tests (not installed: nmap)`, one for each reason.
    pub(crate) fn into_reasons(self) -> impl Iterator<Item = String> {
        let shown = |(reason, count)| match count {
            1 => format!("1 test ({reason})"),
            many => format!("{many} tests ({reason})"),
        };
        self.reasons.into_iter().map(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
running 3 tests
test a ... ok
test b ... ok
test c ... FAILED

successes:

---- a stdout ----
skipped: needs root
---- b stdout ----
skipped: needs root

successes:
    a
    b

failures:

---- c stdout ----
skipped: said by a test that failed

failures:
    c

test result: FAILED. 2 passed; 1 failed

running 1 test
test d ... ok

successes:

---- d stdout ----
chatter
skipped: not installed: nmap

successes:
    d

test result: ok. 1 passed
";

    #[test]
    fn skipped_tests_are_counted_by_reason() {
        let mut skips = Skips::default();
        OUTPUT.lines().for_each(|line| {
            skips.line(line);
        });
        let reasons: Vec<_> = skips.into_reasons().collect();
        assert_eq!(reasons, ["2 tests (needs root)", "1 test (not installed: nmap)"]);
    }

    #[test]
    fn only_the_output_of_passing_tests_is_held_back() {
        let mut skips = Skips::default();
        let shown: Vec<_> = OUTPUT.lines().filter(|line| skips.line(line)).collect();
        assert!(shown.contains(&"skipped: said by a test that failed"));
        assert!(shown.contains(&"test result: ok. 1 passed"));
        assert!(!shown.contains(&"chatter"));
        assert!(!shown.contains(&"skipped: needs root"));
    }
}
