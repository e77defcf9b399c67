//! What came of the tests, read from the console of the guest.
//!
//! ```text
//!   dnsalt-kernel: 6.1.0-47-cloud-amd64
//!   running 11 tests ...                               the test harness
//!   test result: ok. 11 passed; 0 failed; ...
//!   dnsalt-ended: salting 0                            the code that it exited with
//! ```

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::name;
use crate::skips::Skips;

/// Read line by line.
#[derive(Debug, Default)]
pub(crate) struct Results {
    booted: bool,
    passed: usize,
    failed: usize,
    /// Names and exit codes of test programs.
    ended: Vec<(String, String)>,
    skips: Skips,
    pub(crate) timed_out: bool,
    /// KVM gave up: not on the kernel, but on what it runs on.
    pub(crate) broken: bool,
    pub(crate) took: Duration,
}

impl Results {
    /// Takes a line; whether it is to be shown.
    pub(crate) fn line(&mut self, line: &str) -> bool {
        let shown = self.skips.line(line);
        if line.starts_with("dnsalt-kernel: ") {
            self.booted = true;
        } else if let Some((name, code)) =
            line.strip_prefix("dnsalt-ended: ").and_then(|rest| rest.split_once(' '))
        {
            self.ended.push((name.to_owned(), code.to_owned()));
            return false;
        } else if let Some(rest) = line.strip_prefix("test result: ") {
            let count = |what| {
                let mut words = rest.split([' ', ';']).filter(|word| !word.is_empty());
                let mut before = "";
                words.find_map(|word| {
                    let found = (word == what).then(|| before.parse().ok()).flatten();
                    before = word;
                    found
                })
            };
            self.passed += count("passed").unwrap_or(0);
            self.failed += count("failed").unwrap_or(0);
        }
        // Firmware and loaders talk in escape sequences; that it ends is an emergency to the kernel.
        shown && self.booted && !line.ends_with("reboot: Restarting system")
    }

    /// Whether all programs ran to a good end.
    pub(crate) fn verdict(&self, programs: &[PathBuf]) -> Result<(), String> {
        if self.timed_out {
            return Err(format!("not done after {} seconds", self.took.as_secs()));
        }
        if self.broken {
            return Err("KVM does not work here".to_owned());
        }
        if !self.booted {
            return Err("it did not boot".to_owned());
        }
        if self.failed > 0 {
            return Err(format!("{} failed", self.failed));
        }
        let ended_well = |program: &&Path| {
            self.ended.iter().any(|(name_of, code)| *name_of == name(program) && code == "0")
        };
        if let Some(program) = programs.iter().map(PathBuf::as_path).find(|p| !ended_well(p)) {
            return Err(format!("{} did not end well", name(program)));
        }
        if self.passed == 0 {
            return Err("no test ran".to_owned());
        }
        Ok(())
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (passed, failed, took) = (self.passed, self.failed, self.took.as_secs());
        write!(f, "{passed} passed, {failed} failed, in {took} s")?;
        let skipped: Vec<String> = self.skips.clone().into_reasons().collect();
        if !skipped.is_empty() {
            write!(f, "; skipped: {}", skipped.join("; "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: &str = "\
\x1b[2J SeaBIOS
dnsalt-kernel: 6.1.0
test result: ok. 11 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out; finished in 9s
dnsalt-ended: salting 0";

    fn results(text: &str) -> (Results, Vec<&str>) {
        let mut results = Results::default();
        let shown = text.lines().filter(|line| results.line(line)).collect();
        (results, shown)
    }

    fn verdict(text: &str) -> Result<(), String> {
        results(text).0.verdict(&["/t/salting-0f".into()])
    }

    #[test]
    fn all_is_well() {
        let (results, shown) = results(FINE);
        assert_eq!(results.verdict(&["/t/salting-0f".into()]), Ok(()));
        assert_eq!(results.to_string(), "11 passed, 0 failed, in 0 s");
        assert_eq!(shown.len(), 2);
    }

    #[test]
    fn what_is_not_well_is_told() {
        assert!(verdict("").unwrap_err().contains("boot"));
        assert!(verdict("dnsalt-kernel: 6.1.0").unwrap_err().contains("salting"));
        assert!(verdict(&FINE.replace("0 failed", "3 failed")).unwrap_err().contains('3'));
        assert!(
            verdict(&FINE.replace("salting 0", "salting 101")).unwrap_err().contains("salting")
        );
        assert!(verdict(&FINE.replace("11 passed", "0 passed")).unwrap_err().contains("no test"));
        let mut late = results(FINE).0;
        late.timed_out = true;
        assert!(late.verdict(&[]).is_err());
    }
}
