//! What else protects a resolver, or hurts it: letter case, cookies, identical queries, giving up.

use serde::{Deserialize, Serialize};

use crate::last::Last;
use crate::series::Series;
use crate::state::{Counters, Observed, Sample};

/// A query that nobody answered counts as outstanding for so long: shorter than resolvers wait
/// before they ask again from another port.
const UNANSWERED: u64 = 400_000_000;
/// So long a query is asked again before it is given up.
const SAME_DRAW: u64 = 10_000_000_000;
/// Names with fewer letters often are all of one case by chance.
const TELLING: u8 = 8;

/// Random case of letters (draft-vixie-dnsext-dns0x20).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LetterCase {
    /// The share of names with eight letters or more that mix their case.
    pub mixed: f64,
    /// Bits that it adds to every query: -log2 of the mean chance of a guess, so that short names
    /// count for what they are. 0 unless all names are mixed.
    pub bits: f64,
}

/// The case of the letters of all queries.
pub(crate) fn letter_case(samples: &[Sample]) -> LetterCase {
    let (mut telling, mut mixed, mut letters, mut upper) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut by_letters = [0_u32; 256];
    for sample in samples {
        letters += u64::from(sample.letters);
        upper += u64::from(sample.upper);
        by_letters[usize::from(sample.letters)] += 1;
        if sample.letters >= TELLING {
            telling += 1;
            mixed += u64::from(sample.upper > 0 && sample.upper < sample.letters);
        }
    }
    if telling == 0 {
        return LetterCase::default();
    }
    let share = mixed as f64 / telling as f64;
    let even = (0.45..0.55).contains(&(upper as f64 / letters as f64));
    let bits = if share > 0.97 && even && telling >= 10 {
        let names = by_letters.iter().zip(0..);
        let guess: f64 = names.map(|(n, letters)| f64::from(*n) * f64::powi(2.0, -letters)).sum();
        -(guess / samples.len() as f64).log2()
    } else {
        0.0
    };
    LetterCase { mixed: share, bits }
}

/// Bits that cookies (RFC 7873) add: the attacker takes the servers that do not return them.
pub(crate) fn cookie_bits(counters: &Counters) -> f64 {
    let asked = counters.queries - counters.retransmissions.min(counters.queries);
    // A server's first answer, an error perhaps, has none: but a few of many are not all.
    let without = counters.cookies_missing + asked.saturating_sub(counters.cookies);
    if counters.cookies_returned < 20 {
        return 0.0;
    }
    if without == 0 {
        return 64.0;
    }
    let share = without as f64 / (without + counters.cookies_returned) as f64;
    -share.log2()
}

/// The largest number of queries for one question to one server that were outstanding at a time,
/// with different ports or IDs: each is a target of its own (CERT VU#800113, the third fault).
pub(crate) fn identical(samples: &[Sample], last: &mut Last) -> usize {
    last.begin(samples.len());
    // The same query before; its own place if there is none.
    let mut before: Vec<u32> = Vec::with_capacity(samples.len());
    let mut most = usize::from(!samples.is_empty());
    let end = |s: &Sample| s.time.saturating_add(s.delay().unwrap_or(UNANSWERED));
    for (i, sample) in samples.iter().enumerate() {
        let key = u64::from(sample.question) << 32 | u64::from(sample.server);
        before.push(last.replace(key, i).unwrap_or(i) as u32);
        let (mut open, mut at) = (1, i);
        while before[at] as usize != at {
            at = before[at] as usize;
            let earlier = &samples[at];
            if end(earlier) <= sample.time {
                break;
            }
            open += usize::from((earlier.port, earlier.id) != (sample.port, sample.id));
        }
        most = most.max(open);
    }
    most
}

/// Samples as a series, without those that repeat port, ID and question of an earlier one: asked again,
/// at another server as a rule, not drawn again. And how many these are.
pub(crate) fn drawn(samples: &[Sample], last: &mut Last) -> (Series, usize) {
    last.begin(samples.len());
    let mut kept = Series::with_capacity(samples.len());
    for sample in samples {
        let drawn = u64::from(sample.port) << 48 | u64::from(sample.id) << 32;
        let key = drawn | u64::from(sample.question);
        match last.replace(key, kept.len()) {
            // A client with a constant ID asks the same again in earnest, some time later.
            Some(at) if sample.time.saturating_sub(kept.times[at]) < SAME_DRAW => {
                last.replace(key, at);
            }
            _ => kept.push(sample.time, sample.server, sample.port, sample.id, sample.question),
        }
    }
    let again = samples.len() - kept.len();
    (kept, again)
}

/// After how many near misses the resolver leaves UDP, and how long a window is in seconds; none if
/// it was not seen to.
pub(crate) fn gives_up(observed: &Observed<'_>) -> Option<(f64, f64)> {
    let counters = observed.counters;
    let misses = counters.wrong_id + counters.wrong_question;
    if counters.tcp_after_mismatch < 3 || counters.tcp_after_mismatch * 2 < misses {
        return None;
    }
    let k = misses as f64 / counters.tcp_after_mismatch as f64;
    let rtt = counters.answer_micros as f64 / counters.answered.max(1) as f64 / 1e6;
    // RFC 5452 takes a tenth of a second where nothing better is known.
    Some((k.max(1.0), rtt.max(0.1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(time: u64, question: u32, port: u16) -> Sample {
        Sample { time, server: 0, question, port, id: 0, delay: 0, letters: 10, upper: 5 }
    }

    #[test]
    fn identical_queries_at_a_time() {
        let second = 1_000_000_000;
        let mut samples: Vec<Sample> = (0..5).map(|i| sample(i, 7, 1000 + i as u16)).collect();
        assert_eq!(identical(&samples, &mut Last::default()), 5);
        assert_eq!(identical(&[], &mut Last::default()), 0);
        // Answered before the next was asked.
        for (i, sample) in samples.iter_mut().enumerate() {
            sample.time = i as u64 * second;
            sample.answer_at(sample.time + second / 2);
        }
        assert_eq!(identical(&samples, &mut Last::default()), 1);
        let different: Vec<Sample> = (0..5).map(|i| sample(0, i, 1000)).collect();
        assert_eq!(identical(&different, &mut Last::default()), 1);
    }

    #[test]
    fn case_counts_where_all_names_have_it() {
        let mixed: Vec<Sample> = (0..40).map(|i| sample(i, 0, 0)).collect();
        let case = letter_case(&mixed);
        assert!((case.bits - 10.0).abs() < 1e-9 && (case.mixed - 1.0).abs() < 1e-9);
        let mut some = mixed;
        some[3].upper = 0;
        some[4].upper = 0;
        assert!(letter_case(&some).bits < 1e-9);
    }

    #[test]
    fn cookies_count_where_all_servers_return_them() {
        let all = Counters {
            queries: 100,
            cookies: 100,
            cookies_returned: 100,
            answered: 100,
            ..Counters::default()
        };
        assert!((cookie_bits(&all) - 64.0).abs() < 1e-9);
        let half = Counters { cookies_returned: 50, cookies_missing: 50, ..all.clone() };
        assert!((cookie_bits(&half) - 1.0).abs() < 1e-9);
        assert!(cookie_bits(&Counters::default()) < 1e-9);
    }
}
