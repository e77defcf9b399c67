//! The programs on no interface, shown one packet at a time (`BPF_PROG_TEST_RUN`): for measurements and
//! tests.

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use aya::programs::ProgramFd;
use dnsalt_policy::Policy;
use dnsalt_salt::layout::{Counter, Slot, TAKEN, TIME_SHIFT};
use dnsalt_salt::slot::LIVE;
use dnsalt_salt::taken::Taken;

use crate::object::{ETHER, Object, RAW};
use crate::plan::{self, Plan};
use crate::{BpfError, syscall, write};

/// In units of time.
const MINUTE: u32 = 60 * (1_000_000_000_u32 >> TIME_SHIFT);

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// What leaves, with an Ethernet header.
    Out,
    /// What comes in, with an Ethernet header.
    In,
    /// A program that does nothing.
    Nothing,
}

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// As tc has it: -1 to go on, 2 to drop, 7 to be sent elsewhere.
    pub verdict: i32,
    /// As it is now.
    pub packet: Vec<u8>,
    /// What one run took, on the mean of all.
    pub took: Duration,
}

/// Keys that are drawn otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// For places in tables.
    pub places: [u64; 2],
    /// For the case of letters, and source addresses.
    pub nonces: [u64; 2],
    /// For ports and IDs, on each processor; none for one of its own on each, as it is otherwise.
    pub random: Option<[u64; 2]>,
}

/// A program of a trial.
#[derive(Debug)]
pub struct Runner(OwnedFd);

impl Runner {
    /// Shows it a packet, once, on the processor of the calling thread.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn run(&self, packet: &[u8]) -> Result<Ran, BpfError> {
        syscall::test_run(&self.0, packet, 1).map_err(BpfError::Trial)
    }
}

/// Programs and maps of their own.
#[derive(Debug)]
pub struct Trial {
    object: Object,
    nothing: OwnedFd,
}

impl Trial {
    /// Loads them, with a policy.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new(policy: &Policy) -> Result<Self, BpfError> {
        let key = crate::object::key;
        Self::with_keys(policy, &Keys { places: key()?, nonces: key()?, random: None })
    }

    /// The same, with these keys: what it draws can be foretold then.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn with_keys(policy: &Policy, keys: &Keys) -> Result<Self, BpfError> {
        let plan = Plan::of(policy)?;
        let mut object = Object::alone(&[ETHER])?;
        let mut config = plan.config;
        (config.key, config.nonce_key) = (keys.places, keys.nonces);
        write(&mut object, &plan)?;
        if let Some(random) = keys.random {
            object.set_random_to(random)?;
        }
        object.set_config(config)?;
        let nothing = syscall::load_nothing().map_err(BpfError::Trial)?;
        Ok(Trial { object, nothing })
    }

    /// Shows a packet to a program, so many times.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn run(&mut self, way: Way, packet: &[u8], repeat: u32) -> Result<Ran, BpfError> {
        if way == Way::Nothing {
            return syscall::test_run(&self.nothing, packet, repeat).map_err(BpfError::Trial);
        }
        let fd = self.program(way)?;
        syscall::test_run(fd, packet, repeat).map_err(BpfError::Trial)
    }

    /// For what leaves, or for what comes in.
    fn program(&mut self, way: Way) -> Result<&ProgramFd, BpfError> {
        let name = if way == Way::Out { ETHER.out } else { ETHER.back };
        let fd = self.object.program(name)?.fd().map_err(io::Error::other);
        fd.map_err(BpfError::Trial)
    }

    /// One program, to be shown packets by other threads.
    ///
    /// # Errors
    /// When the kernel gives no more descriptors.
    pub fn runner(&mut self, way: Way) -> Result<Runner, BpfError> {
        let fd = self.program(way)?.as_fd().try_clone_to_owned();
        Ok(Runner(fd.map_err(BpfError::Trial)?))
    }

    /// Gives this share of all slots to others, for a minute.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn occupy(&mut self, share: f64) -> Result<(), BpfError> {
        let mut config = self.object.config()?;
        config.lifetime = MINUTE;
        self.object.set_config(config)?;
        let until =
            u32::try_from(plan::now() & u64::from(u32::MAX)).unwrap_or(0).wrapping_add(MINUTE);
        let slot = |index: u32| {
            let mut slot = [1_u8; 64];
            slot[..8].copy_from_slice(&(u64::from(until) << 32 | LIVE).to_ne_bytes());
            let port = (index & 0xffff) as u16;
            slot[offset_of!(Slot, port)..][..2].copy_from_slice(&port.to_ne_bytes());
            slot
        };
        // Spread evenly: port n is taken if the n-th multiple of the golden ratio falls below the share.
        let taken = |index: u32| (f64::from(index) * 0.618_033_988_749_894_9).fract() < share;
        let indices = || (0..TAKEN).filter(|index| taken(*index));
        self.object.set_entries("SLOTS", indices().map(|index| (index, slot(index))))?;
        let by = |index| Taken::by(index, until).0;
        self.object.set_entries("TAKEN", indices().map(|index| (index, by(index))))
    }

    /// How often something was counted, by all processors.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn count(&mut self, counter: Counter) -> Result<u64, BpfError> {
        self.object.count(counter)
    }
}

/// Instructions that the verifier followed for each program.
///
/// # Errors
/// When the kernel refuses, or does not tell.
pub fn verified() -> Result<Vec<(&'static str, u32)>, BpfError> {
    let mut object = Object::alone(&[ETHER, RAW])?;
    let one = |name| {
        let info = object.program(name)?.info().map_err(io::Error::other);
        let info = info.map_err(BpfError::Trial)?;
        Ok((name, info.verified_instruction_count().unwrap_or(0)))
    };
    [ETHER.out, ETHER.back, RAW.out, RAW.back].into_iter().map(one).collect()
}
