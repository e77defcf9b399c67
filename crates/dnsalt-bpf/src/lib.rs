//! The user half of the `salt` engine: loads the kernel half, attaches it, writes and reads its maps.
//!
//! ```text
//!   crates/dnsalt-ebpf ──./x bpf──▶ object/salt.o ──part of this crate──▶ kernel
//! ```
//!
//! The kernel half is taken along as it was committed: who builds dnsalt needs no eBPF toolchain.
//! Attached, both programs stand as near to the wire as tc lets them:
//!
//! ```text
//!   sockets ── netfilter ──┬── egress: salt_out, last ────┬── driver ── wire
//!                          └── ingress: salt_in, first ───┘
//! ```
//!
//! Maps and links are pinned, so that the engine goes on working without any process. Installing
//! where it is installed already puts new programs in the places of the old ones, on the same maps: no
//! query that is outstanding gets lost.

mod attach;
mod clsact;
mod counters;
mod error;
mod events;
mod link;
mod object;
mod occupancy;
mod pins;
mod plan;
mod syscall;
mod trial;

use std::path::Path;

use aya::maps::{Array, Map, MapData, PerCpuArray};
use dnsalt_policy::Policy;
use dnsalt_salt::layout::{ADDRESSES, Config, Counter};

pub use attach::Hook;
pub use counters::name as counter_name;
pub use error::BpfError;
pub use events::{Events, Told, read as read_event, wait as wait_for_events};
pub use occupancy::{LockedDown, Occupancy, locked_down, occupancy};
pub use pins::{bpffs, find_bpffs};
pub use plan::{Plan, Prefixes};
pub use trial::{Keys, Ran, Runner, Trial, Way, verified};

use object::{ETHER, Object, Plain, failed};
use pins::Pins;

/// Whether the engine can do what a policy asks for, apart from the kernel.
///
/// # Errors
/// When only the `nat` engine can.
pub fn supports(policy: &Policy) -> Result<(), BpfError> {
    Plan::of(policy).map(drop)
}

/// Whether this kernel takes the programs, from us: those for Ethernet, as the others are the same but for the
/// header. Leaves nothing behind.
///
/// # Errors
/// When it is too old, or we may not.
pub fn probe() -> Result<(), BpfError> {
    Object::alone(&[ETHER]).map(drop)
}

/// Installs the engine on interfaces of this network namespace, or changes what is installed there.
///
/// # Errors
/// When the kernel refuses. What was not there before is not there after; a change may be half done,
/// but never so that a query leaves with less salt than before.
pub fn install(
    bpffs: &Path,
    policy: &Policy,
    interfaces: &[String],
    hook: Hook,
) -> Result<(), BpfError> {
    let plan = Plan::of(policy)?;
    let pins = pins_in(bpffs)?;
    pins::mount_bpffs(bpffs)?;
    let there = pins.fit()?;
    let done = put_in(&pins, &plan, interfaces, hook);
    if done.is_err() && !there {
        let _ = take_out(&pins);
        let _ = pins::unmount_bpffs(bpffs);
    }
    done
}

fn pins_in(bpffs: &Path) -> Result<Pins, BpfError> {
    Pins::of(bpffs).map_err(|cause| BpfError::Bpffs { dir: bpffs.to_owned(), cause })
}

fn put_in(pins: &Pins, plan: &Plan, interfaces: &[String], hook: Hook) -> Result<(), BpfError> {
    let wanted = indices(interfaces)?;
    pins.make().map_err(|cause| BpfError::Bpffs { dir: pins.dir().to_owned(), cause })?;
    let others = others(pins, &wanted)?;
    let whole = others.is_empty() && incomplete(pins, &wanted, hook)?.is_empty();
    let mut object = Object::load(pins.dir(), &attach::pairs(interfaces)?)?;
    let mut config = plan.config;
    let before = object.config()?;
    // Maps that were made and never used belong to an installation that was interrupted.
    let first = before.key == [0, 0];
    (config.key, config.nonce_key) =
        if first { (object::key()?, object::key()?) } else { (before.key, before.nonce_key) };
    write(&mut object, plan)?;
    let settled = !first && whole;
    config.grace_until = if settled {
        // One that was left without end ends now.
        before.grace_until.min(plan::soon(config.lifetime))
    } else {
        plan::ENDLESS
    };
    // Last: from here on the programs work.
    object.set_config(config)?;
    let mut done =
        attach_all(&mut object, pins, interfaces, hook).and_then(|()| trim(&mut object, plan));
    if done.is_ok() {
        done = attach::detach(pins, &others);
    } else if let Ok(incomplete) = incomplete(pins, &wanted, hook) {
        let _ = attach::detach(pins, &incomplete);
    }
    if !settled {
        config.grace_until = plan::soon(config.lifetime);
        object.set_config(config)?;
    }
    done
}

/// All that the programs go by, but for their configuration, which is written after it, and then
/// [`trim`] makes an end of what was before: killed between, they salt what either policy does.
fn write(object: &mut Object, plan: &Plan) -> Result<(), BpfError> {
    object.set_ports(&plan.ports)?;
    object.set_random()?;
    for (name, prefixes) in tries(plan) {
        object.add_prefixes(name, prefixes)?;
    }
    object.set_entries("SUFFIXES", (0..).zip(plan.suffixes.iter().copied().map(Plain)))?;
    for (first, ranges) in [0, ADDRESSES / 2].into_iter().zip(&plan.addresses) {
        object.set_entries("ADDRESSES", (first..).zip(ranges.iter().copied().map(Plain)))?;
    }
    Ok(())
}

/// Takes out what only the policy before had: with its configuration still in force, queries of clients that
/// it names would leave as they are.
fn trim(object: &mut Object, plan: &Plan) -> Result<(), BpfError> {
    tries(plan).into_iter().try_for_each(|(name, prefixes)| object.keep_prefixes(name, prefixes))
}

fn tries(plan: &Plan) -> [(&'static str, &Prefixes); 5] {
    [
        ("FROM", &plan.from),
        ("TO", &plan.to),
        ("NO_TCP", &plan.no_tcp),
        ("NO_CASE", &plan.no_case),
        ("POOL", &plan.pool),
    ]
}

/// What restores first, on all interfaces, then what salts. Whoever kills us between leaves programs that
/// let in every reply, as long as the grace lasts: names resolve.
fn attach_all(
    object: &mut Object,
    pins: &Pins,
    interfaces: &[String],
    hook: Hook,
) -> Result<(), BpfError> {
    for way in attach::WAYS.into_iter().rev() {
        for interface in interfaces {
            attach::attach(object, pins, interface, hook, way)?;
        }
    }
    Ok(())
}

/// Of those that are there. One that could not be asked for must not be taken for one that is gone: what is
/// on it would be taken off.
fn indices(interfaces: &[String]) -> Result<Vec<u32>, BpfError> {
    let mut indices = Vec::new();
    for name in interfaces {
        let index =
            link::if_there(link::index(name)).map_err(|cause| attach::refused(name, cause))?;
        indices.extend(index);
    }
    Ok(indices)
}

/// Interfaces that have something of ours and are not to have it.
fn others(pins: &Pins, wanted: &[u32]) -> Result<Vec<u32>, BpfError> {
    Ok(attached(pins)?.into_iter().filter(|index| !wanted.contains(index)).collect())
}

/// Those that have not both programs.
fn incomplete(pins: &Pins, wanted: &[u32], hook: Hook) -> Result<Vec<u32>, BpfError> {
    let mut incomplete = Vec::new();
    for index in wanted {
        if !attach::is_whole(pins, *index, hook)? {
            incomplete.push(*index);
        }
    }
    Ok(incomplete)
}

/// The interfaces that have something of ours, by their indices.
fn attached(pins: &Pins) -> Result<Vec<u32>, BpfError> {
    let mut all = pins.interfaces(attach::FILTERS)?;
    for prefix in attach::LINKS {
        all.extend(pins.interfaces(prefix)?);
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// Gives the generator of the engine that is installed here new keys: what was drawn tells nothing of what
/// will be.
///
/// # Errors
/// When none is installed, or its map cannot be written.
pub fn renew_keys(bpffs: &Path) -> Result<(), BpfError> {
    object::renew_pinned(&pins_in(bpffs)?)
}

/// Removes the engine from this network namespace; what is not there need not go.
///
/// # Errors
/// When something that is pinned cannot be removed.
pub fn remove(bpffs: &Path) -> Result<(), BpfError> {
    let pins = pins_in(bpffs)?;
    take_out(&pins)?;
    pins::unmount_bpffs(bpffs)
}

fn take_out(pins: &Pins) -> Result<(), BpfError> {
    // Whoever kills us half-way leaves programs that let in every reply. Maps of another version, or
    // none, are no reason to stay.
    let _ = object::let_in(pins);
    attach::detach(pins, &attached(pins)?)?;
    pins.clear().map_err(|cause| BpfError::Bpffs { dir: pins.dir().to_owned(), cause })
}

/// What is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// What the kernel half does.
    pub config: Config,
    /// Where: interfaces that have both programs, and by what.
    pub interfaces: Vec<(String, Hook)>,
    /// What was counted on all CPUs, in the order of [`Counter::ALL`].
    pub counters: [u64; Counter::ALL.len()],
}

impl Installed {
    /// What was counted of one kind.
    pub fn count(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }
}

/// A map that is pinned.
fn pinned(pins: &Pins, name: &'static str) -> Result<Map, BpfError> {
    let data = MapData::from_pin(pins.path(name)).map_err(failed(name))?;
    Map::from_map_data(data).map_err(failed(name))
}

/// What is installed in this network namespace; none if nothing is.
///
/// # Errors
/// When it belongs to another version, or cannot be read.
pub fn installed(bpffs: &Path) -> Result<Option<Installed>, BpfError> {
    let pins = pins_in(bpffs)?;
    if !pins.fit()? {
        return Ok(None);
    }
    let map = |name: &'static str| pinned(&pins, name);
    let config = Array::<_, Plain<Config>>::try_from(map("CONFIG")?).map_err(failed("CONFIG"))?;
    let config = config.get(&0, 0).map_err(failed("CONFIG"))?.0;
    let counted = PerCpuArray::<_, u64>::try_from(map("COUNTERS")?).map_err(failed("COUNTERS"))?;
    let mut counters = [0; Counter::ALL.len()];
    for (sum, index) in counters.iter_mut().zip(0_u32..) {
        let values = counted.get(&index, 0).map_err(failed("COUNTERS"))?;
        *sum = values.iter().sum();
    }
    let filtered = pins.interfaces(attach::FILTERS)?;
    let hook = |index: &u32| if filtered.contains(index) { Hook::Clsact } else { Hook::Tcx };
    let mut interfaces = Vec::new();
    for index in attached(&pins)? {
        let hook = hook(&index);
        let name =
            link::if_there(link::name(index)).map_err(|cause| BpfError::Ask { index, cause })?;
        if let Some(name) = name
            && attach::is_whole(&pins, index, hook)?
        {
            interfaces.push((name, hook));
        }
    }
    Ok(Some(Installed { config, interfaces, counters }))
}
