//! nftables, through `nft`: one table of our own, one transaction for everything.

use dnsalt_policy::Policy;

use super::{Driver, DriverError, Installed};
use crate::command::{CommandError, run};
use crate::render::{TABLE, nft};

/// The driver for nftables.
#[derive(Clone, Copy, Debug)]
pub struct Nft;

impl Driver for Nft {
    fn name(&self) -> &'static str {
        "nft"
    }

    fn check(&self, policy: &Policy) -> Result<(), DriverError> {
        run("nft", &["--check", "--file", "-"], Some(&nft(policy)))?;
        Ok(())
    }

    fn installed(&self) -> Result<Option<Installed>, DriverError> {
        let listing = match run("nft", &["list", "table", "inet", "dnsalt"], None) {
            Err(error @ CommandError::Failed { .. }) if absent(error.stderr()) => return Ok(None),
            result => result?,
        };
        let (fingerprint, caught) = without_counters(&listing);
        Ok(Some(Installed { caught, fingerprint, missing: None }))
    }

    fn apply(&self, policy: &Policy) -> Result<(), DriverError> {
        // `nft` reads to the end before it commits, and a file cut short does not parse: should we
        // be killed while we write, nothing happens.
        run("nft", &["--file", "-"], Some(&nft(policy)))?;
        Ok(())
    }

    fn remove(&self) -> Result<(), DriverError> {
        // Made first, so that the deletion succeeds where there is none.
        run("nft", &["--file", "-"], Some(&format!("table {TABLE}\ndelete table {TABLE}\n")))?;
        Ok(())
    }
}

/// Whether `nft` says that there is no such table.
fn absent(stderr: &str) -> bool {
    stderr.contains("No such file or directory")
}

/// The listing with counters at 0, and the sum of their packets.
fn without_counters(listing: &str) -> (String, u64) {
    let mut text = String::with_capacity(listing.len());
    let mut caught = 0;
    let mut words = listing.split_inclusive(char::is_whitespace).peekable();
    while let Some(word) = words.next() {
        text.push_str(word);
        if matches!(word.trim_end(), "packets" | "bytes")
            && let Some(number) = words.peek()
            && let Ok(value) = number.trim_end().parse::<u64>()
        {
            if word.trim_end() == "packets" {
                caught = u64::saturating_add(caught, value);
            }
            words.next();
            text.push_str("0 ");
        }
    }
    (text, caught)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_and_blanked() {
        let listing = "udp dport 53 counter packets 12 bytes 900 goto ports\n\
                       tcp dport 53 counter packets 30 bytes 1 goto ports\n";
        let (text, caught) = without_counters(listing);
        assert_eq!(caught, 42);
        assert_eq!(text.matches("counter packets 0 bytes 0 goto ports").count(), 2);
        assert_eq!(without_counters(&text), (text.clone(), 0));
    }

    proptest::proptest! {
        #[test]
        fn listings_of_any_kind_are_read(text in "(counter |packets |bytes |[0-9]{0,30} |\"policy |\n|\\PC){0,40}") {
            let (blanked, _) = without_counters(&text);
            let (again, caught) = without_counters(&blanked);
            proptest::prop_assert_eq!(again, blanked);
            proptest::prop_assert_eq!(caught, 0);
        }
    }
}
