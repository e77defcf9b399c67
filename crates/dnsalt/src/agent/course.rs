//! What has a course: a lockdown, which begins and ends; tables, which are full for a while.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dnsalt_bpf::BpfError;
use dnsalt_nat::conntrack::{self, Usage};
use dnsalt_salt::layout::Counter;

use super::Keeper;

/// The share of conntrack's table that counts as full, and the one at which it no longer does.
const FULL: f64 = 0.95;
const ROOM: f64 = 0.9;

/// What is worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The server is asked over UDP again.
    LockdownEnded { server: IpAddr, lasted: Duration },
    /// So many queries found no slot since the last look.
    SlotsFull { queries: u64 },
    /// Flows are about to be refused.
    ConntrackFull { flows: u64, room: u64 },
}

/// What the last look saw.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// Where the salt engine has its maps, if it is that.
    bpffs: Option<PathBuf>,
    without_slot: Option<u64>,
    locked: BTreeMap<IpAddr, Instant>,
    conntrack_full: bool,
}

impl Course {
    /// Looks at what is installed now.
    pub(super) fn follow(&mut self, keeper: &Keeper) {
        let locked = std::mem::take(&mut self.locked);
        *self = Course { bpffs: keeper.bpffs(), locked, ..Course::default() };
    }

    /// A lockdown began, or was made to last.
    pub(super) fn lockdown(&mut self, server: IpAddr) {
        self.locked.entry(server).or_insert_with(Instant::now);
    }

    /// What changed. What cannot be read is said elsewhere: the protection is not whole then.
    pub(super) fn look(&mut self) -> Vec<Change> {
        let Some(bpffs) = self.bpffs.clone() else {
            return self.conntrack(conntrack::usage()).into_iter().collect();
        };
        let mut changes = self.ended(&bpffs).unwrap_or_default();
        changes.extend(self.slots(&bpffs).unwrap_or_default());
        changes
    }

    fn ended(&mut self, bpffs: &Path) -> Result<Vec<Change>, BpfError> {
        if self.locked.is_empty() {
            return Ok(Vec::new());
        }
        let now = dnsalt_bpf::locked_down(bpffs)?;
        // Where those of a place share their lockdown, nobody knows which of them it is about.
        let lasts = |server: &IpAddr| now.shared || now.servers.contains(server);
        let over = |(server, since): (&IpAddr, &Instant)| {
            let change = Change::LockdownEnded { server: *server, lasted: since.elapsed() };
            (!lasts(server)).then_some(change)
        };
        let changes = self.locked.iter().filter_map(over).collect();
        self.locked.retain(|server, _| lasts(server));
        Ok(changes)
    }

    fn slots(&mut self, bpffs: &Path) -> Result<Option<Change>, BpfError> {
        let Some(installed) = dnsalt_bpf::installed(bpffs)? else { return Ok(None) };
        let count = installed.count(Counter::Full);
        let before = self.without_slot.replace(count).unwrap_or(count);
        let queries = count.saturating_sub(before);
        Ok((queries > 0).then_some(Change::SlotsFull { queries }))
    }

    fn conntrack(&mut self, usage: Option<Usage>) -> Option<Change> {
        let Usage { entries, max } = usage?;
        #[allow(clippy::cast_precision_loss)] // a share
        let share = entries as f64 / max.max(1) as f64;
        let begins = !self.conntrack_full && share >= FULL;
        self.conntrack_full = share >= if self.conntrack_full { ROOM } else { FULL };
        begins.then_some(Change::ConntrackFull { flows: entries, room: max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_conntrack_is_told_once_until_there_is_room() {
        let mut course = Course::default();
        let mut told = |entries| course.conntrack(Some(Usage { entries, max: 1000 })).is_some();
        let of = [100, 949, 950, 980, 920, 960, 899, 949, 951].map(&mut told);
        assert_eq!(of, [false, false, true, false, false, false, false, false, true]);
    }
}
