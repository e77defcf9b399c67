//! What the queries of a test are worth, by the judge of `dnsalt check`.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use dnsalt_audit::attack::{Attacker, Verdict};
use dnsalt_audit::event::Address;
use dnsalt_audit::judge::Scratch;
use dnsalt_audit::judgement::{Judged, Terms, control, judge};
use dnsalt_audit::predict::Effort;
use dnsalt_audit::state::{Counters, Observed, Sample};
use dnsalt_audit::{capital, oarc, time};
use serde::Serialize;

use crate::session::{Mark, Session};

/// An address with fewer queries is not judged by itself.
const SOME: usize = 5;
/// Queries with the same case of letters that show that it is not drawn for each.
const COPIED: usize = 4;

/// What a test came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Report {
    /// Of this form.
    pub(crate) schema: u8,
    /// Queries over UDP that were kept.
    pub(crate) queries: usize,
    /// Queries over TCP.
    pub(crate) tcp: u32,
    /// From the first to the last, in seconds.
    pub(crate) seconds: f64,
    /// The worst of all.
    pub(crate) verdict: Verdict,
    /// Those who asked, the worst first, then by their queries; if none asked often enough, all as one.
    pub(crate) resolvers: Vec<Resolver>,
}

/// One who asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Resolver {
    /// Its addresses: one, unless all are judged together.
    pub(crate) addresses: Vec<IpAddr>,
    /// Queries over UDP that were kept.
    pub(crate) queries: usize,
    /// From the first to the last, in seconds.
    pub(crate) seconds: f64,
    /// How bad it is.
    pub(crate) verdict: Verdict,
    /// Why, in a sentence.
    pub(crate) reason: String,
    /// What to do, in a sentence.
    pub(crate) advice: String,
    /// Bits that a forged reply has to guess.
    pub(crate) bits: f64,
    /// Seconds until forging, at 100 Mbit/s, has succeeded with a chance of one half.
    pub(crate) even_odds: Option<f64>,
    /// The same for people.
    pub(crate) even_odds_in_words: Option<String>,
    /// Its source ports.
    pub(crate) ports: Half,
    /// Its query IDs.
    pub(crate) ids: Half,
    /// Bits that the case of letters adds.
    pub(crate) case_bits: f64,
    /// Whether all queries have DNS cookies: 64 bits more towards servers that have them, too. Not in `bits`.
    pub(crate) cookies: bool,
    /// The payload size that EDNS announces.
    pub(crate) edns: Option<u16>,
}

/// Ports or IDs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Half {
    /// Different ones.
    pub(crate) distinct: usize,
    /// Their standard deviation.
    pub(crate) deviation: f64,
    /// What porttest and txidtest said of that.
    pub(crate) grade: &'static str,
    /// Bits, by all that was found out.
    pub(crate) bits: f64,
}

/// Judges one test at a time.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    scratch: Mutex<Scratch>,
}

/// The queries of one.
#[derive(Default)]
struct Own {
    addresses: Vec<IpAddr>,
    samples: Vec<Sample>,
    marks: Vec<Mark>,
}

impl Judge {
    /// What a test came to.
    pub(crate) fn report(&self, session: &Session) -> Report {
        let groups = groups(session);
        let mut judged: Vec<Box<Judged>> = {
            let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
            groups.iter().map(|own| Box::new(judged(own, &mut scratch))).collect()
        };
        control(&mut judged, Attacker::default());
        let mut resolvers: Vec<Resolver> = groups
            .iter()
            .zip(&judged)
            .map(|(own, judged)| resolver(own, judged, session))
            .collect();
        resolvers.sort_by_key(|one| (one.verdict, std::cmp::Reverse(one.queries)));
        let verdict = resolvers.first().map_or(Verdict::Unknown, |worst| worst.verdict);
        Report {
            schema: 1,
            queries: session.samples.len(),
            tcp: session.tcp,
            seconds: seconds(&session.samples),
            verdict,
            resolvers,
        }
    }
}

/// Whoever has enough queries to be judged by itself; all as one if nobody has.
fn groups(session: &Session) -> Vec<Own> {
    let mut groups: Vec<Own> = session
        .addresses
        .iter()
        .map(|address| Own { addresses: vec![*address], ..Own::default() })
        .collect();
    let mut all = Own { addresses: session.addresses.clone(), ..Own::default() };
    for (sample, mark) in session.samples.iter().zip(&session.marks) {
        for own in [&mut groups[usize::from(mark.who)], &mut all] {
            own.samples.push(*sample);
            own.marks.push(*mark);
        }
    }
    groups.retain(|own| own.samples.len() >= SOME);
    if groups.is_empty() && !all.samples.is_empty() { vec![all] } else { groups }
}

fn judged(own: &Own, scratch: &mut Scratch) -> Judged {
    let mut samples = own.samples.clone();
    // Of a client that draws the case itself the resolver may copy it, from name to name.
    let first = own.marks[0].case;
    if own.marks.len() >= COPIED && own.marks.iter().all(|mark| mark.case == first) {
        for sample in &mut samples {
            sample.upper = 0;
        }
    }
    let counters = Counters { queries: samples.len() as u64, ..Counters::default() };
    // Which address of ours was asked makes no difference.
    let servers = [Address::from(own.addresses[0])];
    let observed = Observed::by_one_server(own.addresses[0], &counters, &samples, &servers);
    let terms = Terms { attacker: Attacker::default(), effort: Effort::Normal, min_entropy: false };
    judge(&observed, terms, scratch)
}

fn resolver(own: &Own, judged: &Judged, session: &Session) -> Resolver {
    let judgement = &judged.overall;
    let half = |column: fn(&Sample) -> u16, choices: f64| {
        let values: Vec<u16> = own.samples.iter().map(column).collect();
        let deviation = deviation(&values);
        let mut distinct = values;
        distinct.sort_unstable();
        distinct.dedup();
        Half {
            distinct: distinct.len(),
            deviation,
            grade: oarc(deviation, own.samples.len()),
            bits: choices.log2(),
        }
    };
    let unknown = judgement.verdict == Verdict::Unknown;
    let advice = match judgement.verdict {
        Verdict::Unknown => "Too few queries arrived to judge; test once more.",
        _ => &judgement.advice,
    };
    Resolver {
        addresses: own.addresses.clone(),
        queries: own.samples.len(),
        seconds: seconds(&own.samples),
        verdict: judgement.verdict,
        reason: capital(&judgement.reason),
        advice: advice.to_owned(),
        bits: if unknown { 0.0 } else { judgement.target.bits().max(0.0) },
        even_odds: judgement.t50,
        even_odds_in_words: judgement.t50.map(time),
        ports: half(|sample| sample.port, judgement.target.ports),
        ids: half(|sample| sample.id, judgement.target.ids),
        case_bits: judgement.target.case_bits,
        cookies: own.marks.iter().all(|mark| mark.cookie),
        edns: session.edns,
    }
}

fn seconds(samples: &[Sample]) -> f64 {
    let ends = samples.first().zip(samples.last());
    ends.map_or(0.0, |(first, last)| last.time.saturating_sub(first.time) as f64 / 1e9)
}

fn deviation(values: &[u16]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let squares = values.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>();
    (squares / count).sqrt()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::session::Asked;
    use crate::session::tests::asked;

    /// Numbers without a pattern that anyone would look for.
    pub(crate) fn drawn(n: u16) -> u16 {
        use siphasher::sip::SipHasher24;
        (SipHasher24::new_with_key(&[5; 16]).hash(&n.to_be_bytes()) >> 16) as u16
    }

    fn report(queries: impl IntoIterator<Item = Asked>) -> Report {
        let mut session = Session::new(0);
        for asked in queries {
            session.ask(&asked);
        }
        Judge::default().report(&session)
    }

    #[test]
    fn random_is_strong_enough_and_a_fixed_port_is_not() {
        let good = report((0..30).map(|n| asked(n, drawn(n) | 1024, drawn(n + 1000))));
        assert_eq!((good.verdict, good.queries, good.resolvers.len()), (Verdict::Fair, 30, 1));
        let one = &good.resolvers[0];
        assert!(
            one.bits > 28.0 && one.ports.grade == "GREAT" && one.ids.grade == "GREAT",
            "{one:?}"
        );
        let bad = report((0..30).map(|n| asked(n, 33_333, drawn(n))));
        let one = &bad.resolvers[0];
        assert_eq!(
            (bad.verdict, one.ports.grade, one.ports.distinct),
            (Verdict::Broken, "POOR", 1)
        );
        assert!(
            one.ports.bits < 0.1 && one.ids.bits > 14.0 && one.even_odds.unwrap() < 60.0,
            "{one:?}"
        );
        let counted = report((0..30).map(|n| asked(n, drawn(n) | 1024, 700 + n)));
        assert!(
            counted.verdict <= Verdict::Weak && counted.resolvers[0].ids.bits < 1.0,
            "{counted:?}"
        );
    }

    #[test]
    fn two_resolvers_are_two_and_the_worse_comes_first() {
        let other = IpAddr::from([192, 0, 2, 9]);
        let good = (0..30).map(|n| asked(n, drawn(n) | 1024, drawn(n + 1000)));
        let bad = (30..60).map(|n| Asked { from: other, ..asked(n, 53, drawn(n)) });
        let report = report(good.chain(bad));
        assert_eq!((report.verdict, report.resolvers.len()), (Verdict::Broken, 2));
        assert_eq!(report.resolvers[0].addresses, [other]);
        assert_eq!(report.resolvers[1].verdict, Verdict::Fair);
    }

    #[test]
    fn a_farm_is_judged_as_one() {
        let from = |n: u16| IpAddr::from([192, 0, 2, (n % 16) as u8]);
        let farm =
            (0..32).map(|n| Asked { from: from(n), ..asked(n, drawn(n) | 1024, drawn(n + 99)) });
        let report = report(farm);
        assert_eq!((report.resolvers.len(), report.resolvers[0].addresses.len()), (1, 16));
        assert_eq!(report.verdict, Verdict::Fair);
    }

    #[test]
    fn case_counts_where_it_is_drawn_and_not_where_it_is_copied() {
        let cased =
            |n: u16, case| Asked { letters: [20, 10], case, ..asked(n, drawn(n), drawn(n + 99)) };
        let own = report((0..30).map(|n| cased(n, n as u8)));
        assert!((own.resolvers[0].case_bits - 20.0).abs() < 0.1, "{own:?}");
        let copied = report((0..30).map(|n| cased(n, 7)));
        assert!(copied.resolvers[0].case_bits < 0.1, "{copied:?}");
    }

    #[test]
    fn of_nothing_nothing_is_known() {
        let none = report([]);
        assert_eq!((none.verdict, none.resolvers.len()), (Verdict::Unknown, 0));
        let few = report((0..3).map(|n| asked(n, drawn(n), drawn(n))));
        assert_eq!((few.verdict, few.resolvers[0].even_odds), (Verdict::Unknown, None));
        assert!(few.resolvers[0].advice.contains("once more"));
    }
}
