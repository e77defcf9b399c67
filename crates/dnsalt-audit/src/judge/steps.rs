//! Values that follow from the ones before: constant differences, small steps, shifted registers.

use super::{Findings, SEQUENCE, Scratch, swapped};
use crate::finding::{Evidence, Finding, Predicted, Subject};
use crate::series::Series;
use crate::tail::binomial_above;

/// Differences are looked for over so many steps.
const MOST_LAG: usize = 32;
/// Differences that are looked at first.
const SCREEN: usize = 64;
/// Steps that count as small.
const SMALL: [u16; 3] = [8, 64, 512];

pub(super) fn run(
    series: &Series,
    before: &[u32],
    width: f64,
    scratch: &mut Scratch,
    findings: &mut Findings,
) {
    let n = series.len().min(SEQUENCE);
    let before = &before[..n];
    let ids = &series.ids[..n];
    let ports = &series.ports[..n];
    let id = Column { values: ids, before, space: 65_536.0, subject: Subject::Id };
    let port = Column { values: ports, before, space: width, subject: Subject::Port };
    for column in [&id, &port] {
        if column.values.iter().all(|v| *v == column.values[0]) {
            continue;
        }
        if !lags(column, scratch, findings) {
            small_steps(column, findings);
        }
    }
    shifts(ids, findings);
    bind9_registers(ids, findings);
}

/// Values to test, with the size of the set that they come from.
struct Column<'a> {
    values: &'a [u16],
    /// The index of the query before to the same server.
    before: &'a [u32],
    space: f64,
    subject: Subject,
}

impl Column<'_> {
    fn noun(&self) -> &'static str {
        if self.subject == Subject::Id { "query IDs" } else { "ports" }
    }

    /// Differences to the value before, of any server or of the same.
    fn differences(&self, per_server: bool, swap: bool) -> Vec<u16> {
        let value = |i: usize| if swap { swapped(self.values[i]) } else { self.values[i] };
        (1..self.values.len())
            .filter_map(|i| {
                let before = if per_server { self.before[i] as usize } else { i - 1 };
                (before != i).then(|| value(i).wrapping_sub(value(before)))
            })
            .collect()
    }
}

/// The same difference again and again, over some number of queries, or at each server.
fn lags(column: &Column<'_>, scratch: &mut Scratch, findings: &mut Findings) -> bool {
    let n = column.values.len();
    let values = column.values;
    let over = |lag: usize, end: usize| -> Vec<u16> {
        (lag..end).map(|i| values[i].wrapping_sub(values[i - lag])).collect()
    };
    let tests = MOST_LAG as f64 + 1.0;
    let mut best: Option<(f64, Lag)> = None;
    let mut look = |differences: Vec<u16>, lag: usize, scratch: &mut Scratch| {
        let Some((step, hits)) = scratch.commonest(&differences) else { return };
        // Nothing moves over one query: that is a port in use, which the pools judge.
        if hits < 4 || (step == 0 && column.subject == Subject::Port) {
            return;
        }
        let made = differences.len();
        let chance =
            tests * 2.0 * column.space * binomial_above(hits, made, 1.0 / column.space.max(2.0));
        let share = hits as f64 / made as f64;
        if best.as_ref().is_none_or(|(least, _)| chance < *least) && share > 0.2 {
            best = Some((chance, Lag { over: lag, step, share }));
        }
    };
    for lag in 1..=MOST_LAG.min(n / 4) {
        // A few tell whether it is worth looking at all of them.
        let few = over(lag, n.min(lag + SCREEN));
        if n <= lag + SCREEN || scratch.commonest(&few).is_some_and(|(_, hits)| hits >= 4) {
            look(over(lag, n), lag, scratch);
        }
    }
    look(column.differences(true, false), 0, scratch);
    let Some((chance, lag)) = best else { return false };
    let sentence = lag.sentence(column);
    let name = match (column.subject, lag.over, lag.step) {
        (Subject::Id, 0 | 1, 1 | 0xffff) => "sequential-id",
        (Subject::Id, ..) => "id-stride",
        (_, 0 | 1, 1 | 0xffff) => "sequential-port",
        _ => "port-stride",
    };
    if !findings.chance(name, column.subject, chance, Some(1.0 / lag.share), || sentence) {
        return false;
    }
    let predicted = lag.predict(column);
    if let Some(Finding { evidence, .. }) = findings.list.last_mut().filter(|_| predicted.proves())
    {
        *evidence = Evidence::Predicted(predicted);
    }
    true
}

/// A difference that comes back. Over 0 queries: to the same server.
struct Lag {
    over: usize,
    step: u16,
    share: f64,
}

impl Lag {
    fn sentence(&self, column: &Column<'_>) -> String {
        let noun = column.noun();
        let step = self.step.cast_signed();
        let direction = if step < 0 { "down" } else { "up" };
        let by = match step.unsigned_abs() {
            1 => "one".to_owned(),
            many => many.to_string(),
        };
        let next = if self.share > 0.9 { "; the next one is known" } else { "" };
        match (self.over, self.step) {
            (0 | 1, 0) => format!(
                "{:.0} % of the {noun} are the same as the one before{next}",
                self.share * 100.0
            ),
            (0, _) => format!("{noun} count {direction} by {by} at each server{next}"),
            (1, _) => format!("{noun} count {direction} by {by}{next}"),
            (lag, 0) => format!("{noun} repeat every {lag} queries{next}"),
            (lag, _) => format!("{noun} count {direction} by {by} every {lag} queries{next}"),
        }
    }

    /// Predicts every value from the one before; the difference was learnt from the first ones.
    fn predict(&self, column: &Column<'_>) -> Predicted {
        let mut predicted = Predicted::default();
        for i in 2 * self.over.max(1)..column.values.len() {
            let before = if self.over == 0 { column.before[i] as usize } else { i - self.over };
            if before != i {
                predicted.note(column.values[before].wrapping_add(self.step), column.values[i]);
            }
        }
        predicted
    }
}

/// Steps that are too small too often, up or down, as they are or with their bytes swapped.
fn small_steps(column: &Column<'_>, findings: &mut Findings) {
    let tests = (SMALL.len() * 8) as f64;
    let mut best: Option<(f64, f64, String)> = None;
    for (per_server, swap) in [(false, false), (true, false), (false, true), (true, true)] {
        let differences = column.differences(per_server, swap);
        for small in SMALL {
            let space = if swap { 65_536.0 } else { column.space };
            let p = f64::from(small) / space;
            if p > 0.5 {
                continue;
            }
            for up in [true, false] {
                let step = |d: u16| if up { d } else { d.wrapping_neg() };
                let hits = differences.iter().filter(|d| (1..=small).contains(&step(**d))).count();
                let share = hits as f64 / differences.len().max(1) as f64;
                let chance = tests * binomial_above(hits, differences.len(), p);
                let choices = f64::from(small) / share.max(1e-9);
                if chance < 1e-3 && share > 0.1 && best.as_ref().is_none_or(|b| choices < b.1) {
                    let direction = if up { "up" } else { "down" };
                    let how = if swap { ", bytes swapped" } else { "" };
                    let place = if per_server { " at each server" } else { "" };
                    best = Some((
                        chance,
                        choices,
                        format!(
                            "{} go {direction} in small steps{how}{place}: {:.0} % by {small} or less",
                            column.noun(),
                            share * 100.0
                        ),
                    ));
                }
            }
        }
    }
    if let Some((chance, choices, sentence)) = best {
        let name =
            if column.subject == Subject::Id { "id-small-steps" } else { "port-small-steps" };
        findings.chance(name, column.subject, chance, Some(choices), || sentence);
    }
}

/// A register that is shifted: most bits of an ID stand in the next one, some places further.
fn shifts(ids: &[u16], findings: &mut Findings) {
    let mut best: Option<(f64, u32, bool, f64)> = None;
    for places in 1..=3_u32 {
        for right in [true, false] {
            let (kept, mask) = (16 - places, 0xffff_u16 >> places);
            let hits = ids
                .windows(2)
                .filter(|pair| {
                    let (from, to) = if right { (pair[0], pair[1]) } else { (pair[1], pair[0]) };
                    from >> places == to & mask
                })
                .count();
            let chance =
                6.0 * binomial_above(hits, ids.len() - 1, 0.5_f64.powi(kept.cast_signed()));
            let share = hits as f64 / (ids.len() - 1) as f64;
            if best.is_none_or(|(least, ..)| chance < least) {
                best = Some((chance, places, right, share));
            }
        }
    }
    if let Some((chance, places, _, share)) = best.filter(|best| best.3 > 0.1) {
        let choices = f64::from(1_u32 << places) / share;
        findings.chance("shift-register", Subject::Id, chance, Some(choices), || {
            format!(
                "{:.0} % of the query IDs are the one before shifted by {places}, with few new bits",
                share * 100.0
            )
        });
    }
}

/// BIND 9 up to 9.4.1 (VU#252735, found by Amit Klein): two shift registers of 32 bits drive each
/// other. After an even ID both make the same number of steps, and all but a few bits of the next
/// are known.
fn bind9_registers(ids: &[u16], findings: &mut Findings) {
    let (mut tries, mut hits) = (0, 0);
    for pair in ids.windows(2).filter(|pair| pair[0].is_multiple_of(2)) {
        let (id, next) = (pair[0], pair[1]);
        tries += 1;
        let one = (next >> 7) & 0xff == id >> 8;
        let two = (next >> 7) & 0x7f == id >> 9;
        hits += usize::from(one || two);
    }
    let chance = binomial_above(hits, tries, 1.0 / 256.0 + 1.0 / 128.0);
    if findings.has("shift-register") || hits * 10 < tries * 9 || tries < 8 {
        return;
    }
    // Even IDs give the next away, and every second is even.
    findings.chance("bind9-registers", Subject::Id, chance, Some(2.0 * 10.0), || {
        "query IDs come from the shift registers of BIND 9 before 9.4.1-P1 (VU#252735): after an even one 10 are left".to_owned()
    });
}
