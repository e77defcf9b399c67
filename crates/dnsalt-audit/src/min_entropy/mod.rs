//! Min-entropy by the estimators of NIST SP 800-90B (January 2018), section 6.3, as far as they are
//! defined on symbols of 16 bits.
//!
//! A side number, never the verdict: drand48 and xoshiro128** score like the best sources, and the best
//! ones score low in small samples, as every estimate is a lower bound with 99 % certainty.

mod dictionary;
mod lag;
mod markov;
mod prediction;
mod tuples;
mod window;

use serde::{Deserialize, Serialize};

/// Bits of min-entropy in each symbol, by each estimator; none where there are too few symbols for it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MinEntropy {
    /// Section 6.3.1.
    pub most_common_value: f64,
    /// Section 6.3.5.
    pub t_tuple: Option<f64>,
    /// Section 6.3.6, longest repeated substring.
    pub lrs: Option<f64>,
    /// Section 6.3.7, the most common value in one of four windows.
    pub multi_mcw: Option<f64>,
    /// Section 6.3.8.
    pub lag: Option<f64>,
    /// Section 6.3.9, Markov models that count.
    pub multi_mmc: Option<f64>,
    /// Section 6.3.10.
    pub lz78y: Option<f64>,
}

impl MinEntropy {
    /// The least of them, which is what the standard takes.
    pub fn lowest(&self) -> f64 {
        let others = [self.t_tuple, self.lrs, self.multi_mcw, self.lag, self.multi_mmc, self.lz78y];
        others.into_iter().flatten().fold(self.most_common_value, f64::min)
    }
}

/// Estimates the min-entropy of symbols of so many bits, 1 to 16; none of fewer than two symbols.
pub fn min_entropy(symbols: &[u16], bits: u32) -> Option<MinEntropy> {
    if symbols.len() < 2 {
        return None;
    }
    let least = (-f64::from(bits.min(16))).exp2();
    let (t_tuple, lrs) = tuples::estimate(symbols);
    let entropy = |p: f64| -p.max(least).log2();
    Some(MinEntropy {
        most_common_value: entropy(upper(most_common(symbols), symbols.len())),
        t_tuple: t_tuple.map(entropy),
        lrs: lrs.map(entropy),
        multi_mcw: window::estimate(symbols).map(entropy),
        lag: lag::estimate(symbols).map(entropy),
        multi_mmc: markov::estimate(symbols).map(entropy),
        lz78y: dictionary::estimate(symbols).map(entropy),
    })
}

/// The share of the commonest symbol.
fn most_common(symbols: &[u16]) -> f64 {
    let mut counts = vec![0_u32; 1 << 16];
    for symbol in symbols {
        counts[usize::from(*symbol)] += 1;
    }
    f64::from(counts.into_iter().max().unwrap_or(0)) / symbols.len() as f64
}

/// The quantile of the normal distribution at 99.5 %; the standard prints it as 2.576.
const Z: f64 = 2.575_829_303_548_900_4;

/// The upper end of the 99 % interval of a probability that was estimated from n symbols.
fn upper(p: f64, n: usize) -> f64 {
    (p + Z * (p * (1.0 - p) / (n as f64 - 1.0)).sqrt()).min(1.0)
}
