//! Linear congruential generators: x' = a x + c mod 2^m.
//!
//! Of 16 bits without any hidden ones, whatever a and c are, three values give both. Of 31 or 32 bits
//! of which the upper are seen, for the multipliers of well-known libraries: the hidden lower half is
//! found with a table, as `a * hidden` has to lead from one value to the next.

use std::sync::OnceLock;

use super::{Hit, starts};
use crate::finding::{Predicted, Subject};

const STARTS: usize = 4;

pub(super) fn find(ids: &[u16]) -> Option<Hit> {
    starts(ids.len(), 8, STARTS).find_map(|start| whole(&ids[start..])).or_else(|| {
        starts(ids.len(), 8, STARTS).find_map(|start| {
            truncated().iter().find_map(|g| g.follow(&ids[start..]).filter(Hit::good))
        })
    })
}

/// Values to check a guess on before it is worth predicting with.
const CHECK: usize = 3;
/// Predictions that are made at most.
const MOST: usize = 64;

fn whole(ids: &[u16]) -> Option<Hit> {
    let difference = |i: usize| ids[i + 1].wrapping_sub(ids[i]);
    // An even difference has no inverse.
    let at = (0..(ids.len() - 2).min(6)).find(|i| difference(*i) % 2 == 1)?;
    let a = difference(at + 1).wrapping_mul(inverse(difference(at)));
    let c = ids[at + 1].wrapping_sub(a.wrapping_mul(ids[at]));
    if a == 1 {
        return None; // a counter: constant differences say so more plainly
    }
    let mut predicted = Predicted::default();
    for pair in ids[at + 2..].windows(2).take(MOST) {
        predicted.note(a.wrapping_mul(pair[0]).wrapping_add(c), pair[1]);
        if predicted.made == CHECK && predicted.right < CHECK {
            return None;
        }
    }
    (predicted.made >= CHECK).then(|| Hit {
        name: "lcg-16",
        generator: format!("a linear congruential generator modulo 2^16 ({a} x + {c})"),
        subject: Subject::Id,
        predicted,
        choices: 1.0,
    })
}

/// The inverse of an odd number modulo 2^16, by Newton's iteration.
pub(super) fn inverse(odd: u16) -> u16 {
    let mut x = odd;
    for _ in 0..4 {
        x = x.wrapping_mul(2_u16.wrapping_sub(odd.wrapping_mul(x)));
    }
    x
}

/// A generator of which the upper bits are seen, above 16 hidden ones.
struct Truncated {
    who: &'static str,
    a: u64,
    c: u64,
    mask: u64,
    /// The hidden halves in the order of the upper bits of `a * hidden`, and where each begins.
    hidden: Vec<u16>,
    begin: Vec<u32>,
}

fn truncated() -> &'static [Truncated] {
    static ALL: OnceLock<Vec<Truncated>> = OnceLock::new();
    ALL.get_or_init(|| {
        let known: [(&str, u64, u64, u32); 8] = [
            ("rand() of Microsoft's C library", 214_013, 2_531_011, 31),
            ("rand() as ISO C shows it", 1_103_515_245, 12_345, 31),
            ("rand() of Borland's C library", 22_695_477, 1, 31),
            ("ISO C's multiplier, 16 bits of it", 1_103_515_245, 12_345, 32),
            ("Microsoft's multiplier, 16 bits of it", 214_013, 2_531_011, 32),
            ("Borland's multiplier, 16 bits of it", 22_695_477, 1, 32),
            ("the generator of Numerical Recipes", 1_664_525, 1_013_904_223, 32),
            ("java.util.Random, the lower half of nextInt()", 0xdeec_e66d, 0xb, 32),
        ];
        let twice = |(who, a, c, bits): (&'static str, u64, u64, u32)| {
            let mask = (1_u64 << bits) - 1;
            let once = Truncated::new(who, a, c, mask);
            let (a2, c2) = (a.wrapping_mul(a) & mask, a.wrapping_mul(c).wrapping_add(c) & mask);
            [once, Truncated::new(who, a2, c2, mask)]
        };
        known.into_iter().flat_map(twice).collect()
    })
}

impl Truncated {
    fn new(who: &'static str, a: u64, c: u64, mask: u64) -> Self {
        let upper = |h: u16| (a.wrapping_mul(u64::from(h)) & mask) >> 16;
        let mut begin = vec![0_u32; (mask >> 16) as usize + 2];
        for h in 0..=u16::MAX {
            begin[upper(h) as usize + 1] += 1;
        }
        for i in 1..begin.len() {
            begin[i] += begin[i - 1];
        }
        let (mut next, mut hidden) = (begin.clone(), vec![0; 1 << 16]);
        for h in 0..=u16::MAX {
            let place = &mut next[upper(h) as usize];
            hidden[*place as usize] = h;
            *place += 1;
        }
        Truncated { who, a, c, mask, hidden, begin }
    }

    fn step(&self, state: u64) -> u64 {
        self.a.wrapping_mul(state).wrapping_add(self.c) & self.mask
    }

    /// States that show the first value and lead to the second.
    fn states(&self, first: u16, second: u16) -> impl Iterator<Item = u64> + use<'_> {
        let known = u64::from(first) << 16;
        let base = self.step(known) >> 16;
        // What the hidden half adds, less a carry or not.
        [0, 1].into_iter().flat_map(move |carry| {
            let upper = u64::from(second).wrapping_sub(base + carry) & (self.mask >> 16);
            let range =
                self.begin[upper as usize] as usize..self.begin[upper as usize + 1] as usize;
            self.hidden[range].iter().map(move |hidden| known | u64::from(*hidden))
        })
    }

    fn follow(&self, ids: &[u16]) -> Option<Hit> {
        // An ID above what the generator gives: another one.
        if ids[..8].iter().any(|id| u64::from(*id) > self.mask >> 16) {
            return None;
        }
        let mut state = self.states(ids[0], ids[1]).find(|state| {
            let mut state = *state;
            ids[1..=CHECK].iter().all(|id| {
                state = self.step(state);
                state >> 16 == u64::from(*id)
            })
        })?;
        let mut predicted = Predicted::default();
        for (i, id) in ids.iter().enumerate().skip(1).take(MOST) {
            state = self.step(state);
            // The second was used to find the state.
            if i >= 2 {
                predicted.note((state >> 16) as u16, *id);
            }
        }
        Some(Hit {
            name: "truncated-lcg",
            generator: self.who.to_owned(),
            subject: Subject::Id,
            predicted,
            choices: 1.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverses() {
        for odd in (1..=u16::MAX).step_by(2) {
            assert_eq!(odd.wrapping_mul(inverse(odd)), 1);
        }
    }

    #[test]
    fn microsofts_rand_is_followed() {
        // srand(1): the values that everybody knows.
        let mut ids =
            vec![41, 18_467, 6334, 26_500, 19_169, 15_724, 11_478, 29_358, 26_962, 24_464];
        ids.extend([5705, 28_145, 23_281]);
        let hit = find(&ids).unwrap();
        assert_eq!(hit.name, "truncated-lcg");
        assert!(hit.generator.contains("Microsoft"), "{}", hit.generator);
        assert_eq!((hit.predicted.made, hit.predicted.right), (11, 11));
    }
}
