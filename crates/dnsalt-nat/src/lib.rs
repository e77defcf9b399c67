//! The `nat` engine: the recipe of 2008, kept right.
//!
//! A NAT rule of the kernel gives each flow a random source port, even where the program that asks
//! insists on a fixed one. This crate turns a [`Policy`](dnsalt_policy::Policy) into such rules
//! ([`render`]), puts them into the kernel and takes them out again ([`driver`]), and tells what
//! they are worth ([`strength`]).
//!
//! ```text
//!             ┌─ render::nft ────────┐             ┌─ nft -f ─────────────┐
//!   Policy ──>├─ render::iptables ───┼── text ──> ─┤                      ├──> kernel
//!             ├─ render::pf_openbsd ─┤             └─ ip(6)tables-restore ┘
//!             └─ render::pf_freebsd ─┘
//! ```
//!
//! There is one text for each firewall: what `dnsalt rules` prints is, byte for byte, what
//! `dnsalt up` loads.

pub mod conntrack;
pub mod driver;
pub mod notrack;
pub mod preflight;
pub mod render;
pub mod strength;

mod command;
mod sysctl;

pub use command::CommandError;
pub use sysctl::reserved_ports;
