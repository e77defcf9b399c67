//! The race of the lab as `dnsalt lab attack` runs it: with this program on the gateway, next to what the
//! formula of RFC 5452 foretells.

pub(crate) mod html;
pub(crate) mod plan;
pub(crate) mod progress;
pub(crate) mod text;

mod predict;
mod run;

use dnsalt_lab::race::Raced;
use serde::Serialize;

pub(crate) use predict::Prediction;
pub(crate) use run::run;

/// All that was run. The JSON of `lab attack`.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Of this structure.
    pub(crate) schema: u32,
    /// Of dnsalt.
    pub(crate) version: &'static str,
    /// Release of the kernel.
    pub(crate) kernel: String,
    /// The races, in the order in which they were run.
    pub(crate) races: Vec<Race>,
    /// Scenarios that could not be run here, and why.
    pub(crate) skipped: Vec<Skipped>,
}

/// The version of [`Report`].
pub(crate) const SCHEMA: u32 = 1;

/// A scenario that was not run.
#[derive(Debug, Serialize)]
pub(crate) struct Skipped {
    pub(crate) title: String,
    pub(crate) why: String,
}

/// One race.
#[derive(Debug, Serialize)]
pub(crate) struct Race {
    pub(crate) title: String,
    pub(crate) victim: &'static str,
    pub(crate) protection: String,
    pub(crate) attack: &'static str,
    /// What the lab told the attacker of each query, if anything.
    pub(crate) told: Option<dnsalt_lab::race::Told>,
    /// Ports that the attacker took for possible.
    pub(crate) ports: [u16; 2],
    /// The attacker's window, in seconds.
    pub(crate) delay: f64,
    /// Name servers of the zone.
    pub(crate) servers: u8,
    #[serde(flatten)]
    pub(crate) raced: Raced,
    /// What dnsalt counted; none where it was not installed.
    pub(crate) counted: Option<Counted>,
    pub(crate) predicted: Prediction,
    pub(crate) expectations: Vec<Expectation>,
}

/// What the engine on the gateway counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counted {
    /// Queries that were salted.
    pub(crate) queries: u64,
    /// Forged replies to the right port, none of them let in; with the salt engine.
    pub(crate) near_misses: Option<u64>,
    /// Replies that no query waited for, and that were dropped.
    pub(crate) unsolicited: Option<u64>,
    /// Queries that were sent to TCP; with the salt engine.
    pub(crate) to_tcp: Option<u64>,
    /// Times that a server was only asked over TCP for a while; with the salt engine.
    pub(crate) lockdowns: Option<u64>,
}

/// What a scenario expects, and what was seen.
#[derive(Debug, Serialize)]
pub(crate) struct Expectation {
    pub(crate) what: String,
    pub(crate) seen: String,
    pub(crate) met: bool,
}

impl Report {
    /// Whether all was as expected.
    pub(crate) fn is_fine(&self) -> bool {
        self.races.iter().flat_map(|race| &race.expectations).all(|expectation| expectation.met)
    }
}

impl Race {
    /// The share of windows that should have been won and the share that was, apart by how many standard
    /// deviations; for attacks that went on after a success.
    pub(crate) fn deviations(&self) -> f64 {
        let attacked = &self.raced.attacked;
        let (n, p) = (attacked.windows as f64, self.predicted.window);
        (attacked.hits as f64 - n * p) / (n * p * (1.0 - p)).sqrt().max(f64::MIN_POSITIVE)
    }
}
