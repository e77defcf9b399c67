//! Well-known generators that are linear over bits, with all their state worked out.

use std::sync::OnceLock;

use super::gf2::{Code, Generator};
use super::lcg::inverse;
use super::{Hit, starts};
use crate::finding::{PROOF, Predicted, Subject};
use crate::series::Series;

const STARTS: usize = 8;
/// Predictions that are made at most.
const MOST: usize = 64;

pub(super) fn find(series: &Series) -> Option<Hit> {
    let ids = &series.ids;
    codes().iter().find_map(|code| {
        let outputs = code.generator.outputs;
        // Blocks of V8 change direction: look at every phase of one.
        let most = if code.generator.name == V8 { 64 } else { STARTS };
        starts(ids.len(), outputs, most)
            .filter(|start| code.fits(&ids[*start..*start + outputs]))
            .find_map(|start| follow(code, series, start).filter(Hit::good))
    })
}

/// Predicts what comes after the values that fit.
fn follow(code: &Code, series: &Series, start: usize) -> Option<Hit> {
    let generator = &code.generator;
    let ids = &series.ids[start..];
    let mut state = code.state(&ids[..generator.outputs]);
    for id in &ids[..generator.outputs] {
        if (generator.id)(state) != *id {
            return None;
        }
        state = generator.advance(state);
    }
    let mut predicted = Predicted::default();
    let mut ports = Ports::default();
    for (i, id) in ids.iter().enumerate().skip(generator.outputs).take(MOST) {
        if (generator.id)(state) != *id && generator.name == V8 {
            state = next_block(state);
        }
        predicted.note((generator.id)(state), *id);
        let missed = (generator.id)(state) != *id;
        if missed && (predicted.right < PROOF / 2 || predicted.proves()) {
            break; // another thread, or a packet that is missing: it could be found again from here
        }
        ports.note(before(generator, state), series.ports[start + i]);
        state = generator.advance(state);
    }
    let both = generator.stride == 2 && ports.proves();
    Some(Hit {
        name: generator.name,
        generator: generator.who.to_owned(),
        subject: if both { Subject::Both } else { Subject::Id },
        predicted,
        choices: 1.0,
    })
}

/// The 32 bits that BIND drew for the port, one step before the ID.
fn before(generator: &Generator, state: u128) -> u32 {
    if generator.name == XOSHIRO { xoshiro_0(unstep_xoshiro(state)) } else { 0 }
}

/// Ports that follow from the value before the ID, by remainder or by product.
#[derive(Default)]
struct Ports {
    made: usize,
    right: [usize; 4],
}

impl Ports {
    /// Ranges that programs draw from: Linux's own, and all but the privileged ports.
    const RANGES: [(u32, u32); 2] = [(32_768, 28_232), (1024, 64_512)];

    fn note(&mut self, drawn: u32, port: u16) {
        self.made += 1;
        for (i, (lowest, size)) in Self::RANGES.into_iter().enumerate() {
            let by_product = ((u64::from(drawn) * u64::from(size)) >> 32) as u32;
            self.right[2 * i] += usize::from(lowest + drawn % size == u32::from(port));
            self.right[2 * i + 1] += usize::from(lowest + by_product == u32::from(port));
        }
    }

    fn proves(&self) -> bool {
        self.right.iter().any(|right| *right >= PROOF && *right * 10 >= self.made * 9)
    }
}

pub(super) const XOSHIRO: &str = "xoshiro128**";
const V8: &str = "v8-math-random";

fn codes() -> &'static [Code] {
    static ALL: OnceLock<Vec<Code>> = OnceLock::new();
    ALL.get_or_init(|| generators().into_iter().map(Code::new).collect())
}

fn generators() -> Vec<Generator> {
    let all = |id: u16| id;
    let mut list: Vec<Generator> = (1..=8).flat_map(|stride| xoshiro(stride, 18)).collect();
    list.push(Generator {
        name: V8,
        who: "Math.random() of JavaScript's V8 (xorshift128, blocks of 64 in reverse)",
        step: v8_back,
        stride: 1,
        id: |state| (state >> 48) as u16,
        linear: all,
        bits: 16,
        outputs: 11,
    });
    for stride in [1, 2] {
        for (name, who, step, low, high) in SHIFTERS {
            for id in [low, high] {
                list.push(Generator {
                    name,
                    who,
                    step,
                    stride,
                    id,
                    linear: all,
                    bits: 16,
                    outputs: 18,
                });
            }
        }
    }
    list
}

/// BIND's generator with this stride: both variants of the output.
pub(super) fn xoshiro(stride: usize, outputs: usize) -> [Generator; 2] {
    [xoshiro_id_0 as fn(u128) -> u16, xoshiro_id_1].map(|id| Generator {
        name: XOSHIRO,
        who: "xoshiro128**, as in BIND 9.16 to 9.20 (CVE-2025-40780)",
        step: step_xoshiro,
        stride,
        id,
        linear: xoshiro_bits,
        bits: 9,
        outputs,
    })
}

type Shifter = (&'static str, &'static str, fn(u128) -> u128, fn(u128) -> u16, fn(u128) -> u16);

const SHIFTERS: [Shifter; 4] = [
    (
        "taus113",
        "taus113, as prandom_u32() of Linux before 5.10 and bpf_get_prandom_u32()",
        step_taus,
        |state| taus(state) as u16,
        |state| (taus(state) >> 16) as u16,
    ),
    (
        "xorshift128",
        "Marsaglia's xorshift128",
        step_xorshift128,
        |state| (state >> 96) as u16,
        |state| (state >> 112) as u16,
    ),
    (
        "xorshift32",
        "Marsaglia's xorshift32",
        step_xorshift32,
        |state| state as u16,
        |state| (state >> 16) as u16,
    ),
    (
        "xorshift64",
        "Marsaglia's xorshift64",
        step_xorshift64,
        |state| state as u16,
        |state| (state >> 48) as u16,
    ),
];

fn words(state: u128) -> [u32; 4] {
    [0, 32, 64, 96].map(|shift| (state >> shift) as u32)
}

fn of_words(words: [u32; 4]) -> u128 {
    words.iter().rev().fold(0, |state, word| state << 32 | u128::from(*word))
}

/// Blackman and Vigna 2018.
fn step_xoshiro(state: u128) -> u128 {
    let mut s = words(state);
    let t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = s[3].rotate_left(11);
    of_words(s)
}

fn unstep_xoshiro(state: u128) -> u128 {
    let mut s = words(state);
    s[3] = s[3].rotate_right(11);
    s[0] ^= s[3];
    // s1' = s1 ^ s2 ^ s0, s2' = s2 ^ s0 ^ (s1 << 9): so s1' ^ s2' = s1 ^ (s1 << 9).
    let mixed = s[1] ^ s[2];
    let mut s1 = mixed;
    for _ in 0..3 {
        s1 = mixed ^ s1 << 9;
    }
    let s2 = s[2] ^ s[0] ^ s1 << 9;
    of_words([s[0], s1, s2, s[3] ^ s1])
}

fn scramble(word: u32) -> u32 {
    word.wrapping_mul(5).rotate_left(7).wrapping_mul(9)
}

fn xoshiro_0(state: u128) -> u32 {
    scramble(words(state)[0])
}

fn xoshiro_1(state: u128) -> u32 {
    scramble(words(state)[1])
}

fn xoshiro_id_0(state: u128) -> u16 {
    xoshiro_0(state) as u16
}

fn xoshiro_id_1(state: u128) -> u16 {
    xoshiro_1(state) as u16
}

/// Undoes `* 9`, the rotation and `* 5` as far as 16 bits reach: the lowest 9 bits of the word.
pub(super) fn xoshiro_bits(id: u16) -> u16 {
    let rotated = id.wrapping_mul(inverse(9));
    (rotated >> 7).wrapping_mul(inverse(5)) & 0x1ff
}

/// One step back of xorshift128 with 23, 17 and 26: the lower half is what is shown.
fn v8_back(state: u128) -> u128 {
    let (shown, other) = (state as u64, (state >> 64) as u64);
    // Forward: x = s0; x ^= x << 23; x ^= x >> 17; x ^= s1 ^ s1 >> 26; (s0, s1) = (s1, x).
    let mut x = other ^ shown ^ shown >> 26;
    x ^= x >> 17 ^ x >> 34 ^ x >> 51;
    x ^= x << 23 ^ x << 46;
    u128::from(shown) << 64 | u128::from(x)
}

fn v8_forward(state: u128) -> u128 {
    let (mut x, s1) = (state as u64, (state >> 64) as u64);
    x ^= x << 23;
    x ^= x >> 17;
    x ^= s1 ^ s1 >> 26;
    u128::from(x) << 64 | u128::from(s1)
}

/// From one before the lowest of a block to the highest of the next: 64 values each.
fn next_block(state: u128) -> u128 {
    (0..128).fold(state, |state, _| v8_forward(state))
}

/// L'Ecuyer 1999.
fn step_taus(state: u128) -> u128 {
    let [a, b, c, d] = words(state);
    let step = |s: u32, p: u32, q: u32, mask: u32, r: u32| (s & mask) << r ^ (s << p ^ s) >> q;
    of_words([
        step(a, 6, 13, 0xffff_fffe, 18),
        step(b, 2, 27, 0xffff_fff8, 2),
        step(c, 13, 21, 0xffff_fff0, 7),
        step(d, 3, 12, 0xffff_ff80, 13),
    ])
}

fn taus(state: u128) -> u32 {
    words(state).iter().fold(0, |sum, word| sum ^ word)
}

/// Marsaglia 2003.
fn step_xorshift128(state: u128) -> u128 {
    let [x, y, z, w] = words(state);
    let mixed = x ^ x << 11;
    of_words([y, z, w, w ^ w >> 19 ^ mixed ^ mixed >> 8])
}

fn step_xorshift32(state: u128) -> u128 {
    let mut x = state as u32;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    u128::from(x)
}

fn step_xorshift64(state: u128) -> u128 {
    let mut x = state as u64;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    u128::from(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeded(seed: u64) -> u128 {
        u128::from(crate::event::mix(seed)) << 64 | u128::from(crate::event::mix(seed + 1000))
    }

    #[test]
    fn steps_back_undo_steps() {
        for seed in 1..50 {
            let state = seeded(seed);
            assert_eq!(unstep_xoshiro(step_xoshiro(state)), state);
            assert_eq!(v8_back(v8_forward(state)), state);
        }
    }

    #[test]
    fn every_generator_is_found_and_followed() {
        for generator in generators() {
            let mut state = seeded(7);
            // Not all bits of a small generator are used; and taus113 needs some steps to settle.
            for _ in 0..8 {
                state = generator.advance(state);
            }
            let mut series = Series::default();
            for i in 0..60 {
                series.push(i, 0, 40_000, (generator.id)(state), 0);
                state = generator.advance(state);
            }
            let hit =
                find(&series).unwrap_or_else(|| panic!("{} {}", generator.name, generator.stride));
            assert_eq!(hit.predicted.made, hit.predicted.right, "{}", generator.name);
            assert!(hit.predicted.proves(), "{}: {:?}", generator.name, hit.predicted);
        }
    }

    #[test]
    fn what_is_random_fits_no_code() {
        for code in codes() {
            assert!(code.checks >= 32, "{}: {}", code.generator.name, code.checks);
        }
        let mut series = Series::default();
        for i in 0..400 {
            series.push(i, 0, 40_000, crate::event::mix(i) as u16, 0);
        }
        assert!(find(&series).is_none());
    }
}
