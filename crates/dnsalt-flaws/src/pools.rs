//! Ports out of too few.

use crate::world::{Chance, Sample, ports, start};
use crate::{Flaw, Subject};

type Make = fn(u64, usize) -> Vec<Sample>;

const fn port(name: &'static str, what: &'static str, samples: usize, make: Make) -> Flaw {
    Flaw { name, what, subject: Subject::Port, samples, make }
}

/// Different ports scattered over all.
fn scattered(chance: &mut Chance, count: usize) -> Vec<u16> {
    let mut list = Vec::with_capacity(count);
    let mut taken = vec![false; 1 << 16];
    while list.len() < count {
        let port = chance.port(true);
        if !std::mem::replace(&mut taken[usize::from(port)], true) {
            list.push(port);
        }
    }
    list
}

fn of_pool(seed: u64, n: usize, count: usize) -> Vec<Sample> {
    let pool = scattered(&mut start(seed), count);
    ports(seed, n, |chance, _, _| pool[chance.below(pool.len() as u32) as usize])
}

fn within(seed: u64, n: usize, lowest: u32, count: u32) -> Vec<Sample> {
    ports(seed, n, |chance, _, _| (lowest + chance.below(count)) as u16)
}

pub(crate) const FLAWS: &[Flaw] = &[
    port("pool-2", "two ports", 26, |seed, n| of_pool(seed, n, 2)),
    port("pool-16", "16 ports", 26, |seed, n| of_pool(seed, n, 16)),
    port("pool-26", "26 ports far apart: as deviation goes they are GREAT", 60, |seed, n| {
        of_pool(seed, n, 26)
    }),
    port(
        "pool-2500",
        "2,500 sockets opened beforehand: Windows DNS server after MS08-037",
        300,
        |seed, n| of_pool(seed, n, 2500),
    ),
    port("pool-10000", "10,000 ports far apart", 1000, |seed, n| of_pool(seed, n, 10_000)),
    port("block-64", "64 ports in a row: a block of a carrier's NAT", 26, |seed, n| {
        let lowest = start(seed).below(1000) * 64 + 1024;
        within(seed, n, lowest, 64)
    }),
    port(
        "block-stride",
        "64 ports at equal distances: a carrier's NAT that spreads its blocks",
        60,
        |seed, n| {
            let first = 1024 + start(seed).below(1000);
            ports(seed, n, |chance, _, _| (first + 1000 * chance.below(64)) as u16)
        },
    ),
    port("below-512", "what the kernel's NAT makes of port 53 without a range", 26, |seed, n| {
        within(seed, n, 1, 511)
    }),
    port("below-1024", "what it makes of a port between 512 and 1023", 26, |seed, n| {
        within(seed, n, 600, 424)
    }),
    port("narrow-1000", "1,000 ports in a row", 26, |seed, n| {
        let lowest = 1024 + start(seed).below(60_000);
        within(seed, n, lowest, 1000)
    }),
    port("mostly-one-port", "one port for 95 of 100 queries", 26, |seed, n| {
        let most = start(seed).port(true);
        ports(seed, n, |chance, _, _| if chance.below(100) < 95 { most } else { chance.port(true) })
    }),
];
