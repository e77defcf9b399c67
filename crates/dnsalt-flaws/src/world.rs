//! What the series have in common: chance, time and servers.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// A query as it is seen on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Which server it went to.
    pub server: u8,
    /// The source port.
    pub port: u16,
    /// The query ID.
    pub id: u16,
}

/// Chance, from a seed.
pub(crate) struct Chance(ChaCha8Rng);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Chance(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub(crate) fn u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    pub(crate) fn u16(&mut self) -> u16 {
        (self.0.next_u32() >> 16) as u16
    }

    /// Uniform below a bound.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.0.next_u32()) * u64::from(bound)) >> 32) as u32
    }

    /// Uniform in [0, 1).
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A port of a good range: all that are not privileged, or those that Linux gives out.
    pub(crate) fn port(&mut self, wide: bool) -> u16 {
        let (lowest, size) = if wide { (1024, 64_512) } else { (32_768, 28_232) };
        (lowest + self.below(size)) as u16
    }
}

/// Queries whose ports and IDs `draw` chooses, at random times to random servers.
pub(crate) fn queries(
    seed: u64,
    n: usize,
    mut draw: impl FnMut(&mut Chance, u64, u8) -> (u16, u16),
) -> Vec<Sample> {
    let mut chance = Chance::new(seed);
    // Some time in 2026.
    let mut time = 1_767_225_600_000_000_000 + chance.u64() % 31_000_000_000_000_000;
    let mut sample = |_| {
        // Queries come on average every 20 ms, at random.
        let gap = -(1.0 - chance.fraction()).ln() * 20e6;
        time += 1000 + gap as u64;
        let server = chance.below(8) as u8;
        let (port, id) = draw(&mut chance, time, server);
        Sample { time, server, port, id }
    };
    (0..n).map(&mut sample).collect()
}

/// Queries with good ports and IDs from elsewhere.
pub(crate) fn ids(seed: u64, n: usize, mut id: impl FnMut(&mut Chance) -> u16) -> Vec<Sample> {
    queries(seed, n, |chance, _, _| (chance.port(seed.is_multiple_of(2)), id(chance)))
}

/// Queries with good IDs and ports from elsewhere.
pub(crate) fn ports(
    seed: u64,
    n: usize,
    mut port: impl FnMut(&mut Chance, u64, u8) -> u16,
) -> Vec<Sample> {
    queries(seed, n, |chance, time, server| (port(chance, time, server), chance.u16()))
}

/// Chance for what a program draws once, at its start.
pub(crate) fn start(seed: u64) -> Chance {
    Chance::new(!seed)
}
