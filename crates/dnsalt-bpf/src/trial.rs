//! The programs on no interface, shown one packet at a time (`BPF_PROG_TEST_RUN`): for measurements and
//! tests.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use dnsalt_policy::Policy;
use dnsalt_salt::layout::SLOTS;
use dnsalt_salt::slot::LIVE;

use crate::object::{Object, PROGRAMS};
use crate::plan::{self, Plan};
use crate::{BpfError, syscall, write};

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
        let plan = Plan::of(policy)?;
        let mut object = Object::alone()?;
        let mut config = plan.config;
        config.key = crate::object::key()?;
        write(&mut object, &plan)?;
        object.set_config(config)?;
        let nothing = syscall::load_nothing().map_err(BpfError::Trial)?;
        Ok(Trial { object, nothing })
    }

    /// Shows a packet to a program, so many times.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn run(&mut self, way: Way, packet: &[u8], repeat: u32) -> Result<Ran, BpfError> {
        let program = match way {
            Way::Nothing => {
                return syscall::test_run(&self.nothing, packet, repeat).map_err(BpfError::Trial);
            }
            Way::Out => "salt_out_ether",
            Way::In => "salt_in_ether",
        };
        let fd = self.object.program(program)?.fd().map_err(io::Error::other);
        let fd = fd.map_err(BpfError::Trial)?;
        syscall::test_run(fd, packet, repeat).map_err(BpfError::Trial)
    }

    /// Gives this share of all slots to others, for two minutes.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn occupy(&mut self, share: f64) -> Result<(), BpfError> {
        let now = plan::now() & u64::from(u32::MAX);
        let mut slot = [1_u8; 64];
        slot[..8].copy_from_slice(&((now + 7000) << 32 | LIVE).to_ne_bytes());
        // Spread evenly: slot n is taken if the n-th multiple of the golden ratio falls below the share.
        let taken = |index: u32| (f64::from(index) * 0.618_033_988_749_894_9).fract() < share;
        self.object.set_slots((0..SLOTS).filter(|index| taken(*index)), slot)
    }

    /// Instructions that the verifier followed for each program.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn verified(&mut self) -> Result<Vec<(&'static str, u32)>, BpfError> {
        let one = |name| {
            let info = self.object.program(name)?.info().map_err(io::Error::other);
            let info = info.map_err(BpfError::Trial)?;
            Ok((name, info.verified_instruction_count().unwrap_or(0)))
        };
        PROGRAMS.into_iter().map(one).collect()
    }
}
