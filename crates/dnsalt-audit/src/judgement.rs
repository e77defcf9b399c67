//! The judgement of one resolver: tests and predictors first, then what they are worth together.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::attack::{Attacker, Target, Verdict};
use crate::finding::{Evidence, Finding, Subject};
use crate::judge::{self, LEVEL, Pool, Scratch};
use crate::min_entropy::{MinEntropy, min_entropy};
use crate::predict::{self, Effort};
use crate::series::Series;
use crate::state::{Counters, Observed};
use crate::traits::{self, LetterCase};
use crate::words;

/// Queries that a first judgement takes: as many as DNS-OARC's porttest asked for.
pub const ENOUGH: usize = 26;
/// The fewest that say anything at all.
const SOME: usize = 5;
/// Servers of one resolver that are judged on their own.
const MOST_SERVERS: usize = 8;
/// Symbols that the min-entropy is estimated from.
const MOST_ESTIMATED: usize = 8192;
/// Findings that nobody has shown how to use, but that no good generator has.
const UNNATURAL: [&str; 7] = [
    "clock-ids",
    "too-even",
    "too-few-repeats",
    "id-bits-repeat",
    "port-bits-repeat",
    "port-and-id-related",
    "repeated-pairs",
];

/// How to judge.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Who attacks.
    pub attacker: Attacker,
    /// How hard to look.
    pub effort: Effort,
    /// Whether to estimate the min-entropy as well, which takes longer than all the rest.
    pub min_entropy: bool,
}

/// What was found out about one resolver, or about one as one server sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// How bad it is.
    pub verdict: Verdict,
    /// One sentence: why.
    pub reason: String,
    /// One sentence: what to do.
    pub advice: Cow<'static, str>,
    /// Queries that were judged: the earliest, without retransmissions.
    pub sample: usize,
    /// So many more queries would allow a verdict; 0 if there are enough.
    pub more: usize,
    /// Seconds until an attack has an even chance to have succeeded; none without a verdict.
    pub t50: Option<f64>,
    /// What a forged reply has to match.
    pub target: Target,
    /// The ports.
    pub ports: Pool,
    /// The old grade of DNS-OARC, by the standard deviation of the ports alone, for comparison.
    pub oarc: Cow<'static, str>,
    /// Letter case.
    pub case: LetterCase,
    /// What the tests found, worst first.
    pub findings: Vec<Finding>,
    /// What this sample could not show.
    pub untested: Vec<Cow<'static, str>>,
}

/// A resolver with its judgement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Its address.
    pub address: IpAddr,
    /// Over all its packets.
    pub counters: Counters,
    /// The first and the last query, in nanoseconds since 1970.
    pub span: Option<(u64, u64)>,
    /// Queries of the sample that were asked again, at another server as a rule, with port and ID
    /// unchanged, and set aside.
    pub repeated: usize,
    /// Over all servers.
    pub overall: Judgement,
    /// Min-entropy of ports and IDs, if it was asked for: a side number, see [`crate::min_entropy`].
    pub min_entropy: Option<[MinEntropy; 2]>,
    /// As single servers see it, those with the most queries; empty if there is but one.
    pub servers: Vec<(IpAddr, Judgement)>,
}

/// Judges one resolver by itself; [`control`] then weighs all of them against each other.
pub fn judge(observed: &Observed<'_>, terms: Terms, scratch: &mut Scratch) -> Judged {
    let (series, repeated) = traits::drawn(observed.samples, &mut scratch.last);
    let case = traits::letter_case(observed.samples);
    let target = Target {
        ports: 65_536.0,
        ids: 65_536.0,
        case_bits: case.bits,
        cookie_bits: traits::cookie_bits(observed.counters),
        identical: traits::identical(observed.samples, &mut scratch.last).max(1) as f64,
        gives_up: traits::gives_up(observed),
    };
    let overall = of_series(&series, target, case, terms, scratch);
    let estimate = |column: &[u16]| min_entropy(&column[..column.len().min(MOST_ESTIMATED)], 16);
    let min_entropy = terms
        .min_entropy
        .then(|| Some([estimate(&series.ports)?, estimate(&series.ids)?]))
        .flatten();
    let servers = of_servers(observed, target, case, terms, scratch);
    Judged {
        repeated,
        address: observed.address,
        counters: observed.counters.clone(),
        span: observed.span,
        min_entropy,
        overall,
        servers,
    }
}

/// Judges a series by its ports and IDs alone.
pub fn judge_series(series: &Series, terms: Terms, scratch: &mut Scratch) -> Judgement {
    let target = Target {
        ports: 65_536.0,
        ids: 65_536.0,
        case_bits: 0.0,
        cookie_bits: 0.0,
        identical: 1.0,
        gives_up: None,
    };
    let mut judgement = of_series(series, target, LetterCase::default(), terms, scratch);
    judgement.weigh(terms.attacker);
    judgement
}

fn of_series(
    series: &Series,
    target: Target,
    case: LetterCase,
    terms: Terms,
    scratch: &mut Scratch,
) -> Judgement {
    let (found, ports) = judge::run(series, scratch);
    let mut findings = found.list;
    // A constant needs no generator to explain it, and a counter neither.
    let explained = |f: &Finding| f.subject == Subject::Id && f.names_next();
    if !findings.iter().any(explained)
        && let Some(named) = predict::run(series, terms.effort)
    {
        // What the statistics saw of it says less.
        findings.retain(|f| f.subject == Subject::Port || f.choices < named.choices);
        findings.push(named);
    }
    keep_the_plainest(&mut findings);
    let about_ids = |f: &Finding| f.subject == Subject::Id;
    if !findings.iter().any(|f| about_ids(f) && f.choices.is_some())
        && let Some((who, chance)) =
            predict::clock(series, findings.iter().any(about_ids), terms.effort)
    {
        findings.retain(|f| !about_ids(f));
        findings.push(words::clock(who, chance));
    }
    Judgement {
        verdict: Verdict::Unknown,
        reason: String::new(),
        advice: Cow::Borrowed(""),
        sample: series.len(),
        more: 0,
        t50: None,
        target,
        oarc: words::oarc(ports.deviation, series.len()).into(),
        ports,
        case,
        untested: words::untested(series, terms.effort).into_iter().map(Cow::from).collect(),
        findings,
    }
}

/// Where one finding leaves next to nothing to guess, others about the same half follow from it.
fn keep_the_plainest(findings: &mut Vec<Finding>) {
    for subject in [Subject::Port, Subject::Id] {
        let about = |f: &Finding| f.subject == subject && f.choices.is_some_and(|c| c <= 16.0);
        if let Some(plain) = findings.iter().position(about) {
            let name = findings[plain].name.clone();
            findings.retain(|f| f.subject != subject || f.name == name);
        }
    }
}

/// The servers with the most queries, if there are several with enough.
fn of_servers(
    observed: &Observed<'_>,
    target: Target,
    case: LetterCase,
    terms: Terms,
    scratch: &mut Scratch,
) -> Vec<(IpAddr, Judgement)> {
    if observed.samples.len() < ENOUGH + 1 {
        return Vec::new();
    }
    let counts = scratch.places_for(observed.samples.iter().map(|sample| sample.server));
    let mut most: Vec<(u32, u32)> = Vec::new();
    let mut servers = 0;
    for sample in observed.samples {
        // Each once: what was taken counts no more.
        let count = std::mem::take(&mut counts[sample.server as usize]);
        servers += usize::from(count > 0);
        if count as usize >= ENOUGH {
            most.push((sample.server, count));
        }
    }
    if servers < 2 {
        return Vec::new();
    }
    // By their addresses: numbers depend on who else was seen.
    most.sort_unstable_by_key(|(server, count)| {
        (std::cmp::Reverse(*count), observed.servers[*server as usize])
    });
    most.truncate(MOST_SERVERS);
    let tests = most.len() as f64;
    let of_server = |(server, _): (u32, u32)| {
        let own = || observed.samples.iter().filter(|s| s.server == server);
        let mut series = Series::default();
        for s in own() {
            series.push(s.time, s.server, s.port, s.id, s.question);
        }
        let mut judgement = of_series(&series, target, case, terms, scratch);
        for finding in &mut judgement.findings {
            if let Evidence::Chance(chance) = &mut finding.evidence {
                *chance *= tests;
            }
        }
        let address = own().next().map(|sample| observed.server(sample));
        address.map(|address| (address, judgement))
    };
    most.into_iter().filter_map(of_server).collect()
}

impl Judged {
    /// The verdict over all servers, or the worst that one of them sees.
    pub fn worst(&self) -> Verdict {
        let servers = self.servers.iter().map(|(_, judgement)| judgement.verdict);
        let bad = servers.filter(|verdict| *verdict <= Verdict::Weak).min();
        bad.map_or(self.overall.verdict, |verdict| verdict.min(self.overall.verdict))
    }
}

impl Judgement {
    /// The least chance among what statistics found; 1 if they found nothing.
    fn chance(&self) -> f64 {
        let chances = self.findings.iter().filter_map(|f| match f.evidence {
            Evidence::Chance(chance) => Some(chance),
            Evidence::Predicted(_) => None,
        });
        chances.fold(1.0, f64::min)
    }

    fn forget_above(&mut self, limit: f64) {
        self.findings.retain(|finding| finding.chance() <= limit);
    }

    /// What the findings are worth together: verdict, time and words.
    fn weigh(&mut self, attacker: Attacker) {
        let order = |f: &Finding| f.choices.unwrap_or(f64::INFINITY);
        self.findings.sort_by(|a, b| order(a).total_cmp(&order(b)));
        // Of few draws the range says little.
        let range = if self.ports.draws < 20 { 65_536.0 } else { self.ports.by_range };
        self.target.ports = self.least(Subject::Port, range.max(1.0));
        self.target.ids = self.least(Subject::Id, 65_536.0);
        let t50 = self.target.t50(attacker);
        let mut verdict = Verdict::of(t50);
        if self.findings.iter().any(|finding| UNNATURAL.contains(&&*finding.name)) {
            verdict = verdict.min(Verdict::Weak);
        }
        let enough = self.sample >= ENOUGH
            || (self.sample >= SOME && verdict <= Verdict::Weak && !self.findings.is_empty());
        self.more = if enough { 0 } else { ENOUGH.saturating_sub(self.sample).max(1) };
        self.verdict = if enough { verdict } else { Verdict::Unknown };
        self.t50 = enough.then_some(t50);
        self.reason = words::reason(self);
        self.advice = words::advice(self);
    }

    fn least(&self, subject: Subject, all: f64) -> f64 {
        let about = |f: &&Finding| f.subject == subject || f.subject == Subject::Both;
        let choices = self.findings.iter().filter(about).filter_map(|finding| finding.choices);
        choices.fold(all, f64::min).max(1.0)
    }
}

/// Findings of statistics are believed up to these chances.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Over all servers.
    pub overall: f64,
    /// As single servers see it.
    pub servers: f64,
}

impl Limits {
    /// Of all resolvers together, given the chances of each, see [`Judged::chances`].
    ///
    /// Among a thousand good ones, some look bad by chance. Statistics count where they pass the procedure
    /// of Benjamini and Hochberg (1995) at [`LEVEL`]; predictions are proof and need none.
    pub fn of(overall: Vec<f64>, servers: Vec<f64>) -> Self {
        let limit = |mut chances: Vec<f64>| {
            chances.sort_unstable_by(f64::total_cmp);
            let m = chances.len() as f64;
            let passing =
                chances.iter().zip(1_u32..).filter(|(p, k)| **p <= f64::from(*k) / m * LEVEL);
            passing.map(|(_, k)| f64::from(k) / m * LEVEL).fold(0.0, f64::max)
        };
        Limits { overall: limit(overall), servers: limit(servers) }
    }
}

impl Judged {
    /// The least chance of what statistics found over all servers, and of what they found of each: of
    /// those with enough queries to be tested.
    pub fn chances(&self) -> (Option<f64>, Vec<f64>) {
        let tested = |j: &&Judgement| j.sample >= SOME;
        let overall = Some(&self.overall).filter(tested).map(Judgement::chance);
        let servers = self.servers.iter().map(|(_, j)| j).filter(tested);
        (overall, servers.map(Judgement::chance).collect())
    }

    /// Gives it its verdict. Once more with lower limits gives what these alone would have given.
    pub fn weigh(&mut self, limits: Limits, attacker: Attacker) {
        self.overall.forget_above(limits.overall);
        self.overall.weigh(attacker);
        for (_, judgement) in &mut self.servers {
            judgement.forget_above(limits.servers);
            judgement.weigh(attacker);
        }
        self.servers.sort_by(|(a_address, a), (b_address, b)| {
            let time = |j: &Judgement| j.t50.unwrap_or(f64::INFINITY);
            time(a).total_cmp(&time(b)).then(b.sample.cmp(&a.sample)).then(a_address.cmp(b_address))
        });
    }
}

/// Weighs all resolvers against each other, and gives each its verdict.
pub fn control(judged: &mut [Box<Judged>], attacker: Attacker) {
    let (mut overall, mut servers) = (Vec::new(), Vec::new());
    for (of_all, of_servers) in judged.iter().map(|judged| judged.chances()) {
        overall.extend(of_all);
        servers.extend(of_servers);
    }
    let limits = Limits::of(overall, servers);
    for resolver in judged {
        resolver.weigh(limits, attacker);
    }
}
