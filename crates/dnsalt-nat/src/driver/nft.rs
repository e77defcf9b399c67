//! nftables, through `nft`: one table of our own, one transaction for everything.

use dnsalt_policy::Policy;

use super::{Driver, DriverError, Installed, with_shield};
use crate::command::{CommandError, run};
use crate::render::{Shield, nft_shield, nft_with};

/// The driver for nftables.
#[derive(Clone, Copy, Debug)]
pub struct Nft;

impl Driver for Nft {
    fn name(&self) -> &'static str {
        "nft"
    }

    fn check(&self, policy: &Policy) -> Result<(), DriverError> {
        load(policy, &["--check", "--file", "-"])
    }

    fn installed(&self) -> Result<Option<Installed>, DriverError> {
        let Some(listing) = listing(OURS)? else { return Ok(None) };
        let Counted { fingerprint, caught, dropped } = without_counters(&listing);
        let shield = nft_shield(&listing);
        Ok(Some(Installed { caught, dropped, shield, fingerprint, missing: None }))
    }

    fn apply(&self, policy: &Policy) -> Result<(), DriverError> {
        // `nft` reads to the end before it commits, and a file cut short does not parse: should we
        // be killed while we write, nothing happens.
        load(policy, &["--file", "-"])
    }

    fn remove(&self) -> Result<(), DriverError> {
        run("nft", &["--file", "-"], Some(&deletion(OURS)))?;
        Ok(())
    }
}

/// Our table, of the family `inet`.
const OURS: &str = "dnsalt";

/// A table of the family `inet`, as `nft` lists it; none if it is not there.
pub(crate) fn listing(table: &str) -> Result<Option<String>, CommandError> {
    match run("nft", &["list", "table", "inet", table], None) {
        Err(error) if error.stderr().contains("No such file or directory") => Ok(None),
        listed => listed.map(Some),
    }
}

/// What deletes such a table. It is made first, so that this succeeds where there is none.
pub(crate) fn deletion(table: &str) -> String {
    format!("table inet {table}\ndelete table inet {table}\n")
}

fn load(policy: &Policy, args: &[&str]) -> Result<(), DriverError> {
    with_shield(Shield::wanted(policy), |shield| {
        run("nft", args, Some(&nft_with(policy, shield)))?;
        Ok(())
    })
}

/// A listing, and what its rules counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    /// The listing with counters at 0.
    fingerprint: String,
    /// Packets of rules that let go on.
    caught: u64,
    /// Packets of rules that drop.
    dropped: u64,
}

fn without_counters(listing: &str) -> Counted {
    let mut counted = Counted::default();
    for line in listing.split_inclusive('\n') {
        let drops = line.split_whitespace().any(|word| word == "drop");
        let sum = if drops { &mut counted.dropped } else { &mut counted.caught };
        let mut words = line.split_inclusive(char::is_whitespace).peekable();
        while let Some(word) = words.next() {
            counted.fingerprint.push_str(word);
            if matches!(word.trim_end(), "packets" | "bytes")
                && let Some(number) = words.peek()
                && let Ok(value) = number.trim_end().parse::<u64>()
            {
                if word.trim_end() == "packets" {
                    *sum = u64::saturating_add(*sum, value);
                }
                words.next();
                counted.fingerprint.push_str("0 ");
            }
        }
    }
    counted
}

/// What was blanked has nothing left to blank.
pub(super) fn read_any(listing: &str) {
    let blanked = without_counters(listing).fingerprint;
    let again = without_counters(&blanked);
    assert_eq!(again, Counted { fingerprint: blanked, ..Counted::default() });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_and_blanked() {
        let listing = "udp dport 53 counter packets 12 bytes 900 goto ports\n\
                       tcp dport 53 counter packets 30 bytes 1 goto ports\n\
                       udp dport 1024-65535 counter packets 7 bytes 1 drop\n";
        let counted = without_counters(listing);
        assert_eq!((counted.caught, counted.dropped), (42, 7));
        let text = counted.fingerprint;
        assert_eq!(text.matches("counter packets 0 bytes 0 goto ports\n").count(), 2);
        let again = Counted { fingerprint: text.clone(), ..Counted::default() };
        assert_eq!(without_counters(&text), again);
    }

    proptest::proptest! {
        #[test]
        fn listings_of_any_kind_are_read(text in "(counter |packets |bytes |[0-9]{0,30} |\"policy |drop|\n|\\PC){0,40}") {
            read_any(&text);
        }
    }
}
