//! All numbers for Prometheus and its like, over HTTP.
//!
//! ```text
//!   GET /metrics ──> server ──> Metrics ──┬─ kernel    what `status` shows, the salt engine's tables;
//!                                         │            read once a second at most (cache)
//!                                         ├─ agent     what the agent counts itself
//!                                         └─ process   what every process tells
//!                                              │
//!                       catalogue: what each ──┴──> family ──> encode ──> text, OpenMetrics
//! ```
//!
//! Whoever serves it: [`Server::bind`] while there are still rights, [`Metrics::new`], [`Server::run`].

mod agent;
mod cache;
mod catalogue;
mod encode;
mod family;
mod kernel;
mod process;
mod server;
mod serving;

#[cfg(test)]
mod packaging_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::state::Store;
use cache::{Cache, Limits, Read};
use catalogue as metric;
use family::Families;
use kernel::Reading;

pub(crate) use agent::{AgentCounters, EventKind, ExecResult};
pub(crate) use encode::Format;
pub(crate) use server::{Address, Server};
pub(crate) use serving::Serving;

/// The kernel is read once a second at most; less often where that takes long, as listing a large conntrack
/// does.
const FRESH: Limits = Limits { least: Duration::from_secs(1), most: Duration::from_secs(10) };
/// A scrape waits this long for a reading, and shows the one before if it takes longer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Older than this, a reading says nothing of now. Another `dnsalt` may hold the lock for 20 seconds.
const STALE: Duration = Duration::from_secs(30);

/// What a server shows.
pub(crate) trait Source: Send + Sync {
    /// All metrics.
    fn metrics(&self, format: Format) -> String;

    /// Whether all is well.
    fn health(&self) -> Health;
}

impl<S: Source + ?Sized> Source for Arc<S> {
    fn metrics(&self, format: Format) -> String {
        self.as_ref().metrics(format)
    }

    fn health(&self) -> Health {
        self.as_ref().health()
    }
}

/// Whether all is well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Health {
    /// Queries are salted, and nothing is wrong.
    pub(crate) protected: bool,
    /// What is wrong, in words.
    pub(crate) problems: Vec<String>,
}

/// Everything that is known, of the network namespace of the thread that asks.
pub(crate) struct Metrics {
    counters: Arc<AgentCounters>,
    kernel: Cache<Result<Reading, String>>,
    reads: Arc<[AtomicU64; 2]>,
}

impl Metrics {
    pub(crate) fn new(store: Store, counters: Arc<AgentCounters>) -> Self {
        Self::reading(counters, move || kernel::read(&store))
    }

    fn reading(
        counters: Arc<AgentCounters>,
        read: impl Fn() -> anyhow::Result<Reading> + Send + Sync + 'static,
    ) -> Self {
        let reads = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let count = Arc::clone(&reads);
        let kernel = Cache::new(FRESH, move || {
            let result = read().map_err(|error| format!("{error:#}"));
            count[usize::from(result.is_err())].fetch_add(1, Ordering::Relaxed);
            result
        });
        Metrics { counters, kernel, reads }
    }

    fn families(&self) -> Families {
        let read = self.kernel.get(PATIENCE);
        let health = judge(read.as_ref());
        let reading = read.as_ref().and_then(|read| read.value.as_ref().as_ref().ok());
        let mut families = Families::default();
        let (engine, backend) = reading.map_or((None, None), |reading| {
            (reading.status.engine, reading.status.backend.as_deref())
        });
        let labels =
            [env!("CARGO_PKG_VERSION"), engine.unwrap_or("none"), backend.unwrap_or("none")];
        families.add_by(&metric::INFO, &labels, 1_u64);
        families.add(&metric::PROTECTED, health.protected);
        families.add(&metric::PROBLEMS, health.problems.len());
        if let Some(reading) = reading {
            reading.export(self.counters.key_renewed_at(), &mut families);
        }
        self.counters.export(&mut families);
        for (result, count) in ["ok", "failed"].iter().zip(self.reads.iter()) {
            families.add_by(&metric::READS, &[result], count.load(Ordering::Relaxed));
        }
        if let Some(read) = &read {
            families.add(&metric::READ_DURATION, read.took.as_secs_f64());
            families.add(&metric::READ_AGE, read.at.elapsed().as_secs_f64());
        }
        process::export(&mut families);
        families
    }
}

impl Source for Metrics {
    fn metrics(&self, format: Format) -> String {
        encode::encode(self.families(), format)
    }

    fn health(&self) -> Health {
        judge(self.kernel.get(PATIENCE).as_ref())
    }
}

/// What cannot be seen is not taken for well.
fn judge(read: Option<&Read<Result<Reading, String>>>) -> Health {
    let broken = |problem: String| Health { protected: false, problems: vec![problem] };
    let Some(read) = read else {
        return broken("the firewall has not answered yet".to_owned());
    };
    let age = read.at.elapsed();
    if age > STALE {
        return broken(format!("the firewall has not answered for {} s", age.as_secs()));
    }
    match read.value.as_ref() {
        Err(error) => broken(error.clone()),
        Ok(Reading { status, .. }) => {
            let mut problems = status.problems.clone();
            if status.engine.is_none() && problems.is_empty() {
                problems.push("nothing is installed; run `dnsalt up`".to_owned());
            }
            Health { protected: status.protected, problems }
        }
    }
}
