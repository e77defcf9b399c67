//! Linear congruential generators.

use crate::world::{ids, start};
use crate::{Flaw, Sample, Subject};

type Make = fn(u64, usize) -> Vec<Sample>;

const fn id(name: &'static str, what: &'static str, samples: usize, make: Make) -> Flaw {
    Flaw { name, what, subject: Subject::Id, samples, make }
}

/// IDs of a generator with this multiplier, modulo 2^bits.
fn lcg(seed: u64, n: usize, (a, c): (u64, u64), bits: u32, shown: fn(u64) -> u16) -> Vec<Sample> {
    let mask = (1_u64 << bits) - 1;
    let mut state = start(seed).u64() & mask;
    ids(seed, n, |_| {
        state = a.wrapping_mul(state).wrapping_add(c) & mask;
        shown(state)
    })
}

const DRAND48: (u64, u64) = (0x5_deec_e66d, 0xb);

pub(crate) const FLAWS: &[Flaw] = &[
    id("lcg-16", "a multiplier and an increment of its own, modulo 2^16", 14, |seed, n| {
        let mut chance = start(seed);
        // Full period: a - 1 a multiple of 4, c odd.
        let a = u64::from(chance.u16() & !3 | 5);
        let c = u64::from(chance.u16() | 1);
        lcg(seed, n, (a, c), 16, |x| x as u16)
    }),
    id("msvc-rand", "rand() of Microsoft's C library, 15 bits", 12, |seed, n| {
        lcg(seed, n, (214_013, 2_531_011), 32, |x| (x >> 16 & 0x7fff) as u16)
    }),
    id("ansi-rand", "rand() as ISO C shows it, 15 bits", 12, |seed, n| {
        lcg(seed, n, (1_103_515_245, 12_345), 32, |x| (x >> 16 & 0x7fff) as u16)
    }),
    id("numerical-recipes", "the generator of Numerical Recipes, its upper half", 12, |seed, n| {
        lcg(seed, n, (1_664_525, 1_013_904_223), 32, |x| (x >> 16) as u16)
    }),
    id("borland-rand", "Borland's multiplier, 16 bits", 12, |seed, n| {
        lcg(seed, n, (22_695_477, 1), 32, |x| (x >> 16) as u16)
    }),
    id("drand48", "drand48(), the upper 16 of 48 bits", 12, |seed, n| {
        lcg(seed, n, DRAND48, 48, |x| (x >> 32) as u16)
    }),
    id("drand48-perl", "int rand(65535) of Perl, as in Net::DNS", 14, |seed, n| {
        lcg(seed, n, DRAND48, 48, |x| ((u128::from(x) * 65_535) >> 48) as u16)
    }),
    id("java-random", "java.util.Random's nextInt(65536)", 12, |seed, n| {
        lcg(seed, n, DRAND48, 48, |x| (x >> 32) as u16)
    }),
    id("java-random-low", "java.util.Random's nextInt() & 0xffff", 12, |seed, n| {
        lcg(seed, n, DRAND48, 48, |x| (x >> 16) as u16)
    }),
];

#[cfg(test)]
mod tests {
    #[test]
    fn known_values() {
        // Microsoft's rand() after srand(1): 41, 18467, 6334.
        let mut x = 1_u64;
        let mut next = || {
            x = x.wrapping_mul(214_013).wrapping_add(2_531_011) & 0xffff_ffff;
            x >> 16 & 0x7fff
        };
        assert_eq!([next(), next(), next()], [41, 18_467, 6334]);
        // new java.util.Random(42).nextInt() is -1170105035.
        let (a, c) = super::DRAND48;
        let seed = 42_u64;
        let state = (seed ^ a).wrapping_mul(a).wrapping_add(c) & ((1 << 48) - 1);
        assert_eq!(((state >> 16) as u32).cast_signed(), -1_170_105_035);
    }
}
