//! Where in the kernel's way of a packet the programs are put, in which order among others, and how
//! they stay when we are gone.

use std::mem::forget;
use std::{fmt, io};

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle};
use aya::programs::{LinkOrder, TcAttachType};
use aya::util::KernelVersion;

use crate::clsact::Filter;
use crate::object::{ETHER, Object, Pair, RAW};
use crate::pins::Pins;
use crate::{BpfError, clsact, link, syscall};

/// What holds a program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A tcx link (Linux 6.6), which lasts by its pin. Runs before all filters.
    Tcx,
    /// A filter in a clsact qdisc, which is made if there is none, and lasts by itself.
    Clsact,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hook::Tcx => "tcx",
            Hook::Clsact => "clsact",
        })
    }
}

impl Hook {
    /// The better one of those that this kernel has.
    pub fn of_kernel() -> Self {
        let has_tcx = |version| version >= KernelVersion::new(6, 6, 0);
        if KernelVersion::current().is_ok_and(has_tcx) { Hook::Tcx } else { Hook::Clsact }
    }
}

/// Our filters are known by it.
const NUMBER: u16 = 0x5a17;
const HANDLE: TcHandle = TcHandle::new(0, NUMBER);

/// Names of what lasts.
pub(crate) const LINKS: [&str; 2] = ["link-out-", "link-in-"];
pub(crate) const FILTERS: &str = "clsact-";
const MADE: &str = "clsact-made-";

/// What salts, and what restores.
pub(crate) const WAYS: [TcAttachType; 2] = [TcAttachType::Egress, TcAttachType::Ingress];

/// As near to the wire as it goes: what leaves meets us last, what comes in first. Filters run from the
/// lowest number on.
fn priority(way: TcAttachType) -> u16 {
    if way == TcAttachType::Egress { u16::MAX } else { 1 }
}

fn order(way: TcAttachType) -> LinkOrder {
    if way == TcAttachType::Egress { LinkOrder::last() } else { LinkOrder::first() }
}

/// The programs that are for an interface.
fn pair(interface: &str) -> Result<Pair, BpfError> {
    let ethernet = link::is_ethernet(interface).map_err(|cause| refused(interface, cause))?;
    Ok(if ethernet { ETHER } else { RAW })
}

/// The programs that are for some interfaces, each pair once; where there is none, those that most have, so that
/// a kernel that does not take them is found out.
pub(crate) fn pairs(interfaces: &[String]) -> Result<Vec<Pair>, BpfError> {
    let mut pairs = Vec::new();
    for interface in interfaces {
        let pair = pair(interface)?;
        if !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
    Ok(if pairs.is_empty() { vec![ETHER] } else { pairs })
}

pub(crate) fn refused(interface: &str, cause: io::Error) -> BpfError {
    BpfError::Interface { interface: interface.to_owned(), cause }
}

/// Puts the program for one way on an interface of this network namespace; where it is, the new one
/// takes its place without a gap.
pub(crate) fn attach(
    object: &mut Object,
    pins: &Pins,
    interface: &str,
    hook: Hook,
    way: TcAttachType,
) -> Result<(), BpfError> {
    let index = link::index(interface).map_err(|cause| refused(interface, cause))?;
    let pair = pair(interface)?;
    let (program, prefix) = match way {
        TcAttachType::Egress => (pair.out, LINKS[0]),
        _ => (pair.back, LINKS[1]),
    };
    let done = match hook {
        Hook::Tcx => tcx(object, pins, &format!("{prefix}{index}"), interface, program, way),
        Hook::Clsact => {
            make_discipline(pins, index).and_then(|()| filter(object, interface, program, way))
        }
    };
    done.map_err(|cause| BpfError::Attach { program, interface: interface.to_owned(), hook, cause })
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

fn tcx(
    object: &mut Object,
    pins: &Pins,
    pin: &str,
    interface: &str,
    program: &'static str,
    way: TcAttachType,
) -> Result<(), Cause> {
    let classifier = object.program(program)?;
    if let Ok(pinned) = PinnedLink::from_pin(pins.path(pin)) {
        let link = SchedClassifierLink::try_from(FdLink::from(pinned))?;
        // What is pinned stays when our hold on it ends.
        if let Ok(id) = classifier.attach_to_link(link) {
            drop(classifier.take_link(id)?);
            return Ok(());
        }
        // It was of an interface that is gone.
        pins.remove(pin);
    }
    let options = TcAttachOptions::TcxOrder(order(way));
    let id = classifier.attach_with_options(interface, way, options)?;
    let link = FdLink::try_from(classifier.take_link(id)?)?;
    link.pin(pins.path(pin))?;
    Ok(())
}

/// Makes what filters hang in, unless it is there. All is marked before it is made: nobody would know of it if we
/// were killed between.
fn make_discipline(pins: &Pins, index: u32) -> Result<(), Cause> {
    let made = format!("{MADE}{index}");
    let is_there = clsact::is_there(index)?;
    if !is_there {
        pins.mark(&made)?;
    }
    pins.mark(&format!("{FILTERS}{index}"))?;
    // Somebody may have made it meanwhile.
    if !is_there && !clsact::make(index)? {
        pins.remove(&made);
    }
    Ok(())
}

fn filter(
    object: &mut Object,
    interface: &str,
    program: &'static str,
    way: TcAttachType,
) -> Result<(), Cause> {
    let classifier = object.program(program)?;
    let before = our_filter(interface, way)?;
    let id = if let Ok(id) = classifier.attach_to_link(before) {
        id
    } else {
        let options = NlOptions { priority: priority(way), handle: HANDLE, classid: None };
        classifier.attach_with_options(interface, way, TcAttachOptions::Netlink(options))?
    };
    // Dropped, it would be detached.
    forget(classifier.take_link(id)?);
    Ok(())
}

/// What our filters are known by.
fn known(way: TcAttachType) -> Filter {
    Filter { handle: NUMBER.into(), priority: priority(way), way }
}

fn our_filter(interface: &str, way: TcAttachType) -> io::Result<SchedClassifierLink> {
    SchedClassifierLink::attached(interface, way, priority(way), HANDLE, None)
}

/// Whether both programs are on an interface, as the kernel has it: that there are pins and marks is only
/// what was wanted.
pub(crate) fn is_whole(pins: &Pins, index: u32, hook: Hook) -> Result<bool, BpfError> {
    for (way, prefix) in WAYS.into_iter().zip(LINKS) {
        let is_on = match hook {
            Hook::Clsact => known(way).is_on(index),
            Hook::Tcx => match syscall::link_interface(&pins.path(&format!("{prefix}{index}"))) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                on => on.map(|on| on == index),
            },
        };
        if !is_on.map_err(|cause| BpfError::Ask { index, cause })? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes both programs off interfaces: of all of them first what salts, then what restores. Where one cannot
/// be taken off, it ends there: nobody salts what nobody restores, and the marks still say what is there.
pub(crate) fn detach(pins: &Pins, indices: &[u32]) -> Result<(), BpfError> {
    let (filtered, made) = (pins.interfaces(FILTERS)?, pins.interfaces(MADE)?);
    for (way, prefix) in WAYS.into_iter().zip(LINKS) {
        for index in indices {
            let pin = format!("{prefix}{index}");
            // It goes without this too, a moment later.
            let _ = syscall::detach(&pins.path(&pin));
            pins.remove(&pin);
            if filtered.contains(index) {
                known(way).remove(*index).map_err(|cause| stays(*index, cause))?;
            }
        }
    }
    for index in indices {
        if made.contains(index) {
            clsact::remove(*index).map_err(|cause| stays(*index, cause))?;
        }
        pins.remove(&format!("{FILTERS}{index}"));
        pins.remove(&format!("{MADE}{index}"));
    }
    Ok(())
}

fn stays(index: u32, cause: io::Error) -> BpfError {
    BpfError::Detach { index, cause }
}
