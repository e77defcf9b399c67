//! What iptables says is there.

use dnsalt_policy::Family;

use crate::render::{CHAIN, TAG, iptables_removal};

/// The output of `iptables-save -c`.
pub(super) struct Saved {
    pub(super) text: String,
    /// Tables that iptables cannot show, and whether our chain is in them.
    pub(super) hidden: Vec<(&'static str, bool)>,
}

/// Whether iptables-nft does not show a table because nft put rules into it that it cannot read.
pub(super) fn is_hidden(saved: &str, table: &str) -> bool {
    saved.contains(&format!("Table `{table}' is incompatible"))
}

pub(super) fn nft_keyword(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

impl Saved {
    fn table(&self, table: &str) -> impl Iterator<Item = &str> {
        let start = format!("*{table}");
        self.text
            .lines()
            .skip_while(move |line| *line != start)
            .take_while(|line| *line != "COMMIT")
    }

    pub(super) fn exists(&self, table: &str) -> bool {
        self.table(table).next().is_some()
    }

    pub(super) fn has_ours(&self, table: &str) -> bool {
        self.ours_is_hidden_in(table)
            || self.table(table).any(|line| line.starts_with(&format!(":{CHAIN} ")))
    }

    pub(super) fn is_hidden(&self, table: &str) -> bool {
        self.hidden.iter().any(|(hidden, _)| *hidden == table)
    }

    fn ours_is_hidden_in(&self, table: &str) -> bool {
        self.hidden.iter().any(|(hidden, ours)| *hidden == table && *ours)
    }

    /// Exists, and has neither rules nor chains besides the built-in ones.
    pub(super) fn is_bare(&self, table: &str) -> bool {
        self.exists(table)
            && self
                .table(table)
                .skip(1)
                .all(|line| line.starts_with(':') && line.contains(" ACCEPT "))
    }

    /// What takes ours out of a table, as far as it is there: somebody may have flushed a part of it, and
    /// to remove what is not there is an error.
    pub(super) fn removal(&self, table: &str) -> String {
        let shown = !self.is_hidden(table);
        let is_there = |line: &&str| {
            let mut words = line.split(' ');
            let (option, chain) = (words.next(), words.next().unwrap_or_default());
            match option {
                Some("-D") => self.table(table).any(|line| is_jump(line, chain)),
                Some("-F" | "-X") => {
                    self.table(table).any(|line| line.starts_with(&format!(":{chain} ")))
                }
                _ => true,
            }
        };
        let text = iptables_removal(table);
        text.lines()
            .filter(|line| !shown || is_there(line))
            .map(|line| format!("{line}\n"))
            .collect()
    }

    /// The rules of our chains and the jumps to them.
    pub(super) fn ours(&self) -> Vec<&str> {
        let jump = format!("--comment {TAG} -j {CHAIN}");
        let ours = |line: &str| line.contains(&format!("-A {CHAIN}")) || line.ends_with(&jump);
        self.text.lines().filter(|line| ours(line)).collect()
    }
}

/// Whether a rule is our jump out of a built-in chain.
fn is_jump(line: &str, chain: &str) -> bool {
    line.contains(&format!("-A {chain} ")) && line.ends_with(&format!("--comment {TAG} -j {CHAIN}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_is_taken_out() {
        let text = "*nat\n:POSTROUTING ACCEPT [0:0]\n:DNSALT - [0:0]\nCOMMIT\n";
        let saved = Saved { text: text.to_owned(), hidden: Vec::new() };
        assert_eq!(saved.removal("nat"), "*nat\n-F DNSALT\n-X DNSALT\nCOMMIT\n");
        let jump = "[0:0] -A POSTROUTING ! -o lo -m comment --comment dnsalt -j DNSALT\nCOMMIT";
        let saved = Saved { text: text.replace("COMMIT", jump), hidden: Vec::new() };
        assert!(saved.removal("nat").contains("-D POSTROUTING "));
    }
}
