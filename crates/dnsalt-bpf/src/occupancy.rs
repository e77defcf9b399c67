//! How full the tables are: what no counter tells.

use std::mem::offset_of;
use std::net::IpAddr;
use std::path::Path;

use aya::maps::{Array, MapData};
use dnsalt_salt::Address;
use dnsalt_salt::layout::{Range, SLOTS, Server, Slot, WAYS};
use dnsalt_salt::pool::source_of;
use dnsalt_salt::slot::{State, lasts};
use dnsalt_salt::taken::way;

use crate::object::{Plain, failed};
use crate::pins::Pins;
use crate::syscall::{Entry, scan};
use crate::{BpfError, installed, pinned, pins_in, plan};

/// What is in the tables now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Ports that are drawn from: each can be taken once in every way.
    pub ports: u32,
    /// Queries that wait for their replies, by the way of the table that their source address and server
    /// have.
    pub outstanding: [u32; WAYS as usize],
    /// Servers that are asked over TCP alone, for now. Where that is so of all that share a place of the
    /// table, they count as one.
    pub locked_down: u32,
}

impl Occupancy {
    /// Queries that wait for their replies.
    pub fn outstanding(&self) -> u32 {
        self.outstanding.iter().sum()
    }

    /// Queries that can wait at a time.
    pub fn slots(&self) -> u32 {
        (self.ports * WAYS).min(SLOTS)
    }

    /// The share of ports that are free, from 0 to 1, where it is least: in the fullest of the ways. A pair
    /// of client and server has one of them, and cannot use the others.
    pub fn headroom(&self) -> f64 {
        let fullest = self.outstanding.iter().copied().max().unwrap_or(0);
        1.0 - f64::from(fullest.min(self.ports)) / f64::from(self.ports.max(1))
    }
}

/// Looks through the tables of the engine in this network namespace; none if it is not installed. Reads
/// 32 MiB, which takes about a tenth of a second.
///
/// # Errors
/// When it belongs to another version, or cannot be read.
pub fn occupancy(bpffs: &Path) -> Result<Option<Occupancy>, BpfError> {
    let Some(installed) = installed(bpffs)? else { return Ok(None) };
    let pins = pins_in(bpffs)?;
    let now = now();
    let config = &installed.config;
    let mut found = Occupancy { ports: config.ports, ..Occupancy::default() };
    let ranges = Array::<_, Plain<Range>>::try_from(pinned(&pins, "ADDRESSES")?);
    let ranges = ranges.map_err(failed("ADDRESSES"))?;
    let range = |index: u32| ranges.get(&index, 0).ok().map(|range| range.0);
    look(&pins, "SLOTS", &mut |_, entry| {
        let state = state(entry);
        if state.is_outstanding(now) {
            let [client, server] =
                [offset_of!(Slot, client), offset_of!(Slot, server)].map(|at| address(entry, at));
            let source = source_of(config, range, client, server, state.generation());
            let way = way(config.key[0], source, server);
            found.outstanding[way as usize % WAYS as usize] += 1;
        }
    })?;
    look(&pins, "SERVERS", &mut |_, entry| {
        found.locked_down += u32::from(is_locked_down(entry, now));
    })?;
    Ok(Some(found))
}

/// Servers that are asked over TCP alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockedDown {
    /// Each by its address.
    pub servers: Vec<IpAddr>,
    /// Whether all servers that share some place of the table are, too.
    pub shared: bool,
}

/// Those that are locked down now, in this network namespace.
///
/// # Errors
/// When none is installed, or its table cannot be read.
pub fn locked_down(bpffs: &Path) -> Result<LockedDown, BpfError> {
    let (now, mut found) = (now(), LockedDown::default());
    look(&pins_in(bpffs)?, "SERVERS", &mut |_, entry| {
        if lasts_until(entry, offset_of!(Server, locked_until), now) {
            found.servers.push(address(entry, offset_of!(Server, address)).into());
        }
        found.shared |= lasts_until(entry, offset_of!(Server, all_locked_until), now);
    })?;
    Ok(found)
}

fn look(
    pins: &Pins,
    name: &'static str,
    each: &mut dyn FnMut(u32, &Entry),
) -> Result<(), BpfError> {
    let map = MapData::from_pin(pins.path(name)).map_err(failed(name))?;
    scan(&map, each).map_err(|cause| BpfError::Bpffs { dir: pins.path(name), cause })
}

/// As the slots have it: the low 32 bits.
fn now() -> u32 {
    u32::try_from(plan::now() & u64::from(u32::MAX)).unwrap_or(0)
}

fn word(entry: &Entry, at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&entry[at..][..8]);
    u64::from_ne_bytes(word)
}

fn address(entry: &Entry, at: usize) -> Address {
    Address { high: word(entry, at), low: word(entry, at + 8) }
}

fn state(slot: &Entry) -> State {
    State(word(slot, offset_of!(Slot, state)))
}

fn is_locked_down(server: &Entry, now: u32) -> bool {
    [offset_of!(Server, locked_until), offset_of!(Server, all_locked_until)]
        .iter()
        .any(|at| lasts_until(server, *at, now))
}

/// Whether the time that stands there is still to come; 0 never is.
fn lasts_until(server: &Entry, at: usize, now: u32) -> bool {
    let mut word = [0; 4];
    word.copy_from_slice(&server[at..][..4]);
    let until = u32::from_ne_bytes(word);
    until != 0 && lasts(until, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dnsalt_salt::slot::{LIVE, TAINTED};

    #[test]
    fn the_fullest_way_counts() {
        let full = Occupancy { ports: 100, outstanding: [0, 25, 5, 0, 0, 0, 0, 0], locked_down: 0 };
        assert_eq!((full.outstanding(), full.slots()), (30, 800));
        assert!((full.headroom() - 0.75).abs() < 1e-9);
        assert!((Occupancy::default().headroom() - 1.0).abs() < 1e-9, "no division by zero");
    }

    #[test]
    fn words_are_found_in_what_the_kernel_copied() {
        let mut slot: Entry = [0; 64];
        for phase in [LIVE, TAINTED] {
            slot[..8].copy_from_slice(&(1000 << 32 | phase).to_ne_bytes());
            assert!(state(&slot).is_outstanding(999));
            assert!(!state(&slot).is_outstanding(1001));
        }
        let mut server: Entry = [0; 64];
        assert!(!is_locked_down(&server, 5));
        server[24..28].copy_from_slice(&1001_u32.to_ne_bytes());
        assert!(is_locked_down(&server, 1000));
        assert!(!is_locked_down(&server, 1002));
        server[32..36].copy_from_slice(&1003_u32.to_ne_bytes());
        assert!(is_locked_down(&server, 1002), "all of the place");
    }
}
