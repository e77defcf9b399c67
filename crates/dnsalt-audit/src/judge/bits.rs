//! Single bits: stuck or biased, like an earlier one, or like the same bit of the port.

use super::Findings;
use super::pools::Pool;
use crate::finding::Subject;
use crate::series::Series;
use crate::tail::binomial_above;
use crate::words::plural;

/// More queries do not show what these hide.
const MOST: usize = 1024;
const LAGS: usize = 16;
/// Bits of a port that are even whatever the range, and the range from which on that is so.
const PORT_BITS: usize = 8;
const PORT_RANGE: f64 = 4096.0;

pub(super) fn run(series: &Series, draws: &[u16], pool: &Pool, findings: &mut Findings) {
    let n = series.len().min(MOST);
    let ids = Planes::of(&series.ids[..n]);
    let draws = &draws[..draws.len().min(MOST)];
    let with_ports =
        pool.width() >= PORT_RANGE && pool.distinct * 4 > draws.len() && draws.len() >= 20;
    let ports = with_ports.then(|| Planes::of(draws));

    let skip = biased(&ids, 16, Subject::Id, findings);
    let mut port_skip = 0;
    if let Some(ports) = &ports {
        port_skip = biased(ports, PORT_BITS, Subject::Port, findings);
    }
    // Where steps are already known, every other sign of order follows from them.
    if findings
        .list
        .iter()
        .any(|f| f.subject == Subject::Id && f.choices.is_some_and(|c| c < 4096.0))
    {
        return;
    }
    echoes(&ids, 16, skip, Subject::Id, findings);
    if let Some(ports) = &ports {
        echoes(ports, PORT_BITS, port_skip, Subject::Port, findings);
    }
    // Query by query, so only where each has a port of its own.
    if let Some(ports) = &ports
        && ports.n == ids.n
    {
        twins(ports, &ids, skip | port_skip, findings);
    }
}

/// Values taken apart: plane `b` has bit `b` of all of them, 64 in a word.
struct Planes {
    planes: Vec<Vec<u64>>,
    n: usize,
}

impl Planes {
    fn of(values: &[u16]) -> Self {
        let plane = |_| Vec::with_capacity(values.len().div_ceil(64));
        let mut planes: Vec<Vec<u64>> = (0..16).map(plane).collect();
        for chunk in values.chunks(64) {
            let mut padded = [0; 64];
            padded[..chunk.len()].copy_from_slice(chunk);
            // Eight values make a byte of each plane.
            let mut words = [[0; 8]; 16];
            for (group, eight) in padded.as_chunks::<8>().0.iter().enumerate() {
                let low = transposed(u64::from_le_bytes(eight.map(|value| value as u8)));
                let high = transposed(u64::from_le_bytes(eight.map(|value| (value >> 8) as u8)));
                let rows = low.to_le_bytes().into_iter().chain(high.to_le_bytes());
                for (word, row) in words.iter_mut().zip(rows) {
                    word[group] = row;
                }
            }
            for (plane, word) in planes.iter_mut().zip(words) {
                plane.push(u64::from_le_bytes(word));
            }
        }
        Planes { planes, n: values.len() }
    }

    fn ones(&self, bit: usize) -> usize {
        self.planes[bit].iter().map(|word| word.count_ones() as usize).sum()
    }

    /// How often a bit differs from what it was `lag` values before.
    fn changes(&self, bit: usize, lag: usize) -> usize {
        let plane = &self.planes[bit];
        let changed = |word: u64, next: u64| word ^ (word >> lag | next << (64 - lag));
        // Whole words first, without a branch.
        let (whole, rest) = ((self.n - lag) / 64, (self.n - lag) % 64);
        let pairs = plane[..whole].iter().zip(&plane[1..]);
        let sum: u64 =
            pairs.map(|(word, next)| u64::from(changed(*word, *next).count_ones())).sum();
        let last = changed(plane[whole], plane.get(whole + 1).copied().unwrap_or(0));
        sum as usize + (last & ((1 << rest) - 1)).count_ones() as usize
    }
}

/// A matrix of 8 by 8 bits, its rows made columns (Warren, Hacker's Delight, section 7-3).
fn transposed(mut x: u64) -> u64 {
    for (shift, mask) in
        [(7, 0x00aa_00aa_00aa_00aa), (14, 0x0000_cccc_0000_cccc), (28, 0x0000_0000_f0f0_f0f0_u64)]
    {
        let t = (x ^ x >> shift) & mask;
        x ^= t ^ t << shift;
    }
    x
}

/// Bits that are 0 or 1 too often; which, as a mask.
fn biased(planes: &Planes, bits: usize, subject: Subject, findings: &mut Findings) -> u16 {
    let n = planes.n;
    let (mut mask, mut least, mut best, mut stuck) = (0_u16, 1.0_f64, 1.0, 0);
    for bit in 0..bits {
        let ones = planes.ones(bit);
        let most = ones.max(n - ones);
        let chance = 2.0 * bits as f64 * binomial_above(most, n, 0.5);
        if chance < 1e-5 {
            mask |= 1 << bit;
            least = least.min(chance);
            best *= most as f64 / n as f64;
            stuck += usize::from(most == n);
        }
    }
    if mask == 0 {
        return 0;
    }
    let (name, noun, space) = match subject {
        Subject::Id => ("biased-id-bits", "query IDs", 65_536.0),
        _ => ("biased-port-bits", "ports", 65_536.0),
    };
    let choices = space * 0.5_f64.powi(mask.count_ones().cast_signed()) / best;
    findings.chance(name, subject, least, Some(choices), || {
        let count = mask.count_ones() as usize;
        if stuck == count {
            format!("{} of the {noun} never change", plural(count, "bit", "bits"))
        } else {
            format!("{} of the {noun} are uneven", plural(count, "bit", "bits"))
        }
    });
    mask
}

/// At least the chance that a fair coin is so far from even.
fn uneven(hits: usize, n: usize) -> f64 {
    let most = hits.max(n - hits);
    2.0 * binomial_above(most, n, 0.5)
}

/// Bits that follow what they were some values before.
fn echoes(planes: &Planes, bits: usize, skip: u16, subject: Subject, findings: &mut Findings) {
    let tests = (bits * LAGS) as f64;
    let mut best: Option<(f64, usize, usize)> = None;
    for bit in (0..bits).filter(|bit| skip >> bit & 1 == 0) {
        for lag in 1..=LAGS.min(planes.n / 4) {
            let n = planes.n - lag;
            let changes = planes.changes(bit, lag);
            // A cheap look first: few are further than 4 standard deviations.
            if (2.0 * changes as f64 - n as f64).abs() < 4.0 * (n as f64).sqrt() {
                continue;
            }
            let chance = tests * uneven(changes, n);
            if best.is_none_or(|(least, ..)| chance < least) {
                best = Some((chance, bit, lag));
            }
        }
    }
    let Some((chance, bit, lag)) = best else { return };
    let (name, noun) = match subject {
        Subject::Id => ("id-bits-repeat", "query IDs"),
        _ => ("port-bits-repeat", "ports"),
    };
    findings.chance(name, subject, chance, None, || {
        format!(
            "bit {bit} of the {noun} follows what it was {} before",
            plural(lag, "query", "queries")
        )
    });
}

/// Bits of the ID that go with the same bit of the port.
fn twins(ports: &Planes, ids: &Planes, skip: u16, findings: &mut Findings) {
    let mut best: Option<(f64, usize)> = None;
    for bit in (0..PORT_BITS).filter(|bit| skip >> bit & 1 == 0) {
        let differ: usize = ports.planes[bit]
            .iter()
            .zip(&ids.planes[bit])
            .map(|(port, id)| (port ^ id).count_ones() as usize)
            .sum();
        let chance = PORT_BITS as f64 * uneven(differ, ids.n);
        if best.is_none_or(|(least, _)| chance < least) {
            best = Some((chance, bit));
        }
    }
    if let Some((chance, bit)) = best {
        findings.chance("port-and-id-related", Subject::Both, chance, None, || {
            format!("bit {bit} of the query ID goes with bit {bit} of the port")
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_counted_over_any_lag() {
        let values: Vec<u16> = (0..200_u16).map(|i| i.wrapping_mul(31) ^ (i >> 3)).collect();
        let planes = Planes::of(&values);
        for bit in 0..16 {
            assert_eq!(planes.ones(bit), values.iter().filter(|v| *v >> bit & 1 == 1).count());
            for lag in 1..=16 {
                let changes = (lag..200).filter(|i| (values[*i] ^ values[i - lag]) >> bit & 1 == 1);
                assert_eq!(planes.changes(bit, lag), changes.count(), "bit {bit}, lag {lag}");
            }
        }
    }
}
