//! The t-tuple and longest-repeated-substring estimates (sections 6.3.5 and 6.3.6), on sorted suffixes.

use super::upper;

/// A tuple counts as frequent from so many on.
const FREQUENT: usize = 35;

/// Probabilities by the two estimates.
pub(super) fn estimate(symbols: &[u16]) -> (Option<f64>, Option<f64>) {
    let shared = shared_prefixes(symbols);
    let longest = shared.iter().copied().max().unwrap_or(0);
    let n = symbols.len();
    let (mut tuple, mut repeated): (Option<f64>, Option<f64>) = (None, None);
    for width in 1..=longest {
        let (most, pairs) = repeats(&shared, width);
        let power = 1.0 / width as f64;
        let places = (n - width + 1) as f64;
        if most >= FREQUENT {
            let p = (most as f64 / places).powf(power);
            tuple = Some(tuple.map_or(p, |other| other.max(p)));
        } else {
            let p = (pairs / (places * (places - 1.0) / 2.0)).powf(power);
            repeated = Some(repeated.map_or(p, |other| other.max(p)));
        }
    }
    (tuple.map(|p| upper(p, n)), repeated.map(|p| upper(p, n)))
}

/// How many symbols each suffix has in common with the one before it in sorted order.
fn shared_prefixes(symbols: &[u16]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..symbols.len()).collect();
    order.sort_unstable_by(|a, b| symbols[*a..].cmp(&symbols[*b..]));
    let common = |two: &[usize]| {
        let (a, b) = (&symbols[two[0]..], &symbols[two[1]..]);
        a.iter().zip(b).take_while(|(a, b)| a == b).count()
    };
    order.windows(2).map(common).collect()
}

/// How often the commonest tuple of a width stands there, and pairs of equal tuples.
fn repeats(shared: &[usize], width: usize) -> (usize, f64) {
    let (mut most, mut pairs) = (1, 0.0);
    for run in shared.split(|common| *common < width) {
        let count = run.len() + 1;
        most = most.max(count);
        pairs += count as f64 * (count as f64 - 1.0) / 2.0;
    }
    (most, pairs)
}
