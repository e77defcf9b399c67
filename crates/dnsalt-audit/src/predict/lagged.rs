//! Additive lagged Fibonacci generators: x(n) = x(n-j) + x(n-k), of which 16 bits are seen.
//!
//! What is cut off below may carry, so that one of two values comes next. glibc's `random()` has lags
//! 3 and 31; Go's `math/rand` had 273 and 607.

use super::{Effort, Hit};
use crate::finding::{Predicted, Subject};

/// All pairs of lags up to here are tried.
const SHORT: usize = 64;
/// Pairs with longer lags that somebody uses.
const LONG: [(usize, usize); 5] = [(273, 607), (24, 55), (30, 127), (418, 1279), (103, 250)];
/// Values that have to fit before it is worth predicting.
const CHECK: usize = 4;
const MOST: usize = 64;

pub(super) fn find(ids: &[u16], effort: Effort) -> Option<Hit> {
    // In two places: a packet that is missing spoils the values after it.
    for start in [0, ids.len().saturating_sub(SHORT + CHECK) / 2] {
        let ids = &ids[start..];
        for k in 2..=ids.len().saturating_sub(CHECK).min(SHORT) {
            // The first sum or difference has to fit: few j are left to look at.
            let (sum, difference) = (ids[k].wrapping_sub(ids[0]), ids[0].wrapping_sub(ids[k]));
            let fits = |x: u16| sum.wrapping_sub(x) <= 1 || difference.wrapping_sub(x) <= 1;
            let any = ids[1..k].iter().fold(false, |any, x| any | fits(*x));
            if !any {
                continue;
            }
            let hit = (1..k).find_map(|j| follow(ids, j, k).filter(Hit::good));
            if hit.is_some() {
                return hit;
            }
        }
    }
    let long = LONG.into_iter().filter(|_| effort == Effort::Deep);
    long.into_iter().find_map(|(j, k)| follow(ids, j, k).filter(Hit::good))
}

fn follow(ids: &[u16], j: usize, k: usize) -> Option<Hit> {
    if ids.len() < k + CHECK {
        return None;
    }
    let sum = |i: usize| ids[i - j].wrapping_add(ids[i - k]);
    let difference = |i: usize| ids[i - k].wrapping_sub(ids[i - j]);
    // A carry adds one to a sum, and takes one from a difference.
    let plus = (k..k + CHECK).all(|i| ids[i].wrapping_sub(sum(i)) <= 1);
    let minus = !plus && (k..k + CHECK).all(|i| difference(i).wrapping_sub(ids[i]) <= 1);
    if !plus && !minus {
        return None;
    }
    let mut predicted = Predicted::default();
    for i in (k..ids.len()).take(MOST) {
        let (base, other) = if plus {
            (sum(i), sum(i).wrapping_add(1))
        } else {
            (difference(i), difference(i).wrapping_sub(1))
        };
        predicted.note(if ids[i] == other { other } else { base }, ids[i]);
    }
    let who = match (j, k) {
        (3, 31) => ", as random() of the GNU C library",
        (273, 607) => ", as math/rand of Go",
        _ => "",
    };
    Some(Hit {
        name: "lagged-fibonacci",
        generator: format!("an additive lagged Fibonacci generator ({j}, {k}){who}"),
        subject: Subject::Id,
        predicted,
        choices: 2.0,
    })
}
