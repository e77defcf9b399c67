//! Probabilities of what is rare, from above: a test that uses them never claims too much.

use statrs::function::gamma::{gamma_lr, gamma_ur};

/// At least the probability of `hits` or more in `trials`, each with chance `p`.
///
/// Chernoff's bound in the form of Hoeffding (1963): exp(-n KL(k/n || p)).
pub(crate) fn binomial_above(hits: usize, trials: usize, p: f64) -> f64 {
    let (k, n) = (hits as f64, trials as f64);
    if trials == 0 || k <= n * p {
        return 1.0;
    }
    if p <= 0.0 {
        return 0.0;
    }
    let share = k / n;
    let rest = if hits >= trials { 0.0 } else { (1.0 - share) * ((1.0 - share) / (1.0 - p)).ln() };
    (-n * (share * (share / p).ln() + rest)).exp()
}

/// At least the probability of so few hits.
pub(crate) fn binomial_below(hits: usize, trials: usize, p: f64) -> f64 {
    binomial_above(trials - hits.min(trials), trials, 1.0 - p)
}

/// The probability of `count` or more of what happens `mean` times on average (Poisson).
pub(crate) fn poisson_above(count: f64, mean: f64) -> f64 {
    if count <= mean + 2.0 * mean.sqrt() {
        return 1.0;
    }
    if mean <= 0.0 { 0.0 } else { gamma_lr(count, mean) }
}

/// The probability of `count` or fewer.
pub(crate) fn poisson_below(count: f64, mean: f64) -> f64 {
    // Within two standard deviations it is nothing rare, and not worth a series of its terms.
    if count >= mean - 2.0 * mean.sqrt() { 1.0 } else { gamma_ur(count + 1.0, mean) }
}

/// The probability of a chi-square above `x`.
pub(crate) fn chi_square_above(x: f64, freedom: f64) -> f64 {
    if x <= freedom + 2.0 * (2.0 * freedom).sqrt() { 1.0 } else { gamma_ur(freedom / 2.0, x / 2.0) }
}

/// The mean of a Poisson variable at which `count` or more would have probability `p`: the lower
/// end of the interval of its mean. Likewise the upper end.
pub(crate) fn poisson_interval(count: f64, p: f64) -> (f64, f64) {
    let solve = |low: f64, high: f64, f: &dyn Fn(f64) -> f64| {
        let (mut low, mut high) = (low, high);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if f(middle) > p { high = middle } else { low = middle }
        }
        f64::midpoint(low, high)
    };
    let lower = if count <= 0.0 {
        0.0
    } else {
        solve(0.0, count, &|mean| gamma_lr(count, mean.max(1e-12)))
    };
    // The tail falls as the mean grows: search on the mirror of it.
    let far = count + 20.0 + 10.0 * count.sqrt();
    let upper = solve(0.0, far, &|x| {
        if gamma_ur(count + 1.0, (far - x).max(1e-12)) > p { 1.0 } else { 0.0 }
    });
    (lower, far - upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exact sum.
    fn exact_binomial_above(hits: usize, trials: usize, p: f64) -> f64 {
        let mut term = (1.0 - p).powi(i32::try_from(trials).unwrap());
        let mut sum = 0.0;
        for k in 0..=trials {
            if k >= hits {
                sum += term;
            }
            term *= (trials - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
        }
        sum
    }

    #[test]
    fn bounds_are_above_what_they_bound_and_not_far() {
        for (hits, trials, p) in [(20, 26, 0.5), (3, 100, 0.001), (40, 300, 0.05), (26, 26, 0.5)] {
            let (bound, exact) =
                (binomial_above(hits, trials, p), exact_binomial_above(hits, trials, p));
            assert!(bound >= exact * 0.999_999, "{hits} of {trials} at {p}: {bound} < {exact}");
            assert!(bound < exact * 40.0, "{hits} of {trials} at {p}: {bound} for {exact}");
        }
        assert!((binomial_above(10, 10, 0.5) - 0.5_f64.powi(10)).abs() < 1e-12);
        assert!((binomial_below(0, 10, 0.5) - 0.5_f64.powi(10)).abs() < 1e-12);
    }

    #[test]
    fn poisson_and_chi_square_against_tables() {
        // P(X >= 10 | 3) = 0.001102, P(X <= 2 | 10) = 0.002769, chi-square 30.58 at 15: 0.01
        assert!((poisson_above(10.0, 3.0) - 0.001_102_5).abs() < 1e-6);
        assert!((poisson_below(2.0, 10.0) - 0.002_769_4).abs() < 1e-6);
        assert!((chi_square_above(30.578, 15.0) - 0.01).abs() < 1e-5);
    }

    #[test]
    fn the_interval_of_a_count() {
        // The exact 95 % interval of 10 is 4.795 to 18.39 (Garwood 1936).
        let (low, high) = poisson_interval(10.0, 0.025);
        assert!((low - 4.795).abs() < 0.001 && (high - 18.39).abs() < 0.01, "{low} {high}");
        let (low, high) = poisson_interval(0.0, 0.05);
        assert!(low == 0.0 && (high - 2.996).abs() < 0.01, "{high}");
    }
}
