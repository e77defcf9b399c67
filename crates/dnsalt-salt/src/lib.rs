//! The `salt` engine without the kernel: what is decided of each packet, on plain numbers.
//!
//! The same code runs in the kernel, as a part of `dnsalt-ebpf`, and on the host in tests. What it
//! needs of the kernel (maps, a clock, random numbers) comes through one trait, [`Tables`].
//!
//! ```text
//!   bytes ── head ──> Datagram ── question ──> Query, Reply, Quote
//!                                                    │
//!                            egress, ingress, icmp ──┴──> what to do with the packet
//!                                   │
//!                     slots, recent queries, servers      (layout: what user space sees as well)
//! ```
//!
//! Everything is written so that the kernel's verifier can follow it: buffers of a fixed size, indices
//! that are masked where they are used, loops with a constant bound, no slices, no recursion.
// Addresses and hashes are cut into words and indices everywhere; that is the point.
#![allow(clippy::cast_possible_truncation)]
// What is not inlined becomes a function of its own in the kernel, with five arguments at most.
#![allow(clippy::inline_always)]
#![no_std]
#![cfg_attr(not(target_arch = "bpf"), forbid(unsafe_code))]
#![cfg_attr(target_arch = "bpf", feature(core_intrinsics), allow(internal_features))]

#[cfg(test)]
extern crate std;

mod address;
pub mod case;
pub mod cookies;
pub mod edns;
pub mod egress;
mod habits;
pub mod head;
pub mod icmp;
pub mod ingress;
pub mod layout;
pub mod pool;
pub mod question;
mod recent;
mod servers;
pub mod short;
pub mod siphash;
pub mod slot;
mod tables;
pub mod taken;
pub mod word;

pub use address::Address;
pub use tables::{Draw, Tables, pass};
