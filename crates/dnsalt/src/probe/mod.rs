//! The experiment of 2008: ask from one fixed port, and look at the wire.
//!
//! ```text
//!   ask (any namespace)                    Wire (any namespace, later in the path)
//!   one socket, port 44444  ── queries ──>  every DNS packet whose name carries our mark
//!            └──────────── Report: asked for 44444, left from 9374, 54743 ... ┘
//! ```
//!
//! Queries are known again by their names, which are made up for each run: port and ID may both
//! have changed by the time they are seen, and the case of letters too.

mod ask;
mod report;
mod trace;
mod wire;

pub(crate) use ask::{Asked, ask, ask_again};
pub(crate) use report::{Judgement, Report};
pub(crate) use trace::trace_line;
pub(crate) use wire::{Sighting, Wire};

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::query::random_label;

/// What to ask, whom and how often.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) servers: Vec<SocketAddr>,
    /// Queries to each server.
    pub(crate) count: u16,
    /// The fixed source port.
    pub(crate) sport: u16,
    /// Address to ask from; else the kernel chooses.
    pub(crate) bind: Option<IpAddr>,
    /// Between two queries to one server.
    pub(crate) gap: Duration,
    pub(crate) tcp: bool,
    /// The names asked for lie under this one and no other run's: `0.9f3a2b1c.test`.
    pub(crate) zone: String,
}

impl Plan {
    /// A name under `parent` that nobody else asks for.
    pub(crate) fn zone_under(parent: &str) -> String {
        match parent.trim_matches('.') {
            "" => random_label(),
            parent => format!("{}.{}", random_label(), parent.to_ascii_lowercase()),
        }
    }

    /// The ports that have to be watched.
    pub(crate) fn dns_ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self.servers.iter().map(SocketAddr::port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}
