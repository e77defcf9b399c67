//! What the salt engine tells of: near misses and lockdowns. Many of a kind within a second are told as
//! one, with their number.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dnsalt_bpf::Told;
use dnsalt_salt::layout::{Counter, Event};

use super::Keeper;
use super::course::{Change, Course};
use super::forged::{self, Forged};
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
    first: Told,
    count: u64,
}

/// The ring, and what is not told yet.
pub(super) struct Events {
    ring: Option<dnsalt_bpf::Events>,
    heaps: BTreeMap<(u32, IpAddr), Heap>,
    others: u64,
    course: Course,
    told: Instant,
    alert: Option<Alert>,
    forged: Option<Forged>,
    running: Option<std::process::Child>,
    counters: Arc<AgentCounters>,
}

impl Events {
    pub(super) fn new(alert: Option<Alert>, counters: Arc<AgentCounters>) -> Self {
        Events {
            ring: None,
            heaps: BTreeMap::new(),
            others: 0,
            course: Course::default(),
            told: Instant::now(),
            alert,
            forged: None,
            running: None,
            counters,
        }
    }

    /// Where forged packets are kept from now on.
    pub(super) fn keep_in(&mut self, forged: Option<Forged>) {
        self.forged = forged;
    }

    /// Opens the ring of what is installed now.
    pub(super) fn follow(&mut self, keeper: &Keeper) {
        self.course.follow(keeper);
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
            for told in ring {
                self.counters.event(EventKind::of(told.event.counter));
                keep(&mut self.forged, &told);
                let key = (told.event.counter, IpAddr::from(told.event.server));
                if let Some(heap) = self.heaps.get_mut(&key) {
                    heap.count += 1;
                } else if self.heaps.len() < MOST {
                    self.heaps.insert(key, Heap { first: told, count: 1 });
                } else {
                    self.others += 1;
                }
            }
        }
        if self.told.elapsed() < EVERY {
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
        for change in self.course.look() {
            self.changed(change);
        }
    }

    fn changed(&mut self, change: Change) {
        match change {
            Change::LockdownEnded { server, lasted } => {
                let seconds = lasted.as_secs();
                let event = "lockdown-ended";
                tracing::info!(event, %server, seconds, "{server} is asked over UDP again");
            }
            Change::SlotsFull { queries } => {
                let (event, table) = ("table-full", "slots");
                tracing::error!(event, table, count = queries, "{queries} queries found no slot");
                self.table_full(table, queries);
            }
            Change::ConntrackFull { flows, room } => {
                let (event, table) = ("table-full", "conntrack");
                tracing::error!(event, table, count = flows, room, "conntrack is nearly full");
                self.table_full(table, flows);
            }
        }
    }

    fn table_full(&mut self, table: &str, count: u64) {
        let values = [
            ("EVENT", "table-full".to_owned()),
            ("KIND", table.to_owned()),
            ("COUNT", count.to_string()),
        ];
        self.alert(values.into_iter());
    }

    fn say(&mut self, server: IpAddr, heap: &Heap) {
        let first = &heap.first.event;
        let name = forged::name(&heap.first.packet).unwrap_or_default();
        let about = if is(first, Counter::Lockdowns) {
            self.course.lockdown(server);
            say_lockdown(server, &name, heap)
        } else if is(first, Counter::CaseLearned) || is(first, Counter::CookieLearned) {
            say_learned(server, first)
        } else {
            say_near_miss(server, &name, heap)
        };
        let count = ("COUNT", heap.count.to_string());
        let of_all = [("SERVER", server.to_string()), ("NAME", name), count];
        self.alert(about.into_iter().chain(of_all));
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
    fn alert(&mut self, values: impl Iterator<Item = (&'static str, String)>) {
        self.reap();
        let Some(alert) = &self.alert else { return };
        if self.running.is_some() {
            self.counters.executed(ExecResult::Skipped);
            return;
        }
        let mut command = Command::new(&alert.program);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        command.envs(values.map(|(name, value)| (format!("DNSALT_{name}"), value)));
        match command.spawn() {
            Ok(child) => self.running = Some(child),
            Err(error) => {
                self.counters.executed(ExecResult::Failed);
                tracing::error!(event = "alert-failed", "{}: {error}", alert.program.display());
            }
        }
    }
}

/// What a program that is started for an event is told of it, by the ends of the names of its variables.
type About = Vec<(&'static str, String)>;

fn is(event: &Event, counter: Counter) -> bool {
    event.counter == counter as u32
}

fn say_lockdown(server: IpAddr, name: &str, heap: &Heap) -> About {
    let cause = counter_name(heap.first.event.cause);
    tracing::error!(
        event = "lockdown",
        cause,
        %server,
        name,
        count = heap.count,
        "{server} is being forged: it is asked over TCP alone for now"
    );
    vec![("EVENT", "lockdown".to_owned()), ("KIND", cause.to_owned())]
}

fn say_learned(server: IpAddr, event: &Event) -> About {
    let cause = match event.cause {
        cause if cause == Counter::WrongCase as u32 => "wrong_case",
        cause if cause == Counter::CookieMissing as u32 => "cookie_missing",
        _ => "no_reply",
    };
    let (event, what) = if is(event, Counter::CaseLearned) {
        ("case-learned", "does not keep the case of letters")
    } else {
        ("cookies-learned", "does not answer queries with cookies")
    };
    tracing::warn!(event, cause, %server, "{server} {what}: it is left alone with that for a day");
    vec![("EVENT", event.to_owned()), ("KIND", cause.to_owned())]
}

/// What came to the right port: another server, ID or question, or all right but the case of letters or the
/// cookie.
fn say_near_miss(server: IpAddr, name: &str, heap: &Heap) -> About {
    let first = &heap.first.event;
    let (kind, client) = (counter_name(first.counter), IpAddr::from(first.client));
    let (event, what) = if is(first, Counter::WrongCase) {
        ("wrong-case", "replies that are right but for the case of letters")
    } else if is(first, Counter::CookieMissing) {
        ("cookie-missing", "replies that are right but for the cookie")
    } else {
        ("near-miss", "forged replies")
    };
    tracing::warn!(
        event,
        kind,
        %server,
        %client,
        name,
        port = first.port,
        id = first.id,
        wanted_id = first.wanted_id,
        id_distance = distance(first),
        count = heap.count,
        "{what} of {server} to a right port"
    );
    vec![("EVENT", event.to_owned()), ("KIND", kind.to_owned()), ("CLIENT", client.to_string())]
}

/// What the engine calls a counter.
fn counter_name(number: u32) -> &'static str {
    let counter = Counter::ALL.iter().find(|counter| **counter as u32 == number);
    counter.map_or("", |counter| dnsalt_bpf::counter_name(*counter))
}

/// How far the guess at the ID was off, the shorter way round.
fn distance(event: &Event) -> u16 {
    let up = event.id.wrapping_sub(event.wanted_id);
    up.min(up.wrapping_neg())
}

/// One that cannot be kept is told of; none is tried any more.
fn keep(forged: &mut Option<Forged>, told: &Told) {
    let Some(file) = forged else { return };
    if let Err(error) = file.keep(told, &comment(&told.event)) {
        tracing::error!(event = "not-kept", "forged packets are kept no more: {error}");
        *forged = None;
    }
}

/// Why the packet was dropped.
fn comment(event: &Event) -> String {
    let (server, client) = (IpAddr::from(event.server), IpAddr::from(event.client));
    if is(event, Counter::Lockdowns) {
        return format!("lockdown of {server} begins: {}", counter_name(event.cause));
    }
    if is(event, Counter::CaseLearned) {
        return format!("{server} does not keep the case of letters");
    }
    if is(event, Counter::CookieLearned) {
        return format!("{server} does not answer queries with cookies");
    }
    let (what, port) = (counter_name(event.counter), event.port);
    let asked = format!("{client} waits at port {port}");
    match what {
        "wrong_server" => format!("{what}: {asked}, but not for {server}"),
        "wrong_case" | "cookie_missing" => {
            format!("{what}: {asked} for {server}, ID and name are right")
        }
        _ => format!("{what}: {asked} for {server} and ID {}, not {}", event.wanted_id, event.id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_is_off_by_the_shorter_way_round() {
        let guess = |id, wanted_id| distance(&Event { id, wanted_id, ..Event::default() });
        assert_eq!([guess(5, 3), guess(3, 5), guess(1, 65535), guess(40000, 0)], [2, 2, 2, 25536]);
        assert_eq!(guess(0x8000, 0), 0x8000);
    }
}
