//! Networks in namespaces: hosts, links between them, and DNS servers on them.
//!
//! ```text
//!   Host = a thread with network, mount and UTS namespaces of its own
//!          own interfaces, routes, firewall, conntrack; own /run, /sys and /etc/resolv.conf
//! ```
//!
//! Nothing has a name in the system, so there is nothing to clean up: when the process ends, by
//! return, panic, Ctrl-C or `kill -9`, the kernel removes the namespaces with all that is in them.
//! No host has a way out: the only links are those between hosts.
// setns-like calls and what runs between fork and exec have no safe form.
#![allow(unsafe_code)]

pub mod actor;
pub mod load;
pub mod race;
pub mod topology;

mod command;
mod host;
mod need;

pub use command::{HostCommand, Running};
pub use host::{Host, link};
pub use need::{Skip, require, require_root};

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

/// What could not be done, where, and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// The system refused to make a host.
    #[error("host {host}: {operation}: {cause}")]
    Host {
        /// Its name.
        host: String,
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// A command on a host could not be started.
    #[error("host {host}: {command}: {cause}")]
    Command {
        /// Where.
        host: String,
        /// The command with its arguments.
        command: String,
        /// What the system said.
        cause: io::Error,
    },
    /// A script on a host failed.
    #[error("host {host}: `{script}` failed: {stderr}")]
    Script {
        /// Where.
        host: String,
        /// All of it.
        script: String,
        /// What it said.
        stderr: String,
    },
    /// Something that should come does not.
    #[error("{what} did not come within {patience:?}")]
    NotReady {
        /// What.
        what: &'static str,
        /// How long it was waited for.
        patience: Duration,
    },
    /// An address that is not the lab's was to be attacked.
    #[error("{0} is no address of the lab's network: nothing was sent there")]
    NotOurs(Ipv4Addr),
    /// The attacker does not stand where the lab put it.
    #[error("the attacker has a way out of the lab: nothing was sent")]
    Outside,
}
