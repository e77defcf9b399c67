//! Those who act in the lab's networks.

mod dns_server;

pub use dns_server::{DnsServer, Seen};
