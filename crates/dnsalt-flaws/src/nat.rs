//! Ports as NAT and RFC 6056 choose them.

use crate::world::{Sample, ports, start};
use crate::{Flaw, Subject};

type Make = fn(u64, usize) -> Vec<Sample>;

const fn port(name: &'static str, what: &'static str, samples: usize, make: Make) -> Flaw {
    Flaw { name, what, subject: Subject::Port, samples, make }
}

/// A hash that stands for the keyed ones of RFC 6056.
fn hash(key: u64, value: u64) -> u32 {
    let mut x = key ^ value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^= x >> 29;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (x ^ x >> 32) as u32
}

const LOWEST: u32 = 1024;
const RANGE: u32 = 64_512;

pub(crate) const FLAWS: &[Flaw] = &[
    port("nat-counts", "a NAT that counts up from some port", 12, |seed, n| {
        let mut next = start(seed).below(RANGE);
        ports(seed, n, |_, _, _| {
            next = (next + 1) % RANGE;
            (LOWEST + next) as u16
        })
    }),
    port("nat-counts-gaps", "a NAT that counts, with others behind it", 26, |seed, n| {
        let mut next = start(seed).below(RANGE);
        ports(seed, n, |chance, _, _| {
            next = (next + 1 + chance.below(100)) % RANGE;
            (LOWEST + next) as u16
        })
    }),
    port(
        "rfc6056-alg3",
        "RFC 6056 algorithm 3: a hash of the server and one counter",
        60,
        |seed, n| {
            let (key, mut counter) = (start(seed).u64(), 0_u32);
            ports(seed, n, |_, _, server| {
                counter += 1;
                (LOWEST + hash(key, u64::from(server)).wrapping_add(counter) % RANGE) as u16
            })
        },
    ),
    port(
        "rfc6056-alg4",
        "RFC 6056 algorithm 4: a hash of the server and a counter for each group",
        60,
        |seed, n| {
            let (key, mut counters) = (start(seed).u64(), [0_u32; 16]);
            ports(seed, n, |_, _, server| {
                let group = hash(!key, u64::from(server)) as usize % 16;
                counters[group] += 1;
                (LOWEST + hash(key, u64::from(server)).wrapping_add(counters[group]) % RANGE) as u16
            })
        },
    ),
    port("rfc6056-alg5", "RFC 6056 algorithm 5: up by 1 to 500 at random", 40, |seed, n| {
        let mut next = start(seed).below(RANGE);
        ports(seed, n, |chance, _, _| {
            next = (next + 1 + chance.below(500)) % RANGE;
            (LOWEST + next) as u16
        })
    }),
    port("nat-lifo", "a NAT that takes the port that became free last", 60, |seed, n| {
        let mut chance = start(seed);
        let mut free: Vec<u16> = (0..2000).map(|_| chance.port(true)).collect();
        let mut busy: Vec<(u64, u16)> = Vec::new();
        ports(seed, n, |chance, time, _| {
            // A mapping is free again some time after its query.
            let (over, on): (Vec<_>, Vec<_>) = busy.iter().partition(|(end, _)| *end <= time);
            free.extend(over.iter().map(|(_, port)| *port));
            busy = on;
            let port = free.pop().unwrap_or(1024);
            busy.push((time + 20_000_000 + u64::from(chance.below(40_000_000)), port));
            port
        })
    }),
    port(
        "nat-sticky",
        "conntrack: one random port for each server while it is in use",
        100,
        |seed, n| {
            let mut last: [Option<(u64, u16)>; 8] = [None; 8];
            ports(seed, n, |chance, time, server| {
                let entry = &mut last[usize::from(server)];
                let port = match entry {
                    Some((used, port)) if time - *used < 30_000_000_000 => *port,
                    _ => chance.port(true),
                };
                *entry = Some((time, port));
                port
            })
        },
    ),
];
