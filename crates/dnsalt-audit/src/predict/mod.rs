//! Predictors: each tries to work out the inside of one kind of generator from a few values, and then
//! has to foretell those that follow. What foretells is proof, whatever the statistics say: the
//! generators here pass every test of randomness.

mod clock;
mod drand48;
mod gf2;
mod lagged;
mod lcg;
mod linear;
mod massey;
mod skipping;

use crate::finding::{Evidence, Finding, PROOF, Predicted, Subject};
use crate::series::Series;

/// How much work may be done for one resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// What takes microseconds.
    Normal,
    /// Also what takes seconds: several worker threads, long lags, long registers.
    Deep,
}

/// What a predictor found.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    /// A short name, such as `drand48`.
    pub(crate) name: &'static str,
    /// What generator it is, and who uses it.
    pub(crate) generator: String,
    pub(crate) subject: Subject,
    pub(crate) predicted: Predicted,
    /// Values that each prediction leaves open.
    pub(crate) choices: f64,
}

/// Looks for IDs that are read off a clock. The longer search is for those that have shown already
/// that they are not drawn at random, or for a deep one.
pub(crate) fn clock(
    series: &Series,
    suspicious: bool,
    effort: Effort,
) -> Option<(&'static str, f64)> {
    let good = |clock: &clock::Clock| clock.chance < 1e-9;
    let found = clock::musl(series).filter(good).or_else(|| {
        let worth = suspicious || effort == Effort::Deep;
        worth.then(|| clock::glibc(series)).flatten().filter(good)
    });
    found.map(|clock| (clock.who, clock.chance))
}

/// Fewer right predictions say nothing.
const HINT: usize = 3;

impl Hit {
    /// Whether it is right often enough to be more than chance.
    fn good(&self) -> bool {
        let Predicted { made, right, .. } = self.predicted;
        right >= HINT && right * 10 >= made * 9
    }
}

/// Runs the predictors until one is right.
pub(crate) fn run(series: &Series, effort: Effort) -> Option<Finding> {
    let hit = find(series, effort)?;
    let Predicted { made, right, .. } = hit.predicted;
    let share = right as f64 / made.max(1) as f64;
    let proven = hit.predicted.proves();
    let noun = match hit.subject {
        Subject::Id => "query IDs come",
        Subject::Port => "ports come",
        Subject::Both => "ports and query IDs come",
    };
    let sentence = if proven && hit.choices < 1.5 {
        format!("{noun} from {}; the next one is known", hit.generator)
    } else if proven {
        format!("{noun} from {}; {:.0} values are left for the next", hit.generator, hit.choices)
    } else {
        format!("{noun} from a generator that foretold {right} of {made}; {PROOF} name it")
    };
    Some(Finding {
        name: if proven { hit.name } else { "predictable-ids" }.into(),
        subject: hit.subject,
        sentence,
        evidence: Evidence::Predicted(hit.predicted),
        choices: Some(hit.choices / share.max(1e-9)),
    })
}

fn find(series: &Series, effort: Effort) -> Option<Hit> {
    let ids = &series.ids[..];
    if ids.len() < 8 || ids.iter().all(|id| *id == ids[0]) {
        return None;
    }
    let swapped: Vec<u16> = ids.iter().take(64).map(|id| id.swap_bytes()).collect();
    let mut found = lcg::find(ids).filter(Hit::good);
    found = found.or_else(|| lcg::find(&swapped).filter(Hit::good));
    found = found.or_else(|| drand48::find(ids).filter(Hit::good));
    found = found.or_else(|| lagged::find(ids, effort).filter(Hit::good));
    found = found.or_else(|| linear::find(series).filter(Hit::good));
    found = found.or_else(|| massey::find(series, effort).filter(Hit::good));
    if effort == Effort::Deep {
        found = found.or_else(|| skipping::find(series).filter(Hit::good));
    }
    found
}

/// Where to start in a series of so many values, if one start takes `need` of them: a few places
/// that lie apart, since a packet that is missing spoils those around it.
fn starts(len: usize, need: usize, most: usize) -> impl Iterator<Item = usize> {
    let last = len.saturating_sub(need);
    let count = if len < need { 0 } else { most.min(last + 1) };
    (0..count).map(move |i| if count <= 1 { 0 } else { i * last / (count - 1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_lie_within() {
        assert_eq!(starts(10, 11, 4).count(), 0);
        assert_eq!(starts(10, 10, 4).collect::<Vec<_>>(), [0]);
        assert_eq!(starts(100, 10, 4).collect::<Vec<_>>(), [0, 30, 60, 90]);
    }
}
