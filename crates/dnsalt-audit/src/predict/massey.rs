//! Berlekamp and Massey: the shortest shift register that makes a sequence of bits (Massey 1969).
//!
//! Any generator that is linear over bits, known or not, whatever the stride, gives the same short
//! register for each of its bits: 128 stages or fewer for most, 19,937 for the Mersenne Twister. A
//! register that was found from the first values has to make all those that follow.

use super::linear::xoshiro_bits;
use super::{Effort, Hit};
use crate::finding::{Predicted, Subject};
use crate::series::Series;

/// Values that are looked at: enough for registers of 140 stages with proof.
const NORMAL: usize = 320;
const DEEP: usize = 4096;
/// Values that a Mersenne Twister takes.
const TWISTER: usize = 2 * 19_937;
/// Bits that the register has to make right after it was last changed.
const PROOF_BITS: usize = 40;

pub(super) fn find(series: &Series, effort: Effort) -> Option<Hit> {
    let n = series.len().min(if effort == Effort::Deep { DEEP } else { NORMAL });
    if n < 2 * PROOF_BITS {
        return None;
    }
    if let Some(hit) = of_ids(&series.ids[..n]) {
        return Some(hit);
    }
    if series.len() > TWISTER + 2 * PROOF_BITS
        && let Some(hit) = of_ids(&series.ids)
    {
        return Some(hit);
    }
    of_parts(&series.ids[..n], xoshiro_bits, "query IDs, their multiplication undone", Subject::Id)
        .or_else(|| of_parts(&series.ports[..n], |port| port, "ports", Subject::Port))
}

/// Whole IDs: if one bit has a register, all are tried.
fn of_ids(ids: &[u16]) -> Option<Hit> {
    let first =
        [0, 7, 15].into_iter().find_map(|bit| Register::of(ids, |id| id >> bit & 1 == 1))?;
    let registers: Vec<Option<Register>> =
        (0..16).map(|bit| Register::of(ids, |id| id >> bit & 1 == 1)).collect();
    let learnt = registers.iter().flatten().map(|r| r.changed + 1).max().unwrap_or(0);
    let open = registers.iter().filter(|register| register.is_none()).count();
    let mut predicted = Predicted::default();
    let from = learnt.max(ids.len().saturating_sub(64));
    for (i, id) in ids.iter().enumerate().skip(from) {
        let mut value = 0;
        for (bit, register) in registers.iter().enumerate() {
            let known = register.as_ref().map_or(id >> bit & 1 == 1, |r| r.makes(i));
            value |= u16::from(known) << bit;
        }
        predicted.note(value, *id);
    }
    Some(Hit {
        name: if first.length == 19_937 { "mt19937" } else { "linear-generator" },
        generator: first.words(),
        subject: Subject::Id,
        predicted,
        choices: 2_f64.powi(i32::try_from(open).unwrap_or(16)),
    })
}

/// Values of which only some bits are linear.
fn of_parts(values: &[u16], part: fn(u16) -> u16, what: &str, subject: Subject) -> Option<Hit> {
    if values.iter().all(|value| *value == values[0]) {
        return None;
    }
    let bits = if subject == Subject::Port { 3 } else { 9 };
    let register = [0, bits - 1]
        .into_iter()
        .find_map(|bit| Register::of(values, |value| part(value) >> bit & 1 == 1))?;
    let mut predicted = Predicted::default();
    let registers: Vec<Option<Register>> =
        (0..bits).map(|bit| Register::of(values, |value| part(value) >> bit & 1 == 1)).collect();
    let learnt = registers.iter().flatten().map(|r| r.changed + 1).max().unwrap_or(0);
    let known = registers.iter().flatten().count();
    for (i, value) in values.iter().enumerate().skip(learnt) {
        let seen = part(*value) & ((1 << bits) - 1);
        let mut value = 0;
        for (bit, register) in registers.iter().enumerate() {
            let one = register.as_ref().map_or(seen >> bit & 1 == 1, |r| r.makes(i));
            value |= u16::from(one) << bit;
        }
        predicted.note(value, seen);
    }
    Some(Hit {
        name: "linear-generator",
        generator: format!("{} ({known} bits of the {what})", register.words()),
        subject,
        predicted,
        choices: 65_536.0 / 2_f64.powi(i32::try_from(known).unwrap_or(0)),
    })
}

/// A shift register with linear feedback, and the bits that it was made from.
struct Register {
    /// Stages: the linear complexity.
    length: usize,
    /// Which of the bits before are added up, the nearest first.
    taps: Vec<u64>,
    /// All bits, the last first.
    reversed: Vec<u64>,
    n: usize,
    /// The last bit that it had to learn from.
    changed: usize,
}

impl Register {
    /// The register of one bit of the values, if it is short enough to be proof.
    fn of(values: &[u16], bit: impl Fn(u16) -> bool) -> Option<Self> {
        let n = values.len();
        let words = n.div_ceil(64) + 1;
        // The sequence backwards, so that the bits before one stand in a row.
        let mut reversed = vec![0_u64; words];
        for (i, value) in values.iter().enumerate() {
            let at = n - 1 - i;
            reversed[at / 64] |= u64::from(bit(*value)) << (at % 64);
        }
        let (mut taps, mut old) = (vec![0_u64; words], vec![0_u64; words]);
        taps[0] = 1;
        old[0] = 1;
        let (mut length, mut since, mut changed) = (0, 1, 0);
        let mut kept = taps.clone();
        for i in 0..n {
            if !parity(&taps, &reversed, n - 1 - i, length) {
                since += 1;
                continue;
            }
            changed = i;
            if 2 * length <= i {
                kept.copy_from_slice(&taps);
                length = i + 1 - length;
                add_shifted(&mut taps[..=length / 64], &old, since);
                std::mem::swap(&mut old, &mut kept);
                since = 1;
                // A register this long proves nothing any more.
                if 2 * length + PROOF_BITS > n {
                    return None;
                }
            } else {
                add_shifted(&mut taps[..=length / 64], &old, since);
                since += 1;
            }
        }
        let proven = length > 0 && n - 1 - changed >= PROOF_BITS;
        proven.then_some(Register { length, taps, reversed, n, changed })
    }

    /// What it makes of the bits before the `i`th.
    fn makes(&self, i: usize) -> bool {
        let at = self.n - 1 - i;
        let itself = self.reversed[at / 64] >> (at % 64) & 1 == 1;
        parity(&self.taps, &self.reversed, at, self.length) ^ itself
    }

    fn words(&self) -> String {
        match self.length {
            19_937 => "the Mersenne Twister MT19937 (linear complexity 19,937)".to_owned(),
            113 => "a linear generator of complexity 113, as taus113 of Linux".to_owned(),
            128 => {
                "a linear generator of complexity 128, as xorshift128 or xoshiro128**".to_owned()
            }
            other => format!("a shift register of {other} stages"),
        }
    }
}

/// The sum of the bits from `at` on under the taps, of which there are `length` at most.
fn parity(taps: &[u64], bits: &[u64], at: usize, length: usize) -> bool {
    let shift = at % 64;
    let pairs = taps[..=length / 64].iter().zip(bits[at / 64..].windows(2));
    // In two steps, as a shift by 64 is none.
    let sum = pairs
        .fold(0, |sum, (tap, two)| sum ^ tap & (two[0] >> shift | two[1] << 1 << (63 - shift)));
    sum.count_ones() % 2 == 1
}

fn add_shifted(to: &mut [u64], from: &[u64], by: usize) {
    let (words, shift) = (by / 64, by % 64);
    let mut below = 0;
    for (to, from) in to.iter_mut().skip(words).zip(from) {
        *to ^= from << shift | below;
        below = from >> 1 >> (63 - shift);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_register() {
        // x^4 + x + 1: s(n) = s(n-3) + s(n-4), period 15.
        let mut bits = vec![1_u16, 0, 0, 0];
        for i in 4..200 {
            bits.push(bits[i - 3] ^ bits[i - 4]);
        }
        let register = Register::of(&bits, |bit| bit == 1).unwrap();
        assert_eq!(register.length, 4);
        assert!((50..200).all(|i| register.makes(i) == (bits[i] == 1)));
    }

    #[test]
    fn random_bits_have_none() {
        for seed in 0..200 {
            let bits: Vec<u16> =
                (0..320).map(|i| crate::event::mix(seed << 32 | i) as u16 & 1).collect();
            assert!(Register::of(&bits, |bit| bit == 1).is_none());
        }
    }
}
