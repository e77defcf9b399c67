//! The command: one file for each verb under `commands`, what they share beside it.
//!
//! ```text
//!   cli ──> commands::{up, down, status, watch, confirm, rules, config, check, prove, serve, lab}
//!              │
//!              ├─ configuration   command line + dnsalt.toml -> Policy
//!              ├─ engine          nat and salt behind one trait
//!              ├─ state           /run/dnsalt: what was installed, by whom, since when
//!              ├─ status          what is installed, and how strong it is
//!              ├─ metrics         the same and more as numbers, over HTTP
//!              ├─ clock           moments that outlast a clock that is set
//!              ├─ health          does a name still resolve?
//!              ├─ query           queries that nobody can have foreseen
//!              ├─ check           packets to a report
//!              ├─ fleet           packets to columns, and columns to verdicts (feature `fleet`)
//!              ├─ probe           the experiment of `prove` and of the lab
//!              ├─ watch           the live view of `watch`
//!              └─ race            the attack of the lab, and what it should come to
//! ```

pub mod cli;

mod agent;
mod check;
mod clock;
mod commands;
mod configuration;
mod engine;
mod exit;
#[cfg(feature = "fleet")]
mod fleet;
mod health;
mod interfaces;
mod metrics;
mod netlink;
mod new_file;
mod output;
mod page;
mod probe;
mod query;
mod race;
mod resolv_conf;
mod route;
mod state;
mod status;
mod watch;

pub use exit::main;
