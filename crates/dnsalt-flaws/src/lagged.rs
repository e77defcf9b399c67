//! Additive lagged Fibonacci generators.

use crate::world::{ids, start};
use crate::{Flaw, Sample, Subject};

/// `random()` of the GNU C library, `TYPE_3`: r(i) = r(i-3) + r(i-31), shown without its lowest bit.
struct Glibc {
    words: Vec<u32>,
}

impl Glibc {
    /// As `srandom()` does it: a Lehmer generator fills 31 words, 310 outputs are thrown away.
    fn new(seed: u32) -> Self {
        let mut words = vec![seed.max(1)];
        for i in 1..31 {
            let next = i64::from(words[i - 1].cast_signed()) * 16_807 % 2_147_483_647;
            words.push(if next < 0 { next + 2_147_483_647 } else { next } as u32);
        }
        for i in 31..34 {
            words.push(words[i - 31]);
        }
        let mut random = Glibc { words };
        for _ in 0..310 {
            random.next();
        }
        random
    }

    fn next(&mut self) -> u32 {
        let n = self.words.len();
        let word = self.words[n - 3].wrapping_add(self.words[n - 31]);
        self.words.push(word);
        word >> 1
    }
}

fn glibc(seed: u64, n: usize, shown: fn(u32) -> u16) -> Vec<Sample> {
    let mut random = Glibc::new(start(seed).u32());
    ids(seed, n, |_| shown(random.next()))
}

pub(crate) const FLAWS: &[Flaw] = &[
    Flaw {
        name: "glibc-random",
        what: "the lower 16 bits of random(): nginx, PowerDNS Recursor before 3.1.5 (CVE-2008-1637)",
        subject: Subject::Id,
        samples: 50,
        make: |seed, n| glibc(seed, n, |x| x as u16),
    },
    Flaw {
        name: "glibc-random-high",
        what: "the upper 16 of the 31 bits of random()",
        subject: Subject::Id,
        samples: 50,
        make: |seed, n| glibc(seed, n, |x| (x >> 15) as u16),
    },
];

/// Seen with a deep search only.
pub(crate) const DEEP: &[Flaw] = &[Flaw {
    name: "go-math-rand",
    what: "Go's math/rand, x(i) = x(i-273) + x(i-607): miekg/dns before 1.1.25 (CVE-2019-19794)",
    subject: Subject::Id,
    samples: 700,
    make: |seed, n| {
        let mut chance = start(seed);
        let mut words: Vec<u64> = (0..607).map(|_| chance.u64()).collect();
        ids(seed, n, |_| {
            let at = words.len();
            words.push(words[at - 607].wrapping_add(words[at - 273]));
            // uint16(rand.Int()) of 63 bits.
            words[at] as u16
        })
    },
}];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let mut random = Glibc::new(1);
        let first = [random.next(), random.next(), random.next()];
        assert_eq!(first, [1_804_289_383, 846_930_886, 1_681_692_777]);
    }
}
