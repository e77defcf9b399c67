//! The tests of a series, each family in a file of its own.
//!
//! Every test asks: how likely is what we see, or something worse, if ports and IDs are drawn at
//! random? Chances are bounds from above and are multiplied by the number of tests (Bonferroni), first
//! inside a family, then by the number of families.

mod bits;
mod pools;
mod relations;
mod spread;
mod steps;

use crate::finding::{Evidence, Finding, Subject};
use crate::last::Last;
use crate::series::Series;

pub use pools::Pool;

/// How often a series without any flaw may be found guilty.
pub const LEVEL: f64 = 1e-4;
/// Families of tests that give a chance; each gets an equal share of the level.
const FAMILIES: f64 = 40.0;
/// Tests of a sequence look at so many queries: what has a sequence shows it in these.
pub(crate) const SEQUENCE: usize = 512;

/// Room for counting and finding values, used again and again.
#[derive(Debug)]
pub struct Scratch {
    counts: Vec<u32>,
    pub(crate) last: Last,
    /// Room for small numbers, such as those of servers.
    pub(crate) places: Vec<u32>,
    /// The same for counts; all zero between two uses.
    tallies: Vec<u32>,
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch {
            counts: vec![0; 1 << 16],
            last: Last::default(),
            places: Vec::new(),
            tallies: Vec::new(),
        }
    }
}

impl Scratch {
    /// How often each small number comes; whoever takes the counts leaves zeroes.
    pub(crate) fn places_for(&mut self, numbers: impl Iterator<Item = u32>) -> &mut [u32] {
        for number in numbers {
            let at = number as usize;
            if self.tallies.len() <= at {
                self.tallies.resize(at + 1, 0);
            }
            self.tallies[at] += 1;
        }
        &mut self.tallies
    }

    /// How often each value came before it, value by value.
    fn each<T: Copy>(
        &mut self,
        values: &[T],
        key: impl Fn(T) -> u16,
        mut seen: impl FnMut(T, u32),
    ) {
        for value in values {
            let count = &mut self.counts[usize::from(key(*value))];
            seen(*value, *count);
            *count += 1;
        }
        for value in values {
            self.counts[usize::from(key(*value))] = 0;
        }
    }

    /// The commonest value and how often it came.
    fn commonest(&mut self, values: &[u16]) -> Option<(u16, usize)> {
        let mut best = None;
        self.each(
            values,
            |v| v,
            |value, before| {
                if best.is_none_or(|(_, most)| before + 1 > most) {
                    best = Some((value, before + 1));
                }
            },
        );
        best.map(|(value, count)| (value, count as usize))
    }
}

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) list: Vec<Finding>,
}

impl Findings {
    /// Notes something that has this chance in its family, if that is rare enough.
    fn chance(
        &mut self,
        name: &'static str,
        subject: Subject,
        chance: f64,
        choices: Option<f64>,
        sentence: impl FnOnce() -> String,
    ) -> bool {
        let chance = chance * FAMILIES;
        if chance.is_nan() || chance > LEVEL {
            return false;
        }
        self.list.push(Finding {
            name: name.into(),
            subject,
            sentence: sentence(),
            evidence: Evidence::Chance(chance),
            choices,
        });
        true
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.list.iter().any(|finding| finding.name == name)
    }
}

/// Runs every test that gives a chance.
pub(crate) fn run(series: &Series, scratch: &mut Scratch) -> (Findings, Pool) {
    let mut findings = Findings::default();
    let before = &series.before_at_server(&mut scratch.places)[..];
    let (pool, draws) = pools::ports(series, before, scratch, &mut findings);
    pools::ids(series, scratch, &mut findings);
    if series.len() >= 8 {
        steps::run(series, before, pool.width(), scratch, &mut findings);
    }
    if series.len() >= 20 {
        bits::run(series, &draws, &pool, &mut findings);
        spread::run(series, &draws, &pool, &mut findings);
        relations::run(series, pool.width(), &mut scratch.last, &mut findings);
    }
    (findings, pool)
}

/// The bytes of a value the other way round.
fn swapped(value: u16) -> u16 {
    value.swap_bytes()
}
