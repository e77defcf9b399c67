//! IDs that are read off a clock, as the stub resolvers of two C libraries make them.
//!
//! musl: nanoseconds of the wall clock, `ns + ns / 65536`. The GNU C library: `r = ns ^ s` of the clock
//! since boot, `r ^ r rotated by 24`, its lower half in the wrong byte order. Who sees a query with the
//! time of it can tell; who does not see it has to know the time to a fraction of a millisecond.

use crate::series::Series;

/// Queries from which on, and up to which, a clock is looked for.
const FEWEST: usize = 40;
const MOST: usize = 512;
/// The clock is read so much before the packet is seen, at most, in nanoseconds.
const DELAY: u64 = 20_000;

/// Directions that times are rounded to.
const DIRECTIONS: usize = 32;

/// Which library it is, and the chance that IDs fit its clock so well.
pub(crate) struct Clock {
    pub(crate) who: &'static str,
    pub(crate) chance: f64,
}

/// Looks for musl's clock.
pub(crate) fn musl(series: &Series) -> Option<Clock> {
    let n = series.len().min(MOST);
    if n < FEWEST {
        return None;
    }
    let mut directions = [0_u32; DIRECTIONS];
    for (time, id) in series.times.iter().zip(&series.ids).take(n) {
        let nanoseconds = time % 1_000_000_000;
        let off = (nanoseconds + nanoseconds / 65_536).wrapping_sub(u64::from(*id)) & 0xffff;
        directions[off as usize * DIRECTIONS / 65_536] += 1;
    }
    let (mut x, mut y) = (0.0, 0.0);
    for (i, count) in directions.into_iter().enumerate() {
        let angle = i as f64 / DIRECTIONS as f64 * std::f64::consts::TAU;
        x += f64::from(count) * angle.cos();
        y += f64::from(count) * angle.sin();
    }
    // Rayleigh's test: directions that point the same way on average.
    let chance = (-(x * x + y * y) / n as f64).exp();
    Some(Clock { who: "musl", chance })
}

/// Looks for glibc's clock: the difference between the clock of the capture and that since boot is
/// searched in steps.
///
/// ```text
///   r = .. n2 n1 n0 (of nanoseconds) ^ .. s2 s1 s0 (of seconds); shown: n1^n2^s1^s2, n0^n1^s0^s1
/// ```
///
/// With the difference, n2 is known, as it changes every 65 µs only; s1^s2 hardly ever changes; so
/// the first byte gives n1, which has to agree with the time to some microseconds.
pub(crate) fn glibc(series: &Series) -> Option<Clock> {
    const STEP: u64 = DELAY * 2 / 5;
    let n = series.len().min(MOST / 4);
    if n < FEWEST {
        return None;
    }
    // The ID is written with its bytes swapped: the lower byte on the wire is the upper of the two.
    let seen: Vec<(u64, u8)> = series
        .times
        .iter()
        .zip(&series.ids)
        .take(n)
        .map(|(t, id)| (t % SECOND, *id as u8))
        .collect();
    let mut best = 0;
    for difference in (0..SECOND).step_by(STEP as usize) {
        for group in seen.chunks_exact(GROUP).take(12) {
            for seconds in fitting(group, difference) {
                best = best.max(seen.iter().filter(|one| fits(**one, difference, seconds)).count());
            }
        }
        if best * 10 > n * 7 && n >= 64 {
            break;
        }
    }
    let tried = (SECOND / STEP) as f64 * 256.0;
    // A time within 20 of 65 µs.
    let p = WINDOW as f64 / 256.0 + 0.02;
    Some(Clock { who: "glibc", chance: tried * crate::tail::binomial_above(best, n, p) })
}

const SECOND: u64 = 1_000_000_000;
/// Queries that have to fit all, before the others are looked at.
const GROUP: usize = 8;
/// Steps of 256 ns that the delay may take.
const WINDOW: u64 = DELAY / 256;

/// Values of s1^s2 with which all of a group fit.
fn fitting(group: &[(u64, u8)], difference: u64) -> Vec<u8> {
    let Some(((time, byte), rest)) = group.split_first() else { return Vec::new() };
    let (n2, now) = parts(*time, difference);
    (0..=WINDOW)
        .map(|late| byte ^ n2 ^ (now.wrapping_sub(late as u8)))
        .filter(|seconds| rest.iter().all(|one| fits(*one, difference, *seconds)))
        .collect()
}

/// n2, and the time in steps of 256 ns.
fn parts(time: u64, difference: u64) -> (u8, u8) {
    let up = (time + difference) % SECOND;
    // Half of the delay before it was seen, as the best guess for what changes seldom.
    let read = (up + SECOND - DELAY / 2) % SECOND;
    ((read >> 16) as u8, (up >> 8) as u8)
}

fn fits((time, byte): (u64, u8), difference: u64, seconds: u8) -> bool {
    let (n2, now) = parts(time, difference);
    let n1 = byte ^ n2 ^ seconds;
    u64::from(now.wrapping_sub(n1)) <= WINDOW
}
