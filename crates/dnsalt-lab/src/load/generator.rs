//! Asks, and checks every answer.

use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};

use super::packet::{self, QUERY, Tag, behind};
use super::socket::{BATCH, Socket};
use super::{CLIENTS, SERVERS};
use crate::{Host, LabError};

/// After so long without an answer a query is lost.
const PATIENCE: Duration = Duration::from_secs(1);
/// Queries that can be outstanding at a time.
const PENDING: usize = 1 << 18;

/// Who asks whom from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One port, one server: a resolver that cannot be patched.
    Fixed,
    /// Sixteen ports, one server.
    Sixteen,
    /// Four clients, each query from a random port: resolvers as they are today.
    Fresh,
    /// Sixteen ports, a thousand servers.
    Servers,
}

impl Shape {
    /// All of them.
    pub const ALL: [Shape; 4] = [Shape::Fixed, Shape::Sixteen, Shape::Fresh, Shape::Servers];

    /// As it is called.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Fixed => "fixed",
            Shape::Sixteen => "sixteen",
            Shape::Fresh => "fresh",
            Shape::Servers => "servers",
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Queries that were sent.
    pub sent: u64,
    /// Right answers.
    pub answered: u64,
    /// Queries without an answer within a second.
    pub lost: u64,
    /// Answers that nobody had asked for, or not so.
    pub wrong: u64,
    /// From the first query to the last answer.
    pub lasted: Duration,
    /// From query to answer, in nanoseconds, in order of length.
    pub latencies: Vec<u64>,
}

impl Outcome {
    /// Right answers a second.
    pub fn rate(&self) -> f64 {
        #[allow(clippy::cast_precision_loss)] // far below 2^52
        let answered = self.answered as f64;
        answered / self.lasted.as_secs_f64().max(1e-9)
    }

    /// The latency that this share of the answers did not exceed.
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        let last = self.latencies.len().checked_sub(1)?;
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let at = (share * last as f64).round() as usize;
        Some(Duration::from_nanos(self.latencies[at.min(last)]))
    }
}

/// A query that waits for its answer.
#[derive(Clone, Copy, Debug, Default)]
struct Pending {
    tag: Tag,
    /// Nanoseconds since the start; none once it is over.
    sent: Option<u64>,
}

/// Asks from the client.
#[derive(Debug)]
pub struct Generator {
    socket: Socket,
    shape: Shape,
    /// Asked instead of the servers: a program that forwards.
    forwarder: Option<Ipv4Addr>,
    pending: Vec<Pending>,
    /// The number of the next query, and of the oldest that may wait.
    next: u32,
    oldest: u32,
    waiting: usize,
    random: u64,
    start: Instant,
    outcome: Outcome,
}

impl Generator {
    /// On the client.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new(host: &Host, shape: Shape, forwarder: Option<Ipv4Addr>) -> Result<Self, LabError> {
        Ok(Generator {
            socket: Socket::open(host, "eth0")?,
            shape,
            forwarder,
            pending: vec![Pending::default(); PENDING],
            next: 0,
            oldest: 0,
            waiting: 0,
            random: 0x9e37_79b9_7f4a_7c15,
            start: Instant::now(),
            outcome: Outcome::default(),
        })
    }

    /// Asks as fast as answers come: so many queries wait at a time.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn as_fast_as_it_goes(&mut self, window: usize, lasts: Duration) -> io::Result<Outcome> {
        self.begin();
        while self.start.elapsed() < lasts {
            while self.waiting + BATCH <= window {
                self.ask(BATCH)?;
            }
            self.hear(true)?;
            self.give_up();
        }
        self.finish()
    }

    /// Asks at a rate, whether answers come or not.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn at_rate(&mut self, rate: f64, lasts: Duration) -> io::Result<Outcome> {
        self.begin();
        while self.start.elapsed() < lasts {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let due = (self.start.elapsed().as_secs_f64() * rate) as u64;
            let behind = usize::try_from(due.saturating_sub(self.outcome.sent)).unwrap_or(BATCH);
            let room = (PENDING - 1).saturating_sub(self.waiting);
            self.ask(behind.min(BATCH).min(room))?;
            // Spinning: sleeping would be what is measured.
            self.hear(false)?;
            self.give_up();
        }
        self.finish()
    }

    fn begin(&mut self) {
        pin(0);
        self.outcome = Outcome::default();
        self.start = Instant::now();
    }

    /// Hears what is still to come.
    fn finish(&mut self) -> io::Result<Outcome> {
        self.outcome.lasted = self.start.elapsed();
        let in_time = self.outcome.answered;
        while self.waiting > 0 {
            self.hear(true)?;
            self.give_up();
        }
        let mut outcome = std::mem::take(&mut self.outcome);
        outcome.answered = in_time;
        outcome.latencies.sort_unstable();
        Ok(outcome)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn random(&mut self) -> u64 {
        // Xorshift: to spread ports, not to be secret.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn tag(&mut self) -> Tag {
        let (number, random) = (self.next, self.random());
        let [a, b, c, d, ..] = random.to_le_bytes();
        let (id, drawn) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        let (client, port) = match self.shape {
            Shape::Fixed => (0, 44444),
            Shape::Sixteen | Shape::Servers => (0, 40000 + (number % 16) as u16),
            Shape::Fresh => (number % 4, drawn.max(1024)),
        };
        let server = if self.shape == Shape::Servers { number % 1000 } else { 0 };
        let server = self.forwarder.map_or_else(|| behind(SERVERS, server), u32::from);
        Tag { number, client: behind(CLIENTS, client), server, port, id }
    }

    fn ask(&mut self, count: usize) -> io::Result<()> {
        let mut packets = [[0; QUERY]; BATCH];
        let sent = self.now();
        for packet in &mut packets[..count] {
            let tag = self.tag();
            *packet = packet::query(tag);
            self.pending[tag.number as usize % PENDING] = Pending { tag, sent: Some(sent) };
            self.next = self.next.wrapping_add(1);
        }
        self.waiting += count;
        self.outcome.sent += count as u64;
        self.socket.send(&mut packets[..count])
    }

    fn hear(&mut self, waits: bool) -> io::Result<()> {
        let got = self.socket.receive(waits)?;
        let now = self.now();
        for index in 0..got {
            let Some(tag) = packet::tag(self.socket.packet(index)) else {
                continue;
            };
            let place = &mut self.pending[tag.number as usize % PENDING];
            match place.sent.filter(|_| place.tag == tag) {
                Some(sent) => {
                    place.sent = None;
                    self.waiting -= 1;
                    self.outcome.answered += 1;
                    self.outcome.latencies.push(now - sent);
                }
                None => self.outcome.wrong += 1,
            }
        }
        Ok(())
    }

    fn give_up(&mut self) {
        let now = self.now();
        let patience = u64::try_from(PATIENCE.as_nanos()).unwrap_or(u64::MAX);
        while self.oldest != self.next {
            let place = &mut self.pending[self.oldest as usize % PENDING];
            match place.sent {
                Some(sent) if now.saturating_sub(sent) < patience => return,
                Some(_) => {
                    place.sent = None;
                    self.waiting -= 1;
                    self.outcome.lost += 1;
                }
                None => {}
            }
            self.oldest = self.oldest.wrapping_add(1);
        }
    }
}

/// Keeps this thread on a processor, where there is one of that number.
pub(super) fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    let _ = sched_setaffinity(None, &set);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let outcome = Outcome { latencies: (1..=101).collect(), ..Outcome::default() };
        let at = |share| outcome.percentile(share).unwrap().as_nanos();
        assert_eq!([at(0.0), at(0.5), at(0.99), at(1.0)], [1, 51, 100, 101]);
        assert_eq!(Outcome::default().percentile(0.5), None);
    }
}
