//! iptables, both variants, through `iptables-restore`: chains of our own, found by their name,
//! and a jump into them from the built-in chains, found by its comment.
//!
//! Two families are two commands, each a transaction for each table. They run one after the other
//! in one shell: when we are killed in between, the shell still ends what it began, and when the
//! second one refuses, it takes the first one back.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use dnsalt_policy::{Family, Policy};

use super::saved::{Saved, is_hidden, nft_keyword};
use super::{Driver, DriverError, Installed, with_shield};
use crate::command::{exists, found, run};
use crate::conntrack::{remove_timeout_policy, set_timeout_policy};
use crate::render::{
    CHAIN, Shield, iptables_removal, iptables_shield, iptables_with, timeout_policy,
};

/// Which of the two programs that are called iptables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flavour {
    /// What `iptables` is on this machine.
    #[default]
    Default,
    /// The one that writes nftables.
    Nft,
    /// The old one.
    Legacy,
}

/// The driver for iptables.
#[derive(Clone, Debug)]
pub struct Iptables {
    flavour: Flavour,
    folder: PathBuf,
}

/// In the order in which rules go in, and out again.
const TABLES: [&str; 3] = ["raw", "mangle", "nat"];

impl Iptables {
    /// `folder` is where the rules are written for the commands to read.
    pub fn new(flavour: Flavour, folder: &Path) -> Self {
        Self { flavour, folder: folder.to_owned() }
    }

    /// Whether there is an iptables at all.
    pub fn is_there() -> bool {
        exists("iptables-restore")
    }

    fn program(&self, family: Family, what: &str) -> String {
        let six = if family == Family::V6 { "6" } else { "" };
        let flavour = match self.flavour {
            Flavour::Default => "",
            Flavour::Nft => "-nft",
            Flavour::Legacy => "-legacy",
        };
        format!("ip{six}tables{flavour}{what}")
    }

    /// The families that this machine has: IPv6 may be switched off.
    fn families(&self) -> Vec<Family> {
        let there = |family: &Family| match family {
            Family::V4 => true,
            Family::V6 => {
                Path::new("/proc/thread-self/net/if_inet6").exists()
                    && exists(&self.program(*family, "-restore"))
            }
        };
        Family::BOTH.into_iter().filter(there).collect()
    }

    /// All tables of a family that exist; asking makes none.
    fn save(&self, family: Family) -> Result<Saved, DriverError> {
        let text = run(&self.program(family, "-save"), &["-c"], None)?;
        let mut hidden = Vec::new();
        for table in TABLES.into_iter().filter(|table| is_hidden(&text, table)) {
            // Only looked at, to see whether our chain is there: nobody else can show it.
            let listing = run("nft", &["list", "table", nft_keyword(family), table], None)?;
            hidden.push((table, listing.contains(&format!("chain {CHAIN} {{"))));
        }
        Ok(Saved { text, hidden })
    }

    fn save_all(&self) -> Result<Vec<(Family, Saved)>, DriverError> {
        self.families().into_iter().map(|family| Ok((family, self.save(family)?))).collect()
    }

    /// The rules for one family as they have to be loaded on top of what is there.
    fn transaction(policy: &Policy, shield: Shield, saved: &Saved) -> Result<String, DriverError> {
        let mut text = String::new();
        let rules = iptables_with(policy, shield)?;
        for table in TABLES {
            let wanted = rules.contains(&format!("*{table}\n"));
            if saved.has_ours(table) && !wanted {
                text += &saved.removal(table);
            }
        }
        for line in rules.lines() {
            let _ = writeln!(text, "{line}");
            if let Some(table) = line.strip_prefix('*')
                && saved.has_ours(table)
            {
                // The jumps are there already: out and in again, in the same transaction.
                for line in saved.removal(table).lines().filter(|line| line.starts_with("-D")) {
                    let _ = writeln!(text, "{line}");
                }
            }
        }
        Ok(text)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), DriverError> {
        let path = self.folder.join(name);
        std::fs::create_dir_all(&self.folder)
            .and_then(|()| std::fs::write(&path, text))
            .map_err(|cause| DriverError::File { path: path.display().to_string(), cause })
    }

    /// Loads a text for each family, with the text that takes it back; if one is refused, it and
    /// those before it are taken back. By one shell, which ends what it began also if we are killed.
    fn load(&self, texts: &[(Family, String, String)]) -> Result<(), DriverError> {
        let mut script = String::from("cd \"$1\" || exit 1\n");
        let mut undo_before = String::from(":");
        for (family, forward, back) in texts {
            let version = if *family == Family::V6 { 6 } else { 4 };
            self.write(&format!("rules.v{version}"), forward)?;
            self.write(&format!("undo.v{version}"), back)?;
            let restore =
                format!("{} -w 10 --noflush", quoted(&self.program(*family, "-restore"))?);
            // The tables of one text are committed one by one: of a text that is refused the first
            // may be in already, and goes with those before it.
            let undo = format!("undo_{version}");
            let _ = writeln!(
                script,
                "{undo}() {{ {restore} undo.v{version} 2>/dev/null; {undo_before}; }}\n\
                 {restore} rules.v{version} || {{ {undo}; exit 1; }}"
            );
            undo_before = undo;
        }
        let folder = self.folder.to_string_lossy();
        run("sh", &["-c", &script, "sh", &folder], None)?;
        Ok(())
    }

    /// Writes down which tables are not there before us, besides those of an earlier run.
    fn remember_tables(&self, saved: &[(Family, Saved)]) -> Result<(), DriverError> {
        let mut made = std::fs::read_to_string(self.made_by_us()).unwrap_or_default();
        for (family, saved) in saved {
            for table in TABLES.iter().filter(|table| !saved.exists(table)) {
                let line = format!("{family} {table}");
                if !made.lines().any(|known| known == line) {
                    made += &format!("{line}\n");
                }
            }
        }
        self.write("tables-made", &made)
    }

    /// Removes tables that were not there before us and hold nothing, as far as iptables lets us.
    fn forget_tables(&self, family: Family, made: &[&str]) -> Result<(), DriverError> {
        let saved = self.save(family)?;
        for table in made.iter().filter(|table| saved.is_bare(table)) {
            // iptables-nft takes the built-in chains of an empty table away with this; the old
            // variant cannot, and an empty table does no harm there.
            let _ = run(&self.program(family, ""), &["-w", "10", "-t", table, "-X"], None);
            let nft_family = nft_keyword(family);
            let listing = run("nft", &["list", "table", nft_family, table], None);
            if listing.is_ok_and(|text| text == format!("table {nft_family} {table} {{\n}}\n")) {
                run("nft", &["delete", "table", nft_family, table], None)?;
            }
        }
        Ok(())
    }

    fn made_by_us(&self) -> PathBuf {
        self.folder.join("tables-made")
    }
}

impl Driver for Iptables {
    fn name(&self) -> &'static str {
        match self.flavour {
            Flavour::Default => "iptables",
            Flavour::Nft => "iptables-nft",
            Flavour::Legacy => "iptables-legacy",
        }
    }

    fn check(&self, policy: &Policy) -> Result<(), DriverError> {
        let saved = self.save_all()?;
        for (family, saved) in &saved {
            let needed = |(table, _): &&(&'static str, bool)| *table != "mangle";
            if let Some((table, _)) = saved.hidden.iter().find(needed) {
                return Err(DriverError::Hidden { table, family: *family });
            }
        }
        with_shield(most(policy, &saved), |shield| {
            for (family, saved) in &saved {
                let text = Self::transaction(policy, shield, saved)?;
                let restore = self.program(*family, "-restore");
                run(&restore, &["-w", "10", "--noflush", "--test"], Some(&text))?;
            }
            Ok(())
        })
    }

    fn installed(&self) -> Result<Option<Installed>, DriverError> {
        let mut all = String::new();
        let mut missing = None;
        let (mut caught, mut dropped, mut shield) = (0, 0, Shield::Whole);
        let mut found = false;
        for (family, saved) in self.save_all()? {
            if saved.has_ours("nat") {
                found = true;
            } else if found || TABLES.iter().any(|table| saved.has_ours(table)) {
                missing = Some(format!("the {family} rules of the nat table"));
            }
            let ours = saved.ours();
            caught += counted(&ours, |rule| rule.contains("\"policy "));
            dropped += counted(&ours, |rule| rule.ends_with("-j DROP"));
            // A family that has no rules has no shield, either, and needs none.
            if ours.iter().any(|line| line.contains("\"policy ")) {
                shield = shield.min(iptables_shield(&ours.join("\n")));
            }
            let _ = writeln!(all, "{family}");
            for line in ours {
                let _ = writeln!(all, "{}", line.split_once("] ").map_or(line, |(_, rule)| rule));
            }
        }
        if !found && missing.is_none() {
            return Ok(None);
        }
        Ok(Some(Installed { caught, dropped, shield, fingerprint: all, missing }))
    }

    fn apply(&self, policy: &Policy) -> Result<(), DriverError> {
        if let Some(timeout) = policy.udp_timeout() {
            for family in policy.families() {
                set_timeout_policy(timeout_policy(family), family, timeout)?;
            }
        }
        let saved = self.save_all()?;
        self.remember_tables(&saved)?;
        with_shield(most(policy, &saved), |shield| {
            // Anew each time: what was refused may have gone in as far as the table before.
            let saved = self.save_all()?;
            let texts: Result<Vec<_>, DriverError> = saved
                .iter()
                .map(|(family, saved)| {
                    let forward = Self::transaction(policy, shield, saved)?;
                    let back = way_back(saved, &forward);
                    Ok((*family, forward, back))
                })
                .collect();
            self.load(&texts?)
        })
    }

    fn remove(&self) -> Result<(), DriverError> {
        let mut texts = Vec::new();
        for family in self.families() {
            let saved = self.save(family)?;
            let ours: String = TABLES
                .iter()
                .filter(|table| saved.has_ours(table))
                .map(|table| saved.removal(table))
                .collect();
            if !ours.is_empty() {
                texts.push((family, ours, String::new()));
            }
        }
        self.load(&texts)?;
        let made = std::fs::read_to_string(self.made_by_us()).unwrap_or_default();
        for family in self.families() {
            let made: Vec<&str> =
                made.lines().filter_map(|line| line.strip_prefix(&format!("{family} "))).collect();
            self.forget_tables(family, &made)?;
            remove_timeout_policy(timeout_policy(family), family)?;
        }
        let _ = std::fs::remove_file(self.made_by_us());
        Ok(())
    }
}

/// A command as a word of the shell, by its whole path: it has no PATH to look into.
fn quoted(program: &str) -> Result<String, DriverError> {
    let path = found(program)?;
    Ok(format!("'{}'", path.to_string_lossy().replace('\'', "'\\''")))
}

/// What is ours in any text, as if iptables-save said it.
pub(super) fn read_any(text: &str) {
    let saved = Saved { text: text.to_owned(), hidden: Vec::new() };
    for table in TABLES {
        let _ = (saved.exists(table), saved.is_bare(table));
        if saved.has_ours(table) {
            // Nothing is taken out but what is ours.
            assert!(
                saved
                    .removal(table)
                    .lines()
                    .all(|line| line.starts_with('*') || line == "COMMIT" || line.contains(CHAIN))
            );
        }
    }
    let ours = saved.ours();
    let _ = counted(&ours, |rule| rule.contains("\"policy "));
    let _ = iptables_shield(&ours.join("\n"));
}

/// The packets that rules of a kind counted: `[12:900] -A DNSALT ... --comment "policy ..."`.
fn counted(rules: &[&str], kind: impl Fn(&str) -> bool) -> u64 {
    let packets = |line: &&str| {
        let (counters, rule) = line.strip_prefix('[')?.split_once("] ")?;
        let (packets, _) = counters.split_once(':')?;
        if kind(rule) { packets.parse::<u64>().ok() } else { None }
    };
    rules.iter().filter_map(packets).fold(0, u64::saturating_add)
}

/// The most of the shield that can go in: its table may be one that iptables cannot show.
fn most(policy: &Policy, saved: &[(Family, Saved)]) -> Shield {
    let hidden = saved.iter().any(|(_, saved)| saved.is_hidden("mangle"));
    if hidden { Shield::None } else { Shield::wanted(policy) }
}

/// What takes a transaction back, table by table in the same order.
fn way_back(saved: &Saved, forward: &str) -> String {
    if saved.has_ours("nat") {
        // What was there was ours as well: better new rules than none.
        return String::new();
    }
    let touched = TABLES.iter().filter(|table| forward.contains(&format!("*{table}\n")));
    touched.map(|table| iptables_removal(table)).collect()
}
