//! Every known flaw is found at its size of sample, and nothing is found where there is nothing.

use dnsalt_audit::attack::{Attacker, Verdict};
use dnsalt_audit::finding::{Evidence, PROOF};
use dnsalt_audit::judge::Scratch;
use dnsalt_audit::judgement::{Judgement, Terms, judge_series};
use dnsalt_audit::predict::Effort;
use dnsalt_audit::series::Series;
use dnsalt_flaws::{Flaw, Sample, Subject, deep, flaws, strong};

const SEEDS: u64 = 100;
/// Seeds at which a flaw may be missed.
const MISSES: u64 = 1;

fn series(samples: &[Sample]) -> Series {
    let mut series = Series::default();
    for (s, question) in samples.iter().zip(0..) {
        series.push(s.time, u32::from(s.server), s.port, s.id, question);
    }
    series
}

fn judged(samples: &[Sample], effort: Effort, scratch: &mut Scratch) -> Judgement {
    let terms = Terms { attacker: Attacker::default(), effort, min_entropy: false };
    judge_series(&series(samples), terms, scratch)
}

/// Whether the flaw was seen: by a finding about the right half, or by how few ports there are.
fn sees(flaw: &Flaw, judgement: &Judgement) -> bool {
    let about = |subject| {
        judgement
            .findings
            .iter()
            .any(|f| f.subject == subject || f.subject == dnsalt_audit::finding::Subject::Both)
    };
    match flaw.subject {
        Subject::Port => about(dnsalt_audit::finding::Subject::Port),
        Subject::Id => about(dnsalt_audit::finding::Subject::Id),
        Subject::Both => {
            judgement.verdict == Verdict::Broken && about(dnsalt_audit::finding::Subject::Id)
        }
        Subject::Neither => false,
    }
}

fn misses(flaw: &Flaw, effort: Effort) -> u64 {
    let mut scratch = Scratch::default();
    // Those that take long are made less often.
    let seeds = match effort {
        Effort::Deep => SEEDS / 10,
        Effort::Normal if flaw.samples > 10_000 => SEEDS / 20,
        Effort::Normal => SEEDS,
    };
    (0..seeds)
        .filter(|seed| {
            let samples = (flaw.make)(*seed, flaw.samples);
            !sees(flaw, &judged(&samples, effort, &mut scratch))
        })
        .count() as u64
}

fn assert_all_found(flaws: &[Flaw], effort: Effort) {
    let missed: Vec<String> = flaws
        .iter()
        .map(|flaw| (flaw, misses(flaw, effort)))
        .filter(|(_, misses)| *misses > MISSES)
        .map(|(flaw, misses)| format!("{} at {}: {misses} missed", flaw.name, flaw.samples))
        .collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn every_flaw_is_found_at_its_sample_size() {
    assert_all_found(&flaws(), Effort::Normal);
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
/// Sizes from 26 to 100,000, most of them small, as they are in captures.
fn size(i: usize, of: usize) -> usize {
    let (least, most) = (26_f64, 100_000_f64);
    (least * (most / least).powf((i as f64 / of as f64).powi(3))) as usize
}

#[test]
fn good_series_are_accused_once_in_a_thousand_at_most_and_no_generator_is_named() {
    const SERIES: usize = 4_000;
    const ALLOWED: usize = SERIES / 1000;
    let check = |range: std::ops::Range<usize>| {
        let mut scratch = Scratch::default();
        let mut alarms = Vec::new();
        for i in range {
            let flaw = strong()[i % strong().len()];
            let n = size(i, SERIES);
            let judgement = judged(&(flaw.make)(i as u64, n), Effort::Normal, &mut scratch);
            for finding in &judgement.findings {
                let named = matches!(finding.evidence, Evidence::Predicted(_));
                assert!(!named, "{} at {n}: {finding:?}", flaw.name);
            }
            if !judgement.findings.is_empty() {
                alarms.push(format!("{} at {n}: {:?}", flaw.name, judgement.findings));
            }
        }
        alarms
    };
    // Two threads; long series are at the end, so they get unequal numbers.
    let alarms = std::thread::scope(|scope| {
        let first = scope.spawn(|| check(0..SERIES * 92 / 100));
        let mut alarms = check(SERIES * 92 / 100..SERIES);
        alarms.extend(first.join().unwrap());
        alarms
    });
    println!("{} alarms: {alarms:#?}", alarms.len());
    assert!(alarms.len() <= ALLOWED, "{alarms:#?}");
}

#[test]
fn a_generator_is_named_by_predictions_alone() {
    let mut scratch = Scratch::default();
    for name in ["drand48", "v8-math-random", "bind-xoshiro", "glibc-random", "msvc-rand"] {
        let flaw = flaws().into_iter().find(|flaw| flaw.name == name).unwrap();
        let judgement = judged(&(flaw.make)(7, 100), Effort::Normal, &mut scratch);
        let predicted = judgement.findings.iter().find_map(|f| match &f.evidence {
            Evidence::Predicted(predicted) => Some(predicted),
            Evidence::Chance(_) => None,
        });
        let predicted = predicted.unwrap_or_else(|| panic!("{name}: {judgement:?}"));
        assert!(predicted.right >= PROOF && predicted.right == predicted.made, "{name}");
        assert!(predicted.shown.iter().all(|(foretold, seen)| foretold == seen), "{name}");
        assert_eq!(judgement.verdict, Verdict::Broken, "{name}");
    }
}

#[test]
fn a_deep_search_finds_the_rest() {
    assert_all_found(&deep(), Effort::Deep);
}
