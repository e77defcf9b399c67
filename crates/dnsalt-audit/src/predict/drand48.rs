//! The generator of `drand48` and java.util.Random: 48 bits, of which the upper 16 are seen.
//!
//! x' = 0x5DEECE66D x + 0xB mod 2^48. Five values in a row are close to a point of a lattice; Babai's
//! rounding on a reduced basis finds it, and with it all 48 bits (Frieze, Håstad, Kannan, Lagarias
//! and Shamir 1988).

// Matrices read best by their indices.
#![allow(clippy::needless_range_loop)]

use std::sync::OnceLock;

use super::{Hit, starts};
use crate::finding::{Predicted, Subject};

const A: i128 = 0x5_deec_e66d;
const C: i128 = 0xb;
const M: i128 = 1 << 48;
/// Values to find the state from.
const DIMENSION: usize = 5;
const STRIDES: usize = 4;
const STARTS: usize = 6;
const MOST: usize = 64;

type Row = [i128; DIMENSION];

/// The lattice of every `stride`th value.
struct Lattice {
    a: i128,
    c: i128,
    basis: [Row; DIMENSION],
    inverse: [[f64; DIMENSION]; DIMENSION],
    /// What the constant adds to each value.
    offset: Row,
}

fn lattices() -> &'static [Lattice] {
    static ALL: OnceLock<Vec<Lattice>> = OnceLock::new();
    ALL.get_or_init(|| (1..=STRIDES).map(Lattice::new).collect())
}

pub(super) fn find(ids: &[u16]) -> Option<Hit> {
    // Whether 16 bits are cut off, or a fraction is multiplied by what is one less.
    let scales = [
        (65_536_i128, "drand48() or java.util.Random"),
        (65_535, "drand48() times 65535, as Perl's rand(65535)"),
    ];
    starts(ids.len(), 8, STARTS).find_map(|start| {
        lattices().iter().find_map(|lattice| {
            scales.iter().find_map(|(scale, who)| {
                // The two often agree on the values that the state is found from.
                lattice.follow(&ids[start..], *scale, who).filter(Hit::good)
            })
        })
    })
}

impl Lattice {
    fn new(stride: usize) -> Self {
        let (mut a, mut c) = (1, 0);
        for _ in 0..stride {
            (a, c) = (a * A % M, (c * A + C) % M);
        }
        let (mut powers, mut offset) = ([1; DIMENSION], [0; DIMENSION]);
        for i in 1..DIMENSION {
            powers[i] = powers[i - 1] * a % M;
            offset[i] = (offset[i - 1] * a + c) % M;
        }
        let mut basis = [[0; DIMENSION]; DIMENSION];
        basis[0] = powers;
        for (i, row) in basis.iter_mut().enumerate().skip(1) {
            row[i] = M;
        }
        reduce(&mut basis);
        Lattice { a, c, basis, inverse: invert(&basis), offset }
    }

    /// The first state of values that look like this.
    fn state(&self, ids: &[u16], scale: i128) -> i128 {
        let mut target = [0.0; DIMENSION];
        for i in 0..DIMENSION {
            let middle = (2 * i128::from(ids[i]) + 1) * M / (2 * scale);
            target[i] = (middle - self.offset[i]) as f64;
        }
        let mut first = 0;
        for (j, row) in self.basis.iter().enumerate() {
            let along: f64 = (0..DIMENSION).map(|i| target[i] * self.inverse[i][j]).sum();
            first += along.round() as i128 * row[0];
        }
        first.rem_euclid(M)
    }

    fn follow(&self, ids: &[u16], scale: i128, who: &str) -> Option<Hit> {
        let mut state = self.state(ids, scale);
        let shown = |state: i128| (state * scale / M) as u16;
        if shown(state) != ids[0] {
            return None;
        }
        let mut predicted = Predicted::default();
        for (i, id) in ids.iter().enumerate().skip(1).take(MOST) {
            state = (state * self.a + self.c) % M;
            if i < DIMENSION {
                if shown(state) != *id {
                    return None;
                }
            } else {
                predicted.note(shown(state), *id);
            }
        }
        Some(Hit {
            name: "drand48",
            generator: who.to_owned(),
            subject: Subject::Id,
            predicted,
            choices: 1.0,
        })
    }
}

fn dot(a: &[f64; DIMENSION], b: &[f64; DIMENSION]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn float(row: &Row) -> [f64; DIMENSION] {
    row.map(|x| x as f64)
}

/// Lenstra, Lenstra and Lovász 1982, with delta 3/4. The numbers are small enough for floats, and
/// every step is done on whole numbers.
fn reduce(basis: &mut [Row; DIMENSION]) {
    let mut k = 1;
    while k < DIMENSION {
        for j in (0..k).rev() {
            let (_, mu) = orthogonal(basis);
            let times = mu[k][j].round() as i128;
            for i in 0..DIMENSION {
                basis[k][i] -= times * basis[j][i];
            }
        }
        let (stars, mu) = orthogonal(basis);
        let (this, before) = (dot(&stars[k], &stars[k]), dot(&stars[k - 1], &stars[k - 1]));
        if this >= (0.75 - mu[k][k - 1] * mu[k][k - 1]) * before {
            k += 1;
        } else {
            basis.swap(k, k - 1);
            k = (k - 1).max(1);
        }
    }
}

/// Gram and Schmidt: orthogonal vectors, and what of them is in each row.
fn orthogonal(
    basis: &[Row; DIMENSION],
) -> ([[f64; DIMENSION]; DIMENSION], [[f64; DIMENSION]; DIMENSION]) {
    let (mut stars, mut mu) = ([[0.0; DIMENSION]; DIMENSION], [[0.0; DIMENSION]; DIMENSION]);
    for i in 0..DIMENSION {
        stars[i] = float(&basis[i]);
        for j in 0..i {
            mu[i][j] = dot(&float(&basis[i]), &stars[j]) / dot(&stars[j], &stars[j]);
            for x in 0..DIMENSION {
                stars[i][x] -= mu[i][j] * stars[j][x];
            }
        }
    }
    (stars, mu)
}

/// The inverse by Gauss and Jordan, with the largest pivot.
fn invert(basis: &[Row; DIMENSION]) -> [[f64; DIMENSION]; DIMENSION] {
    let mut left = basis.each_ref().map(float);
    let mut right = [[0.0; DIMENSION]; DIMENSION];
    for (i, row) in right.iter_mut().enumerate() {
        row[i] = 1.0;
    }
    for column in 0..DIMENSION {
        let pivot = (column..DIMENSION)
            .max_by(|a, b| left[*a][column].abs().total_cmp(&left[*b][column].abs()))
            .unwrap_or(column);
        left.swap(column, pivot);
        right.swap(column, pivot);
        let by = left[column][column];
        for x in 0..DIMENSION {
            left[column][x] /= by;
            right[column][x] /= by;
        }
        for row in (0..DIMENSION).filter(|row| *row != column) {
            let times = left[row][column];
            for x in 0..DIMENSION {
                left[row][x] -= times * left[column][x];
                right[row][x] -= times * right[column][x];
            }
        }
    }
    right
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stride_is_followed() {
        for stride in 1..=STRIDES {
            for seed in 1..200_u64 {
                let mut state = i128::from(crate::event::mix(seed)) % M;
                let ids: Vec<u16> = (0..16)
                    .map(|_| {
                        for _ in 0..stride {
                            state = (state * A + C) % M;
                        }
                        (state >> 32) as u16
                    })
                    .collect();
                let hit = find(&ids).unwrap_or_else(|| panic!("stride {stride}, seed {seed}"));
                assert_eq!((hit.predicted.made, hit.predicted.right), (11, 11));
            }
        }
    }
}
