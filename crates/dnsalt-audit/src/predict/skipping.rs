//! Several worker threads, each with a generator of its own: the values of one stand among those of
//! the others, nobody knows where.
//!
//! A search takes or skips each value; the parity checks of the generator cut it down as soon as
//! there are more bits than the state has.

use std::sync::OnceLock;

use super::gf2::Code;
use super::linear::xoshiro;
use super::{Hit, starts};
use crate::finding::{Predicted, Subject};
use crate::series::Series;

/// Values of others among those that are taken.
const MOST_SKIPS: usize = 10;
/// Values of one thread that are taken: 52 checks, so that chance does not come into it.
const OUTPUTS: usize = 20;
const STARTS: usize = 100;
/// Where a predicted value has to come.
const WINDOW: usize = 30;
const MOST: usize = 64;

pub(super) fn find(series: &Series) -> Option<Hit> {
    static CODES: OnceLock<Vec<Code>> = OnceLock::new();
    let codes = CODES.get_or_init(|| {
        [2, 1].into_iter().flat_map(|stride| xoshiro(stride, OUTPUTS)).map(Code::new).collect()
    });
    let ids = &series.ids;
    let need = OUTPUTS + MOST_SKIPS + WINDOW;
    starts(ids.len(), need, STARTS).find_map(|start| {
        codes.iter().find_map(|code| {
            let mut taken = Vec::with_capacity(OUTPUTS);
            let mut search = Search { code, ids: &ids[start..], taken: &mut taken };
            search
                .take(0, 0, MOST_SKIPS)
                .then(|| follow(code, series, start, &taken))
                .filter(|hit| hit.predicted.proves())
        })
    })
}

struct Search<'a> {
    code: &'a Code,
    ids: &'a [u16],
    taken: &'a mut Vec<usize>,
}

impl Search<'_> {
    /// Takes the value at `at`, and tries all ways to go on with so many skips.
    fn take(&mut self, at: usize, sum: u64, skips: usize) -> bool {
        let output = self.taken.len();
        let Some(id) = self.ids.get(at) else { return false };
        let sum = sum ^ self.code.add(output, *id);
        if !self.code.possible(output, sum) {
            return false;
        }
        self.taken.push(at);
        if output + 1 == OUTPUTS {
            return true;
        }
        // Once the checks have begun to bite, more skips cost little.
        let skips_here = if output >= 15 { skips + WINDOW } else { skips };
        for skip in 0..=skips_here.min(WINDOW) {
            if self.take(at + 1 + skip, sum, skips.saturating_sub(skip)) {
                return true;
            }
        }
        self.taken.pop();
        false
    }
}

/// Predicts what the thread asks next; others may ask between.
fn follow(code: &Code, series: &Series, start: usize, taken: &[usize]) -> Hit {
    let generator = &code.generator;
    let ids = &series.ids[start..];
    let own: Vec<u16> = taken.iter().map(|at| ids[*at]).collect();
    let mut state = code.state(&own);
    for _ in 0..OUTPUTS {
        state = generator.advance(state);
    }
    let mut predicted = Predicted::default();
    let mut at = taken.last().map_or(0, |last| last + 1);
    while at + WINDOW < ids.len() && predicted.made < MOST {
        let next = (generator.id)(state);
        let seen = ids[at..at + WINDOW].iter().position(|id| *id == next);
        predicted.note(next, seen.map_or(ids[at], |place| ids[at + place]));
        if seen.is_none() && predicted.proves() {
            break; // the thread drew for something else; its state could be found again from here
        }
        at += seen.map_or(0, |place| place + 1);
        state = generator.advance(state);
    }
    Hit {
        name: generator.name,
        generator: format!("{}, in one of several threads", generator.who),
        subject: Subject::Id,
        predicted,
        choices: 1.0,
    }
}
