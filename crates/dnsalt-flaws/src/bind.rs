//! What BIND drew its IDs with, version by version.

use crate::world::{Chance, ids, queries, start};
use crate::{Flaw, Sample, Subject};

/// xoshiro128** in the variant of BIND: the first word is shown.
struct Xoshiro([u32; 4]);

impl Xoshiro {
    fn new(chance: &mut Chance) -> Self {
        Xoshiro([chance.u32(), chance.u32(), chance.u32(), chance.u32() | 1])
    }

    fn next(&mut self) -> u32 {
        let s = &mut self.0;
        let shown = s[0].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 9;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(11);
        shown
    }

    /// A port by remainder (9.18), then an ID.
    fn query(&mut self) -> (u16, u16) {
        ((32_768 + self.next() % 28_232) as u16, self.next() as u16)
    }
}

/// The two shift registers of BIND 9 to 9.4.1, which drive each other.
struct Registers {
    a: u32,
    b: u32,
}

impl Registers {
    fn shift(state: &mut u32, taps: u32, steps: u32) {
        for _ in 0..steps {
            let out = *state & 1;
            *state = *state >> 1 ^ if out == 1 { taps } else { 0 };
        }
    }

    fn next(&mut self) -> u16 {
        let (skip_a, skip_b) = (self.a & 1, self.b & 1);
        Self::shift(&mut self.a, 0x8000_0057, 1 + skip_b);
        Self::shift(&mut self.b, 0x8000_0062, 1 + skip_a);
        (self.a ^ self.b) as u16
    }
}

/// BIND 8's generator of IDs, "algorithm B" of Knuth: a table of 100 values is shuffled.
fn shuffle(seed: u64, n: usize) -> Vec<Sample> {
    let mut chance = start(seed);
    let (a, c) = (chance.u16() & !3 | 5, chance.u16() | 1);
    let (a2, c2) = (chance.u16() | 1, chance.u16());
    let mut state = chance.u16();
    let mut step = move || {
        state = state.wrapping_mul(a).wrapping_add(c);
        state
    };
    let mut table: Vec<u16> = (0..100).map(|_| step()).collect();
    let mut last = step();
    ids(seed, n, |_| {
        let place = (usize::from(last) * 100) >> 16;
        last = table[place];
        table[place] = step();
        last.wrapping_mul(a2).wrapping_add(c2)
    })
}

/// BIND 8.1 and 9.4.1-P1: a pool of all IDs, of which one near a moving place is swapped out.
fn pool(seed: u64, n: usize) -> Vec<Sample> {
    let mut chance = start(seed);
    let (a, c) = (chance.u16() & !3 | 5, chance.u16() | 1);
    let affine = [(); 2].map(|()| (chance.u16() | 1, chance.u16()));
    let mut value = chance.u16();
    let mut pool: Vec<u16> = (0..1 << 16)
        .map(|_| {
            value = value.wrapping_mul(a).wrapping_add(c);
            value
        })
        .collect();
    let mut place = usize::from(chance.u16());
    ids(seed, n, |chance| {
        // Traffic perturbs which of the next 4,096 it is.
        let pick = (place + chance.below(0x1000) as usize) & 0xffff;
        pool.swap(place, pick);
        let id = pool[place];
        place = (place + 1) & 0xffff;
        affine.iter().fold(id, |id, (a, c)| id.wrapping_mul(*a).wrapping_add(*c))
    })
}

pub(crate) const FLAWS: &[Flaw] = &[
    Flaw {
        name: "bind-xoshiro",
        what: "BIND 9.16 to 9.18.39 (CVE-2025-40780), one thread: port, then ID",
        subject: Subject::Both,
        samples: 28,
        make: |seed, n| {
            let mut random = Xoshiro::new(&mut start(seed));
            queries(seed, n, |_, _, _| random.query())
        },
    },
    Flaw {
        name: "bind-xoshiro-product",
        what: "BIND 9.20 to 9.20.13 (CVE-2025-40780), one thread: the port by a product",
        subject: Subject::Both,
        samples: 28,
        make: |seed, n| {
            let mut random = Xoshiro::new(&mut start(seed));
            queries(seed, n, |_, _, _| {
                let port = ((u64::from(random.next()) * 28_232) >> 32) as u16;
                (32_768 + port, random.next() as u16)
            })
        },
    },
    Flaw {
        name: "bind9-registers",
        what: "BIND 9 to 9.4.1 (VU#252735): two shift registers that drive each other",
        subject: Subject::Id,
        samples: 30,
        make: |seed, n| {
            let mut chance = start(seed);
            let mut random = Registers { a: chance.u32() | 1, b: chance.u32() | 1 };
            ids(seed, n, |_| random.next())
        },
    },
    Flaw {
        name: "bind8-shuffle",
        what: "BIND 8: a shuffled table of 100 values of a 16-bit generator",
        subject: Subject::Id,
        samples: 400,
        make: shuffle,
    },
    Flaw {
        name: "bind8-pool",
        what: "BIND 8.1 and 9.4.1-P1: a shuffled pool of all IDs",
        subject: Subject::Id,
        samples: 2000,
        make: pool,
    },
];

/// Seen with a deep search only.
pub(crate) const DEEP: &[Flaw] = &[Flaw {
    name: "bind-xoshiro-threads",
    what: "BIND 9.18.39 (CVE-2025-40780), two threads that take turns at random",
    subject: Subject::Id,
    samples: 250,
    make: |seed, n| {
        let mut chance = start(seed);
        let mut threads = [Xoshiro::new(&mut chance), Xoshiro::new(&mut chance)];
        queries(seed, n, |chance, _, _| threads[chance.below(2) as usize].query())
    },
}];
