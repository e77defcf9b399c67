//! What the predictors have in common: counting what came true, and what that bounds.

use super::upper;

/// Predictions that were made.
#[derive(Debug, Default)]
pub(super) struct Score {
    made: usize,
    right: usize,
    run: usize,
    longest: usize,
}

impl Score {
    pub(super) fn note(&mut self, right: bool) {
        self.made += 1;
        self.right += usize::from(right);
        self.run = if right { self.run + 1 } else { 0 };
        self.longest = self.longest.max(self.run);
    }

    /// The probability of a right prediction, from above: over all of them, or by the longest run.
    pub(super) fn probability(&self) -> Option<f64> {
        if self.made < 2 {
            return None;
        }
        let global = if self.right == 0 {
            1.0 - 0.01_f64.powf(1.0 / self.made as f64)
        } else {
            upper(self.right as f64 / self.made as f64, self.made)
        };
        Some(global.max(self.local()))
    }

    /// The probability at which no run is longer than the longest with a chance of 0.99 (section
    /// 6.3.7, step 7; Feller's approximation).
    fn local(&self) -> f64 {
        let (r, n) = ((self.longest + 1) as f64, self.made as f64);
        let (mut low, mut high) = (0.0_f64, 1.0_f64);
        for _ in 0..60 {
            let p = f64::midpoint(low, high);
            if no_run(p, r, n) > 0.99_f64.ln() { low = p } else { high = p }
        }
        low
    }
}

/// The logarithm of the chance that n predictions, each right with probability p, have no run of r.
fn no_run(p: f64, r: f64, n: f64) -> f64 {
    let wrong = 1.0 - p;
    let mut x = 1.0;
    for _ in 0..10 {
        x = 1.0 + wrong * p.powf(r) * f64::powf(x, r + 1.0);
    }
    if !x.is_finite() || p * x >= 1.0 {
        return f64::NEG_INFINITY;
    }
    (1.0 - p * x).ln() - ((r + 1.0 - r * x) * wrong).ln() - (n + 1.0) * x.ln()
}

/// Several predictors, of which the one that was right most often so far is believed.
pub(super) struct Board<const N: usize> {
    scores: [u32; N],
    winner: usize,
    score: Score,
}

impl<const N: usize> Board<N> {
    pub(super) fn new() -> Self {
        Board { scores: [0; N], winner: 0, score: Score::default() }
    }

    /// What each of them predicted, and what came.
    pub(super) fn note(&mut self, predicted: [Option<u16>; N], seen: u16) {
        self.score.note(predicted[self.winner] == Some(seen));
        for (i, one) in predicted.into_iter().enumerate() {
            if one == Some(seen) {
                self.scores[i] += 1;
                if self.scores[i] >= self.scores[self.winner] {
                    self.winner = i;
                }
            }
        }
    }

    pub(super) fn probability(&self) -> Option<f64> {
        self.score.probability()
    }
}
