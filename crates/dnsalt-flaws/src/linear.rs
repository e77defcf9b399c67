//! Generators that are linear over bits.

use crate::world::{ids, start};
use crate::{Flaw, Sample, Subject};

type Make = fn(u64, usize) -> Vec<Sample>;

const fn id(name: &'static str, what: &'static str, samples: usize, make: Make) -> Flaw {
    Flaw { name, what, subject: Subject::Id, samples, make }
}

/// V8's `Math.random()`: values are made in blocks of 64 and given out from the last to the first.
struct MathRandom {
    state: (u64, u64),
    block: Vec<u64>,
}

impl MathRandom {
    fn next(&mut self) -> u16 {
        if self.block.is_empty() {
            for _ in 0..64 {
                let (mut x, s1) = self.state;
                x ^= x << 23;
                x ^= x >> 17;
                x ^= s1 ^ s1 >> 26;
                self.state = (s1, x);
                self.block.push(self.state.0);
            }
        }
        // Math.floor(Math.random() * 65536)
        (self.block.pop().unwrap_or(0) >> 48) as u16
    }
}

/// L'Ecuyer's taus113, Linux's `prandom_u32()`.
pub(crate) fn taus113(state: &mut [u32; 4]) -> u32 {
    let step =
        |s: u32, a: u32, b: u32, mask: u32, d: u32| ((s & mask) << d) ^ (((s << a) ^ s) >> b);
    state[0] = step(state[0], 6, 13, 0xffff_fffe, 18);
    state[1] = step(state[1], 2, 27, 0xffff_fff8, 2);
    state[2] = step(state[2], 13, 21, 0xffff_fff0, 7);
    state[3] = step(state[3], 3, 12, 0xffff_ff80, 13);
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

fn taus_state(seed: u64) -> [u32; 4] {
    let mut chance = start(seed);
    // Each part has a lowest value, or it would stay at zero.
    [2, 8, 16, 128].map(|least| chance.u32() | least)
}

/// Matsumoto and Nishimura 1998.
struct Twister {
    words: [u32; 624],
    at: usize,
}

impl Twister {
    fn new(seed: u32) -> Self {
        let mut words = [seed; 624];
        for i in 1..624_u32 {
            let before = words[i as usize - 1];
            words[i as usize] =
                1_812_433_253_u32.wrapping_mul(before ^ before >> 30).wrapping_add(i);
        }
        Twister { words, at: 624 }
    }

    fn next(&mut self) -> u32 {
        if self.at == 624 {
            for i in 0..624 {
                let y = self.words[i] & 0x8000_0000 | self.words[(i + 1) % 624] & 0x7fff_ffff;
                let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
                self.words[i] = self.words[(i + 397) % 624] ^ y >> 1 ^ odd;
            }
            self.at = 0;
        }
        let mut y = self.words[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= y << 7 & 0x9d2c_5680;
        y ^= y << 15 & 0xefc6_0000;
        y ^ y >> 18
    }
}

pub(crate) const FLAWS: &[Flaw] = &[
    id(
        "v8-math-random",
        "Math.random() of JavaScript's V8: many packages of npm",
        26,
        |seed, n| {
            let mut chance = start(seed);
            let mut random =
                MathRandom { state: (chance.u64() | 1, chance.u64()), block: Vec::new() };
            ids(seed, n, |_| random.next())
        },
    ),
    id(
        "taus113",
        "prandom_u32() of Linux before 5.10 (CVE-2020-16166), bpf_get_prandom_u32()",
        300,
        |seed, n| {
            let mut state = taus_state(seed);
            ids(seed, n, |_| taus113(&mut state) as u16)
        },
    ),
    id("taus113-stride-3", "the same, of which others take two of three", 320, |seed, n| {
        let mut state = taus_state(seed);
        ids(seed, n, |_| {
            taus113(&mut state);
            taus113(&mut state);
            taus113(&mut state) as u16
        })
    }),
    id("xorshift128", "Marsaglia's xorshift128, its lower half", 300, |seed, n| {
        let mut chance = start(seed);
        let mut s = [chance.u32(), chance.u32(), chance.u32(), chance.u32() | 1];
        ids(seed, n, |_| {
            let t = s[0] ^ s[0] << 11;
            s = [s[1], s[2], s[3], s[3] ^ s[3] >> 19 ^ t ^ t >> 8];
            s[3] as u16
        })
    }),
    id("mt19937", "the Mersenne Twister's upper half", 40_200, |seed, n| {
        let mut random = Twister::new(start(seed).u32());
        ids(seed, n, |_| (random.next() >> 16) as u16)
    }),
    Flaw {
        name: "taus113-port",
        what: "ports 32768 + prandom_u32() % 28232, as Linux chose them before 5.10, on one CPU",
        subject: Subject::Port,
        samples: 320,
        make: |seed, n| {
            let mut state = taus_state(seed);
            crate::world::ports(seed, n, |_, _, _| (32_768 + taus113(&mut state) % 28_232) as u16)
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let mut twister = Twister::new(5489);
        assert_eq!([twister.next(), twister.next()], [3_499_211_612, 581_869_302]);
    }
}
