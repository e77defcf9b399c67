//! How evenly values are spread: too unevenly for chance, or too evenly.

use statrs::function::gamma::gamma_lr;

use super::Findings;
use super::pools::Pool;
use crate::finding::Subject;
use crate::series::Series;
use crate::tail::{binomial_above, binomial_below, chi_square_above, poisson_below};

/// Values in each cell on average from which on chi-square's tail can be trusted where it is thin.
const FULL: usize = 10;
/// A range from which on ports are told apart by sixteenths of it.
const PORT_RANGE: f64 = 4096.0;
/// More queries do not show what these hide; and the numbers stay within what is exact.
const MOST: usize = 4096;

pub(super) fn run(series: &Series, draws: &[u16], pool: &Pool, findings: &mut Findings) {
    let n = series.len().min(MOST);
    let ids = &series.ids[..n];
    if findings.list.iter().any(|f| f.subject == Subject::Id) {
        // Whatever else the spread shows follows from that.
    } else {
        uneven_ids(ids, findings);
        too_even(ids, findings);
    }
    let draws = &draws[..draws.len().min(MOST)];
    if pool.width() >= PORT_RANGE && pool.distinct * 4 > draws.len() && draws.len() >= 16 * FULL {
        uneven_ports(draws, pool, findings);
    }
}

/// Pearson's statistic for cells that are equally likely.
fn chi_square(counts: &[u32]) -> f64 {
    let n: u64 = counts.iter().map(|c| u64::from(*c)).sum();
    let squares: u64 = counts.iter().map(|c| u64::from(*c) * u64::from(*c)).sum();
    squares as f64 * counts.len() as f64 / n.max(1) as f64 - n as f64
}

fn uneven_ids(ids: &[u16], findings: &mut Findings) {
    let mut best: Option<(f64, f64)> = None;
    let mut look = |counts: &[u32], draws: usize, weight: f64| {
        if draws < FULL * counts.len() {
            return;
        }
        let chance = 4.0 * chi_square_above(chi_square(counts), counts.len() as f64 - 1.0);
        let most = f64::from(counts.iter().copied().max().unwrap_or(1));
        // The commonest cell says how much better the best guess is than a blind one.
        let gain = (most * counts.len() as f64 / draws as f64).powf(weight);
        if best.is_none_or(|(least, _)| chance < least) {
            best = Some((chance, gain));
        }
    };
    let (mut high, mut low) = ([0; 256], [0; 256]);
    for id in ids {
        let [upper, lower] = id.to_be_bytes().map(usize::from);
        high[upper] += 1;
        low[lower] += 1;
    }
    let bytes: [u32; 256] = std::array::from_fn(|byte| high[byte] + low[byte]);
    look(&by_nibble(&high), ids.len(), 1.0);
    look(&by_nibble(&bytes), 2 * ids.len(), 2.0);
    look(&high, ids.len(), 1.0);
    look(&low, ids.len(), 1.0);
    rare_bytes(&bytes, 2 * ids.len(), findings);
    if let Some((chance, gain)) = best {
        findings.chance("uneven-ids", Subject::Id, chance, Some(65_536.0 / gain), || {
            "some query IDs are commoner than others".to_owned()
        });
    }
}

/// Counts of bytes, added up by their upper halves.
fn by_nibble(bytes: &[u32; 256]) -> [u32; 16] {
    std::array::from_fn(|nibble| bytes[16 * nibble..][..16].iter().sum())
}

/// Low bytes that hardly come, as from a cipher whose table was filled wrongly.
fn rare_bytes(bytes: &[u32; 256], draws: usize, findings: &mut Findings) {
    let mut best: Option<(f64, u8)> = None;
    for below in [16, 32, 64] {
        let count = bytes[..usize::from(below)].iter().sum::<u32>() as usize;
        let p = f64::from(below) / 256.0;
        let chance = 6.0 * binomial_below(count, draws, p).min(binomial_above(count, draws, p));
        if best.is_none_or(|(least, _)| chance < least) {
            best = Some((chance, below));
        }
    }
    if let Some((chance, below)) = best {
        // What the others gain, for both bytes.
        let gain = (1.0 - f64::from(below) / 256.0).powi(2);
        findings.chance("rare-id-bytes", Subject::Id, chance, Some(65_536.0 * gain), || {
            format!("bytes below {below} come too seldom or too often in query IDs")
        });
    }
}

fn uneven_ports(ports: &[u16], pool: &Pool, findings: &mut Findings) {
    let mut counts = [0_u32; 16];
    for port in ports {
        let place = f64::from(port - pool.lowest) / pool.width() * 16.0;
        counts[(place as usize).min(15)] += 1;
    }
    let chance = chi_square_above(chi_square(&counts), 15.0);
    let most = f64::from(counts.iter().copied().max().unwrap_or(1));
    let gain = most * 16.0 / ports.len() as f64;
    findings.chance("uneven-ports", Subject::Port, chance, Some(pool.by_range / gain), || {
        "some ranges of ports are commoner than others".to_owned()
    });
}

/// Values that avoid each other, as dealt from a deck: fewer pairs in equal cells than chance has.
fn too_even(ids: &[u16], findings: &mut Findings) {
    let n = ids.len();
    if n < 100 {
        return;
    }
    let mut best: Option<(f64, u32)> = None;
    for upper in [false, true] {
        let mut counts = vec![0_u32; 1 << 10];
        for id in ids {
            counts[usize::from(if upper { id >> 6 } else { id & 0x3ff })] += 1;
        }
        for bits in (3..=10_u32).rev() {
            let chance = 16.0 * few_pairs(&counts, n);
            // With less than one in four cells there is nothing to be even about.
            if n * 4 >= counts.len() && best.is_none_or(|(least, _)| chance < least) {
                best = Some((chance, bits));
            }
            // One bit less: cells that differ in it become one.
            let half = counts.len() / 2;
            counts = if upper {
                counts.chunks_exact(2).map(|two| two[0] + two[1]).collect()
            } else {
                (0..half).map(|cell| counts[cell] + counts[cell + half]).collect()
            };
        }
    }
    if let Some((chance, bits)) = best {
        findings.chance("too-even", Subject::Id, chance, None, || {
            format!("query IDs are spread more evenly than chance has it ({bits} bits of them): they are dealt, not drawn")
        });
    }
}

/// At least the chance of so few pairs in equal cells. From above twice: pairs spread like a Poisson
/// variable where cells hold few values, like a chi-square where they hold many.
fn few_pairs(counts: &[u32], n: usize) -> f64 {
    let (n, cells) = (n as f64, counts.len() as f64);
    let x = chi_square(counts);
    // Pearson's statistic is a count of pairs in disguise.
    let pairs = (x + n) * n / cells / 2.0 - n / 2.0;
    let mean = n * (n - 1.0) / 2.0 / cells;
    let by_square = || gamma_lr((cells - 1.0) / 2.0, (x / 2.0).max(0.0));
    let by_pairs = poisson_below(pairs.round().max(0.0), mean);
    if by_pairs > 1e-3 { by_pairs } else { by_pairs.max(by_square()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pearson() {
        assert!((chi_square(&[10, 10, 10, 10])).abs() < 1e-9);
        assert!((chi_square(&[20, 0]) - 20.0).abs() < 1e-9);
    }
}
