//! What the salt engine tells of: near misses and lockdowns. Many of a kind within a second are told as
//! one, with their number.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dnsalt_salt::layout::{Counter, Event};

use super::Keeper;
use crate::metrics::{AgentCounters, EventKind, ExecResult};

/// Of one kind and server, one line in so long.
const EVERY: Duration = Duration::from_secs(1);
/// Kinds and servers that are told apart; more of them within a second are told as others.
const MOST: usize = 64;

/// A program that is started for what needs somebody's attention.
#[derive(Clone, Debug)]
pub(crate) struct Alert {
    pub(crate) program: PathBuf,
}

/// Of one kind, about one server.
#[derive(Debug)]
struct Heap {
    /// The first of them.
    first: Event,
    count: u64,
}

/// The ring, and what is not told yet.
pub(super) struct Events {
    ring: Option<dnsalt_bpf::Events>,
    heaps: BTreeMap<(u32, IpAddr), Heap>,
    others: u64,
    told: Instant,
    alert: Option<Alert>,
    running: Option<std::process::Child>,
    counters: Arc<AgentCounters>,
}

impl Events {
    pub(super) fn new(alert: Option<Alert>, counters: Arc<AgentCounters>) -> Self {
        let (heaps, told) = (BTreeMap::new(), Instant::now());
        Events { ring: None, heaps, others: 0, told, alert, running: None, counters }
    }

    /// Opens the ring of what is installed now.
    pub(super) fn follow(&mut self, keeper: &Keeper) {
        self.ring = keeper.bpffs().and_then(|bpffs| match dnsalt_bpf::Events::open(&bpffs) {
            Ok(ring) => Some(ring),
            Err(error) => {
                tracing::error!("events of the engine cannot be read: {error}");
                None
            }
        });
    }

    /// Readable when there are some.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.ring.as_ref().map(|ring| ring.as_fd())
    }

    /// Reads what there is; tells what is due.
    pub(super) fn tell(&mut self) {
        self.reap();
        if let Some(ring) = &mut self.ring {
            for event in ring {
                self.counters.event(EventKind::of(event.counter));
                let key = (event.counter, IpAddr::from(event.server));
                if let Some(heap) = self.heaps.get_mut(&key) {
                    heap.count += 1;
                } else if self.heaps.len() < MOST {
                    self.heaps.insert(key, Heap { first: event, count: 1 });
                } else {
                    self.others += 1;
                }
            }
        }
        if self.told.elapsed() < EVERY || (self.heaps.is_empty() && self.others == 0) {
            return;
        }
        self.told = Instant::now();
        for ((_, server), heap) in std::mem::take(&mut self.heaps) {
            self.say(server, &heap);
        }
        let others = std::mem::take(&mut self.others);
        if others > 0 {
            tracing::warn!(event = "near-miss", count = others, "forged replies of other servers");
        }
    }

    fn say(&mut self, server: IpAddr, heap: &Heap) {
        let (first, count) = (&heap.first, heap.count);
        let client = IpAddr::from(first.client);
        let named = |number| Counter::ALL.iter().find(|counter| **counter as u32 == number);
        let kind = named(first.counter);
        match kind {
            Some(Counter::Lockdowns) => {
                let cause = named(first.cause).map_or("", |of| dnsalt_bpf::counter_name(*of));
                tracing::error!(
                    event = "lockdown",
                    cause,
                    %server,
                    count,
                    "{server} is being forged: it is asked over TCP alone for now"
                );
                self.alert(&[("EVENT", "lockdown".to_owned()), ("SERVER", server.to_string())]);
            }
            Some(kind) => {
                let what = dnsalt_bpf::counter_name(*kind);
                tracing::warn!(
                    event = "near-miss",
                    kind = what,
                    %server,
                    %client,
                    port = first.port,
                    id = first.id,
                    wanted_id = first.wanted_id,
                    count,
                    "forged replies of {server} to a right port"
                );
                self.alert(&[
                    ("EVENT", "near-miss".to_owned()),
                    ("KIND", what.to_owned()),
                    ("SERVER", server.to_string()),
                    ("CLIENT", client.to_string()),
                    ("COUNT", count.to_string()),
                ]);
            }
            None => {}
        }
    }

    /// Looks how the program that was started ended, if it did.
    fn reap(&mut self) {
        let ended = self.running.as_mut().and_then(|running| running.try_wait().transpose());
        if let Some(status) = ended {
            let ok = status.is_ok_and(|status| status.success());
            self.counters.executed(if ok { ExecResult::Ok } else { ExecResult::Failed });
            self.running = None;
        }
    }

    /// Starts the program, with what it is about in its environment; one at a time.
    fn alert(&mut self, values: &[(&str, String)]) {
        self.reap();
        let Some(alert) = &self.alert else { return };
        if self.running.is_some() {
            self.counters.executed(ExecResult::Skipped);
            return;
        }
        let mut command = Command::new(&alert.program);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        command.envs(values.iter().map(|(name, value)| (format!("DNSALT_{name}"), value)));
        match command.spawn() {
            Ok(child) => self.running = Some(child),
            Err(error) => {
                self.counters.executed(ExecResult::Failed);
                tracing::error!(event = "alert-failed", "{}: {error}", alert.program.display());
            }
        }
    }
}
