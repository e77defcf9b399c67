//! This process, as every client library of Prometheus tells of itself. From /proc/self.

use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::catalogue::{CPU, MAX_FDS, OPEN_FDS, RESIDENT, START};
use super::family::Families;

/// What is not known is left out.
pub(super) fn export(to: &mut Families) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = clock_ticks_per_second() as f64;
    if let Some(stat) = Stat::parse(&stat) {
        to.add(&CPU, stat.cpu as f64 / ticks);
        if let Some(boot) = boot_time() {
            to.add(&START, boot as f64 + stat.start as f64 / ticks);
        }
        to.add(&RESIDENT, stat.resident * page_size() as u64);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // But for the one that looks.
        to.add(&OPEN_FDS, open.count().saturating_sub(1));
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        to.add(&MAX_FDS, limit);
    }
}

/// Seconds since 1970.
fn boot_time() -> Option<u64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Of /proc/PID/stat, see proc(5).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    /// In ticks.
    cpu: u64,
    /// In ticks since the boot.
    start: u64,
    /// In pages.
    resident: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name may have blanks and brackets in it.
        let (_, behind_name) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = behind_name.split_whitespace().collect();
        // The first of these is field 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Stat { cpu: field(14)? + field(15)?, start: field(22)?, resident: field(24)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_is_no_field() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194304 1 2 3 4 11 22 5 6 20 0 1 0 3333 999 44 5";
        assert_eq!(Stat::parse(text), Some(Stat { cpu: 33, start: 3333, resident: 44 }));
        assert_eq!(Stat::parse("7 (cut"), None);
        assert_eq!(Stat::parse("7 (cut) S 1"), None);
    }

    #[test]
    fn this_process_is_told_of() {
        let mut families = Families::default();
        export(&mut families);
        assert_eq!(families.0.len(), 5, "{families:?}");
    }
}
