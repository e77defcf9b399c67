//! What the salt engine promises, written apart from it, and what holds the engine to that.
//!
//! ```text
//!   bytes ── script ──> events ── play ──> packets ──┬──> engine: dnsalt-sim, or the program in the kernel
//!                                                    │        │ verdict, packet
//!                                                    └──> model <──┘      agrees, or says what is wrong
//! ```
//!
//! Left out are source addresses to draw from, cookies, learning which servers keep the case, and full tables: the
//! tests of `dnsalt-bpf` and `dnsalt-salt` have those.
//!
//! The model knows no tables, no hashes, no atomics: it is a list of queries that wait, and a page of rules. What
//! the engine draws at random it takes from the engine, and asks whether that may be so. Of the engine's own code
//! it uses one function, which of the ways a port is taken in: that decides how much room there is, never what is
//! believed.

pub mod model;
pub mod packet;
pub mod play;
pub mod policies;
pub mod script;
mod terms;

pub use model::{Happened, Model};
pub use play::{Engine, Play};
pub use terms::Terms;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It leaves.
    Out,
    /// It comes in.
    In,
}

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// As tc has it.
    pub verdict: i32,
    /// As it is then.
    pub packet: Vec<u8>,
}

/// Go on.
pub const PASS: i32 = -1;
/// Drop it.
pub const DROP: i32 = 2;
/// Let it come in where it was about to leave.
pub const TURN_BACK: i32 = 7;
