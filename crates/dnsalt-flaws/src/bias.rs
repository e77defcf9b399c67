//! IDs some of which come more often, or never.

use crate::world::{ids, start};
use crate::{Flaw, Sample, Subject};

type Make = fn(u64, usize) -> Vec<Sample>;

const fn id(name: &'static str, what: &'static str, samples: usize, make: Make) -> Flaw {
    Flaw { name, what, subject: Subject::Id, samples, make }
}

/// OpenBSD's `res_random` of 1997, which FreeBSD and KAME took over: the top bit stays the same until
/// 30,000 IDs were given out.
fn kame(seed: u64, n: usize) -> Vec<Sample> {
    const MODULUS: u64 = 31_104;
    const PRIME: u64 = 32_749;
    let mut chance = start(seed);
    let power =
        |base: u64, exponent: u64| (0..exponent).fold(1, |product, _| product * base % PRIME);
    let b = u64::from(chance.u16()) & 0xfffe | 1;
    // Multipliers with full period modulo 2^7 3^5 are 1 modulo 12.
    let a = (7_u64).pow(2 + chance.below(3)) / 12 * 12 + 1;
    let generator = power(2, u64::from(chance.below(1000)) * 2 + 1);
    let seed_bits = u64::from(chance.u16() & 0x7fff);
    let top = if chance.below(2) == 1 { 0x8000 } else { 0 };
    let mut x = u64::from(chance.u16()) % MODULUS;
    ids(seed, n, |chance| {
        for _ in 0..=chance.below(3) {
            x = (a * x + b) % MODULUS;
        }
        ((seed_bits ^ power(generator, x)) & 0x7fff) as u16 | top
    })
}

/// RC4 whose table was filled wrongly, so that its low bytes hardly come (c-ares to 1.18.1).
fn rare_bytes(seed: u64, n: usize) -> Vec<Sample> {
    ids(seed, n, |chance| {
        let mut byte = || loop {
            let byte = chance.u16() & 0xff;
            if byte > 30 || chance.below(8) == 0 {
                return byte;
            }
        };
        byte() << 8 | byte()
    })
}

pub(crate) const FLAWS: &[Flaw] = &[
    id("kame", "OpenBSD's, FreeBSD's and KAME's res_random of 1997", 40, kame),
    id("rare-bytes", "c-ares to 1.18.1: bytes 0 to 30 are rare", 200, rare_bytes),
    id(
        "floor-100000",
        "floor(random * 100000) & 0xffff: the lower half comes twice as often",
        1000,
        |seed, n| ids(seed, n, |chance| chance.below(100_000) as u16),
    ),
    id("even-ids", "even IDs only", 30, |seed, n| ids(seed, n, |chance| chance.u16() & !1)),
    id("id-14-bits", "14 bits", 30, |seed, n| ids(seed, n, |chance| chance.u16() & 0x3fff)),
    id("id-15-bits", "15 bits, as from rand()", 30, |seed, n| {
        ids(seed, n, |chance| chance.u16() & 0x7fff)
    }),
];
