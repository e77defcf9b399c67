//! How many values are behind the draws: constants, favourites, narrow ranges, small pools.
//!
//! From n draws out of R equally likely values, pairs of equal draws come n(n-1)/2R times on
//! average (the birthday problem), and the pairs are independent of each other two by two, so that
//! the count spreads like a Poisson variable. So R is known from the number of pairs, wherever the
//! values lie: 26 ports scattered over the whole range show themselves in 30 queries, to which a
//! standard deviation is blind.

use serde::{Deserialize, Serialize};

use super::{Findings, Scratch};
use crate::finding::Subject;
use crate::series::Series;
use crate::tail::{binomial_above, poisson_above, poisson_below, poisson_interval};
use crate::words::{grouped, plural};

/// The smallest range that good sources of ports use (RFC 6335's dynamic ports, 49152 to 65535).
const GOOD_RANGE: f64 = 16_384.0;
/// Draws that are so near each other may have a reason to be equal, or to differ: retries, sockets
/// in use. Pairs of a pool are counted beyond that.
const NEAR: usize = 8;
/// A lookup sends so many queries from one socket at most: A, AAAA and a retry of each.
const LOOKUP: usize = 4;
/// Queries that are looked at before all are.
const FEW: usize = 64;
/// Queries that are nearer to each other, in number or in time, may be in flight together, and their
/// IDs be kept apart on purpose.
const IN_FLIGHT: (usize, u64) = (64, 5_000_000_000);

/// What is known of the ports behind the draws.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// Different ports that were seen.
    pub distinct: usize,
    /// The lowest.
    pub lowest: u16,
    /// The highest.
    pub highest: u16,
    /// Standard deviation, for comparison with older tests.
    pub deviation: f64,
    /// The range that this span comes from, if every port in it is used (the problem of the German
    /// tanks, from both ends).
    pub by_range: f64,
    /// The number of ports by pairs of equal draws: the least with 97.5 % certainty, the best
    /// guess, the most. No pairs, no upper end.
    pub by_pairs: (f64, Option<f64>, Option<f64>),
    /// Draws that were independent of each other as far as can be seen: what one lookup sends from one
    /// socket counts once.
    pub draws: usize,
    /// Queries from one port until it changes, as one server sees it, on average.
    pub queries_per_port: f64,
    /// For how long one server saw one port at most, in seconds.
    pub longest_use: f64,
}

impl Pool {
    /// From lowest to highest, both included.
    pub(crate) fn width(&self) -> f64 {
        f64::from(self.highest.saturating_sub(self.lowest)) + 1.0
    }
}

/// The ports of a series.
pub(super) fn ports(
    series: &Series,
    before: &[u32],
    scratch: &mut Scratch,
    findings: &mut Findings,
) -> (Pool, Vec<u16>) {
    let n = series.len();
    let mut pool = describe(series, before, scratch);
    if n < 5 {
        return (pool, Vec::new());
    }
    let subject = Subject::Port;
    if pool.distinct == 1 {
        let chance = GOOD_RANGE.powf(1.0 - n as f64);
        let port = pool.lowest;
        findings.chance("fixed-port", subject, chance, Some(1.0), || {
            format!("every query leaves from port {port}")
        });
        return (pool, Vec::new());
    }
    let per_server = sticks_to_servers(series, before, findings);
    favourite(&series.ports, subject, GOOD_RANGE, per_server, scratch, findings);
    let draws = ports_in_use(series, per_server.then_some(before));
    pool.draws = draws.len();
    narrow(&mut pool, &draws, findings);
    pairs(&mut pool, &draws, scratch, findings);
    (pool, draws)
}

/// The IDs of a series.
pub(super) fn ids(series: &Series, scratch: &mut Scratch, findings: &mut Findings) {
    let n = series.len();
    if n < 5 {
        return;
    }
    let space = 65_536.0;
    let first = series.ids[0];
    if series.ids.iter().all(|id| *id == first) {
        let chance = 65_536_f64.powf(1.0 - n as f64);
        findings.chance("constant-id", Subject::Id, chance, Some(1.0), || {
            format!("every query has the ID {first}")
        });
        return;
    }
    favourite(&series.ids, Subject::Id, space, false, scratch, findings);
    if n < 20 {
        return;
    }
    let (count, pairs) = equal_pairs(&series.ids, NEAR, scratch);
    let chance = poisson_above(count, pairs / space);
    let choices = pairs / count.max(1.0);
    findings.chance("few-ids", Subject::Id, chance, Some(choices), || {
        format!("query IDs come from about {} values only", grouped(choices))
    });
    // IDs in flight together may be kept apart, which is no flaw: look beyond them.
    let (count, pairs) = later_pairs(series, scratch);
    findings.chance("too-few-repeats", Subject::Id, poisson_below(count, pairs / space), None, || {
        format!(
            "query IDs repeat less than chance has it ({} times, not about {}): they are dealt, not drawn",
            grouped(count),
            grouped(pairs / space)
        )
    });
}

fn describe(series: &Series, before: &[u32], scratch: &mut Scratch) -> Pool {
    let n = series.len();
    let mut pool = Pool { lowest: u16::MAX, ..Pool::default() };
    let (mut sum, mut squares) = (0_u64, 0_u64);
    let (mut lowest, mut highest, mut distinct) = (u16::MAX, 0, 0);
    scratch.each(
        &series.ports,
        |port| port,
        |port, before| {
            distinct += usize::from(before == 0);
            lowest = lowest.min(port);
            highest = highest.max(port);
            sum += u64::from(port);
            squares += u64::from(port) * u64::from(port);
        },
    );
    if n == 0 {
        return Pool::default();
    }
    let mean = sum as f64 / n as f64;
    let variance = squares as f64 / n as f64 - mean * mean;
    pool.distinct = distinct;
    (pool.lowest, pool.highest) = (lowest, highest);
    // As the old tests had it: of the sample, not of the population.
    pool.deviation = (variance.max(0.0) * n as f64 / (n as f64 - 1.0).max(1.0)).sqrt();
    pool.by_range = if distinct == 1 { 1.0 } else { range(pool.width(), n) };
    pool.by_pairs = (1.0, None, None);
    pool.draws = n;
    stay(series, before, &mut pool);
    pool
}

/// The range that a width was drawn from: (max - min)(n + 1) / (n - 1), but no more ports than
/// there are.
fn range(width: f64, n: usize) -> f64 {
    let n = n as f64;
    ((width - 1.0) * (n + 1.0) / (n - 1.0).max(1.0)).clamp(1.0, 65_536.0)
}

/// How long one server sees one port: what a scan through a side channel has to fit into.
fn stay(series: &Series, before: &[u32], pool: &mut Pool) {
    let mut since: Vec<u64> = series.times.clone();
    let (mut runs, mut longest) = (0_usize, 0);
    for (i, before) in before.iter().enumerate() {
        let before = *before as usize;
        if before != i && series.ports[before] == series.ports[i] {
            since[i] = since[before];
            longest = longest.max(series.times[i].saturating_sub(since[i]));
        } else {
            runs += 1;
        }
    }
    pool.queries_per_port = series.len() as f64 / runs.max(1) as f64;
    pool.longest_use = longest as f64 / 1e9;
}

/// Whether each server sees a port of its own that stays, as NAT per flow makes it; a server of the
/// attacker's then does not see the port that another server sees.
fn sticks_to_servers(series: &Series, before: &[u32], findings: &mut Findings) -> bool {
    let (mut pairs, mut same, mut others, mut shared) = (0, 0, 0, 0);
    for (i, at_server) in before.iter().enumerate().skip(1) {
        let at_server = *at_server as usize;
        if at_server != i {
            pairs += 1;
            same += usize::from(series.ports[at_server] == series.ports[i]);
        }
        if series.servers[i - 1] != series.servers[i] {
            others += 1;
            shared += usize::from(series.ports[i - 1] == series.ports[i]);
        }
    }
    if pairs == 0 || others < 2 {
        return false;
    }
    let (share, between) = (same as f64 / pairs as f64, shared as f64 / f64::from(others));
    if share < 2.0 * between || share < 0.05 {
        return false;
    }
    let chance = binomial_above(same, pairs, (2.0 * between).clamp(1.0 / 1024.0, 0.5));
    findings.chance("port-per-server", Subject::Port, chance, None, || {
        format!(
            "each server sees one port for a while ({:.0} % of the queries keep it): long enough for a scan",
            share * 100.0
        )
    })
}

/// One value that comes much too often.
fn favourite(
    values: &[u16],
    subject: Subject,
    space: f64,
    per_server: bool,
    scratch: &mut Scratch,
    findings: &mut Findings,
) {
    // A few tell whether it is worth counting all.
    let few = &values[..values.len().min(FEW)];
    if values.len() > FEW && scratch.commonest(few).is_none_or(|(_, most)| most * 5 < FEW) {
        return;
    }
    let Some((value, most)) = scratch.commonest(values) else { return };
    let share = most as f64 / values.len() as f64;
    // Below that a pool describes it better.
    if share < 0.4 || per_server {
        return;
    }
    let chance = space * binomial_above(most, values.len(), 1.0 / space);
    let (name, what) = match subject {
        Subject::Id => ("favourite-id", "have the ID"),
        _ => ("favourite-port", "leave from port"),
    };
    findings.chance(name, subject, chance, Some(1.0 / share), || {
        format!("{:.0} % of the queries {what} {value}", (share * 100.0).floor())
    });
}

/// The ports as draws that are independent as far as can be seen: what one lookup sends from one
/// socket counts once, and so does what a server sees of a port that stays.
fn ports_in_use(series: &Series, per_server: Option<&[u32]>) -> Vec<u16> {
    let mut draws = Vec::with_capacity(series.len());
    let mut run = 0;
    for (i, port) in series.ports.iter().enumerate() {
        let repeats = i > 0 && series.ports[i - 1] == *port;
        run = if repeats { run + 1 } else { 0 };
        let kept = per_server.is_some_and(|before| {
            before[i] as usize != i && series.ports[before[i] as usize] == *port
        });
        if run % LOOKUP == 0 && !kept {
            draws.push(*port);
        }
    }
    draws
}

/// All ports within a range that is too narrow to be a good one's.
fn narrow(pool: &mut Pool, draws: &[u16], findings: &mut Findings) {
    let n = draws.len();
    if n < 4 {
        return;
    }
    pool.by_range = range(pool.width(), n);
    let share = pool.width() / GOOD_RANGE;
    if share >= 1.0 {
        return;
    }
    // The chance that n draws of a range lie within a share of it: n s^(n-1) at most.
    let chance = n as f64 * share.powf(n as f64 - 1.0);
    // With few draws the range may be wider than it looks: the widest that is still likely.
    let wide = pool.width() * (n as f64 / 0.025).powf(1.0 / (n as f64 - 1.0));
    let choices = if n < 20 { wide } else { pool.by_range };
    let (lowest, highest) = (pool.lowest, pool.highest);
    findings.chance("narrow-range", Subject::Port, chance, Some(choices), || {
        let place = match highest {
            0..512 => "below 512",
            512..1024 => "below 1024",
            _ => "",
        };
        if place.is_empty() {
            format!("ports lie between {lowest} and {highest} only")
        } else {
            format!("ports lie {place} only, between {lowest} and {highest}")
        }
    });
}

/// More pairs of equal ports than the range allows.
fn pairs(pool: &mut Pool, draws: &[u16], scratch: &mut Scratch, findings: &mut Findings) {
    let (count, pairs) = equal_pairs(draws, NEAR, scratch);
    if pairs < 1.0 {
        return;
    }
    let (least, most) = poisson_interval(count, 0.025);
    pool.by_pairs = (
        (pairs / most).max(1.0),
        (count > 0.0).then(|| pairs / count),
        (least > 0.0).then(|| pairs / least),
    );
    let chance = poisson_above(count, pairs / pool.width());
    let mut choices = pairs / count.max(1.0);
    if (pool.distinct as f64) < draws.len() as f64 / 2.0 {
        // Nearly all of the pool was seen, and there is no more of it than that.
        choices = choices.min(pool.distinct as f64);
    }
    // A range that is a little uneven, as of an operating system that avoids some ports, is no pool.
    if choices > 0.5 * pool.width() {
        return;
    }
    let distinct = pool.distinct;
    findings.chance("small-pool", Subject::Port, chance, Some(choices), || {
        let (lowest, highest) = (pool.lowest, pool.highest);
        if (distinct as f64) < draws.len() as f64 / 2.0 {
            format!(
                "only {}, between {lowest} and {highest}",
                plural(distinct, "port is used", "ports are used")
            )
        } else {
            format!(
                "ports come from a pool of about {}, between {lowest} and {highest}",
                grouped(choices)
            )
        }
    });
}

/// Pairs of equal values that are further apart than `near`, and pairs in all.
fn equal_pairs(values: &[u16], near: usize, scratch: &mut Scratch) -> (f64, f64) {
    let far = values.len().saturating_sub(near + 1);
    let mut count = 0_u64;
    // Value i meets those before i - near.
    for i in 0..far {
        scratch.counts[usize::from(values[i])] += 1;
        count += u64::from(scratch.counts[usize::from(values[i + near + 1])]);
    }
    for value in &values[..far] {
        scratch.counts[usize::from(*value)] = 0;
    }
    (count as f64, far as f64 * (far as f64 + 1.0) / 2.0)
}

/// Pairs of equal IDs that cannot have been in flight together, and such pairs in all.
fn later_pairs(series: &Series, scratch: &mut Scratch) -> (f64, f64) {
    let (number, time) = IN_FLIGHT;
    let (mut count, mut pairs, mut far) = (0_u64, 0_u64, 0);
    for (i, id) in series.ids.iter().enumerate() {
        while far + number < i && series.times[far].saturating_add(time) < series.times[i] {
            scratch.counts[usize::from(series.ids[far])] += 1;
            far += 1;
        }
        count += u64::from(scratch.counts[usize::from(*id)]);
        pairs += far as u64;
    }
    for id in &series.ids[..far] {
        scratch.counts[usize::from(*id)] = 0;
    }
    (count as f64, pairs as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_counted_beyond_the_near_ones() {
        let scratch = &mut Scratch::default();
        let values = [7, 1, 7, 2, 3, 7];
        // Pairs of 7: (0,2), (0,5), (2,5).
        assert_eq!(equal_pairs(&values, 0, scratch), (3.0, 15.0));
        assert_eq!(equal_pairs(&values, 2, scratch), (2.0, 6.0));
        assert_eq!(equal_pairs(&values, 9, scratch), (0.0, 0.0));
        assert!(scratch.counts.iter().all(|count| *count == 0));
    }

    #[test]
    fn the_range_is_estimated_from_both_ends() {
        // 26 draws that span 28,000 come from 30,240 or so.
        assert!((range(28_001.0, 26) - 30_240.0).abs() < 1.0);
        assert!((range(65_536.0, 30) - 65_536.0).abs() < 1e-9);
    }

    #[test]
    fn what_one_lookup_sends_counts_once() {
        let mut series = Series::default();
        for (i, port) in [5, 5, 6, 7, 7, 7, 7, 7, 8].into_iter().enumerate() {
            series.push(i as u64, 0, port, 0, 0);
        }
        assert_eq!(ports_in_use(&series, None), [5, 6, 7, 7, 8]);
        assert_eq!(
            ports_in_use(&series, Some(&series.before_at_server(&mut Vec::new()))),
            [5, 6, 7, 8]
        );
    }
}
