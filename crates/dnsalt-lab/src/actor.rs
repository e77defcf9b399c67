//! Those who act in the lab's networks.

mod dns_server;
mod frames;
mod tun;

pub use dns_server::{Answer, DnsServer, Seen};
pub use frames::Frames;
pub use tun::Tun;
