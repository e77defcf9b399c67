//! Ports and query IDs as flawed programs of history and of today made them, each with the number of
//! queries after which a judge has to see it; and as good programs make them, of which it must not
//! accuse any.
//!
//! For tests only. Every series follows from its seed.
// Cutting numbers down is what generators do.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod bias;
mod bind;
mod clock;
mod counters;
mod lagged;
mod lcg;
mod linear;
mod nat;
mod pools;
mod strong;
mod world;

pub use world::Sample;

/// Where a flaw is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// In the ports.
    Port,
    /// In the query IDs.
    Id,
    /// In both.
    Both,
    /// Nowhere.
    Neither,
}

/// A way to choose ports and IDs.
#[derive(Clone, Copy, Debug)]
pub struct Flaw {
    /// A short name.
    pub name: &'static str,
    /// What it does, and who did it.
    pub what: &'static str,
    /// Where the flaw is.
    pub subject: Subject,
    /// The number of queries after which it has to be seen.
    pub samples: usize,
    /// Makes so many queries; every seed makes other ones.
    pub make: fn(u64, usize) -> Vec<Sample>,
}

/// All flawed ones.
pub fn flaws() -> Vec<Flaw> {
    [
        counters::FLAWS,
        lcg::FLAWS,
        lagged::FLAWS,
        linear::FLAWS,
        bind::FLAWS,
        clock::FLAWS,
        bias::FLAWS,
        pools::FLAWS,
        nat::FLAWS,
    ]
    .concat()
}

/// Those that only a deep search sees.
pub fn deep() -> Vec<Flaw> {
    [lagged::DEEP, bind::DEEP, clock::DEEP].concat()
}

/// Good ones.
pub fn strong() -> &'static [Flaw] {
    strong::STRONG
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_whole_and_follows_from_its_seed() {
        for flaw in flaws().iter().chain(&deep()).chain(strong()) {
            let n = flaw.samples.clamp(100, 400);
            let series = (flaw.make)(1, n);
            assert_eq!(series.len(), n, "{}", flaw.name);
            assert!(series.windows(2).all(|two| two[0].time < two[1].time), "{}", flaw.name);
            assert_eq!(series, (flaw.make)(1, n), "{}", flaw.name);
            assert_ne!(series, (flaw.make)(2, n), "{}", flaw.name);
        }
    }

    #[test]
    fn names_are_different() {
        let all: Vec<Flaw> = flaws().into_iter().chain(strong().iter().copied()).collect();
        let mut names: Vec<&str> = all.iter().map(|flaw| flaw.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
    }
}
