//! The kernel half on the host: the sources of `dnsalt-ebpf` itself, compiled against packets and maps in plain
//! memory. What fuzzers and the reference model run a million times a second is so the code that the kernel
//! runs, less the kernel.
//!
//! ```text
//!   dnsalt-ebpf/src/  filter.rs  inward.rs  letters.rs  out.rs  write.rs      the same files
//!                     skb.rs     maps.rs                                      here others: memory
//! ```
//!
//! `skb` does what the helpers of the kernel do, in the kernel's own words of net/core/filter.c: the same bounds,
//! the same sums. Each thread has a world of its own.

// The sources name what they need by these paths.
extern crate self as aya_ebpf;

#[path = "../../dnsalt-ebpf/src/filter.rs"]
mod filter;
#[path = "../../dnsalt-ebpf/src/inward.rs"]
mod inward;
#[path = "../../dnsalt-ebpf/src/letters.rs"]
mod letters;
mod maps;
#[path = "../../dnsalt-ebpf/src/out.rs"]
mod out;
mod skb;
mod world;
#[allow(clippy::nonminimal_bool)]
#[path = "../../dnsalt-ebpf/src/write.rs"]
mod write;

pub use world::{Prefix, Setting, World};

/// Names of numbers that the kernel's headers have.
pub mod bindings {
    /// Drop it.
    pub const TC_ACT_SHOT: i32 = 2;
    /// Go on.
    pub const TC_ACT_UNSPEC: i32 = -1;
}

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// What leaves.
    Out,
    /// What comes in.
    In,
}

impl World {
    /// Shows a packet to a program, with an Ethernet header or without one. Gives what the program does, and leaves
    /// the packet as it is then.
    pub fn run(&self, way: Way, ethernet: bool, packet: &mut Vec<u8>) -> i32 {
        let link = if ethernet { filter::Link::Ethernet } else { filter::Link::Raw };
        self.hold(std::mem::take(packet));
        let verdict = match way {
            Way::Out => out::packet(skb::Skb, link),
            Way::In => inward::packet(skb::Skb, link),
        };
        *packet = self.let_go();
        verdict
    }
}
