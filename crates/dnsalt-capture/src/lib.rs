//! Where dnsalt gets packets from: live interfaces, through `AF_PACKET` ([`Live`]), and capture files
//! ([`mod@file`]); and where it puts some ([`PcapngWriter`]).
//!
//! ```text
//!   wire ── driver ── AF_PACKET tap ── tc, netfilter ── sockets
//!                          │
//!                       Live: what leaves is seen after NAT, what comes before it
//! ```
//!
//! [`Live::open`] brings packets one by one as they come, [`Live::open_ring`] many at a time through
//! memory that is shared with the kernel.
//!
//! The kernel takes the link header off (`SOCK_DGRAM`), so that Ethernet, tunnels and PPP look the
//! same: every frame starts with its IP header. A filter in the kernel lets only the ports through
//! that are wanted.
// The socket calls of AF_PACKET and mapping a file have no safe wrapper; each block says why it is
// sound.
#![allow(unsafe_code)]

pub mod file;

mod filter;
mod live;
mod ring;
mod socket;
mod writer;

pub use filter::{FilterError, PortFilter};
pub use live::{Direction, Frame, Live, OpenError, ReadError};
pub use writer::PcapngWriter;
