//! Numbers in plain words.

use std::borrow::Cow;

use crate::attack::Verdict;
use crate::finding::{Evidence, Finding, Subject};
use crate::judgement::Judgement;
use crate::predict::Effort;
use crate::series::Series;

/// The grade of DNS-OARC's porttest, which ran from 2008 to 2023 and asked 26 times.
pub fn oarc(deviation: f64, sample: usize) -> &'static str {
    match deviation {
        _ if sample < 2 => "-",
        d if d >= 3980.0 => "GREAT",
        d if d >= 296.0 => "GOOD",
        _ => "POOR",
    }
}

/// A sentence that begins with a capital and ends with a full stop.
pub fn capital(sentence: &str) -> String {
    let mut letters = sentence.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// What a sample of this size, or this kind, cannot show.
pub(crate) fn untested(series: &Series, effort: Effort) -> Vec<&'static str> {
    let n = series.len();
    let mut list = Vec::new();
    for (least, what) in [
        (12, "truncated linear congruential generators (12 queries), drand48 (12)"),
        (26, "xoshiro128** and V8's Math.random() (26 queries)"),
        (60, "glibc's random() (60 queries)"),
        (160, "uneven query IDs (160 queries)"),
        (300, "pools of thousands of ports, and linear generators of any kind (320 queries)"),
        (2000, "query IDs that are dealt, not drawn (2,000 queries)"),
        (40_000, "the Mersenne Twister (40,000 queries)"),
    ] {
        if n < least {
            list.push(what);
        }
    }
    if effort == Effort::Normal {
        list.push("generators of several worker threads, and long lags (--deep)");
    }
    let first = series.servers.first();
    if series.servers.iter().all(|server| Some(server) == first) {
        list.push("whether several servers see the same port (all queries went to one)");
    }
    list
}

/// Why the verdict is what it is.
pub(crate) fn reason(judgement: &Judgement) -> String {
    let Judgement { ports, target, sample, findings, .. } = judgement;
    if judgement.verdict == Verdict::Unknown {
        return format!(
            "{} {}: {} more to judge",
            sample,
            if *sample == 1 { "query" } else { "queries" },
            judgement.more
        );
    }
    // The worst of each half.
    let mut parts: Vec<&str> = Vec::new();
    for subject in [Subject::Both, Subject::Port, Subject::Id] {
        let worst = findings.iter().find(|f| f.subject == subject);
        if let Some(worst) = worst.filter(|f| f.choices.is_some() || parts.is_empty()) {
            parts.push(&worst.sentence);
        }
    }
    if target.identical >= 3.0
        || (target.identical > 1.0 && parts.is_empty() && judgement.verdict <= Verdict::Weak)
    {
        let identical =
            format!("{} identical queries were outstanding at a time", grouped(target.identical));
        return if parts.is_empty() {
            identical
        } else {
            format!("{}; {identical}", parts.join("; "))
        };
    }
    if !parts.is_empty() {
        return parts.join("; ");
    }
    let more = match (judgement.case.bits > 0.5, target.cookie_bits > 0.5) {
        (true, true) => ", mixed case, cookies",
        (true, false) => ", mixed case",
        (false, true) => ", cookies",
        (false, false) => "",
    };
    let range = if ports.width() >= 60_000.0 {
        "over nearly all ports".to_owned()
    } else {
        format!("from about {} ports", grouped((ports.by_range / 100.0).round() * 100.0))
    };
    format!("random {range}, random query IDs{more}")
}

/// IDs that are read off a clock.
pub(crate) fn clock(who: &str, chance: f64) -> Finding {
    Finding {
        name: "clock-ids".into(),
        subject: Subject::Id,
        sentence: format!(
            "query IDs are read off the clock, as in the stub resolver of {who}: no secret to who knows when a query was sent"
        ),
        evidence: Evidence::Chance(chance),
        choices: None,
    }
}

/// What to do about it.
pub(crate) fn advice(judgement: &Judgement) -> Cow<'static, str> {
    let Judgement { verdict, findings, target, .. } = judgement;
    match verdict {
        Verdict::Unknown => return "Capture for longer.".into(),
        Verdict::Strong => return "Nothing to do.".into(),
        Verdict::Fair if target.case_bits > 0.0 => {
            return "Fine; DNS cookies would add to it.".into();
        }
        Verdict::Fair => {
            return "Fine; random letter case (0x20) or DNS cookies would add to it.".into();
        }
        Verdict::Broken | Verdict::Weak => {}
    }
    let about = |subject: Subject| {
        let all =
            findings.iter().filter(move |f| f.subject == subject || f.subject == Subject::Both);
        all.map(|finding| &*finding.name).next()
    };
    let mut parts = Vec::new();
    match about(Subject::Port) {
        Some("fixed-port" | "favourite-port") => parts.push(
            "Remove the fixed port from its settings (query-source, query-port, outgoing-port); if that cannot be done, run `dnsalt up` on its gateway.",
        ),
        Some(_) => parts.push(
            "Give it all ports to draw from, and check that no NAT on the way rewrites them; if that cannot be done, run `dnsalt up` on its gateway.",
        ),
        None => {}
    }
    match (about(Subject::Id), parts.is_empty()) {
        (Some(_), true) => parts.push(
            "Update or replace the program: its query IDs are no secret. Until then only its ports protect it.",
        ),
        (Some(_), false) => parts.push("Its query IDs are no secret either: update or replace the program."),
        (None, _) => {}
    }
    if target.identical > 1.0 && (parts.is_empty() || target.identical >= 3.0) {
        parts.push("Update the program, so that it asks only once for one question at a time.");
    }
    if parts.is_empty() {
        parts.push("Give it more ports to draw from; if that cannot be done, run `dnsalt up` on its gateway.");
    }
    parts.join(" ").into()
}

/// "1 value", "2 values".
pub(crate) fn plural(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{} {many}", grouped(count as f64)) }
}

/// A whole number with its thousands set apart.
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time for people: `0.4 s`, `2.8 h`, `3,400 years`.
pub fn time(seconds: f64) -> String {
    const YEAR: f64 = 365.25 * 86_400.0;
    let units: [(f64, f64, &str); 5] = [
        (1.0, 60.0, "s"),
        (60.0, 3600.0, "min"),
        (3600.0, 2.0 * 86_400.0, "h"),
        (86_400.0, YEAR, "days"),
        (YEAR, f64::INFINITY, "years"),
    ];
    let (unit, _, name) =
        units.into_iter().find(|(_, below, _)| seconds < *below).unwrap_or(units[4]);
    match seconds / unit {
        v if v < 0.001 => format!("under 1 m{name}"),
        v if v < 0.0995 => format!("{v:.3} {name}"),
        v if v < 9.95 => format!("{v:.1} {name}"),
        v if v < 1e6 => format!("{} {name}", grouped(v)),
        v => format!("10^{:.0} {name}", v.log10().floor()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_for_people() {
        for (seconds, words) in [
            (0.000_01, "under 1 ms"),
            (0.363, "0.4 s"),
            (59.0, "59 s"),
            (61.0, "1.0 min"),
            (10_260.0, "2.9 h"),
            (86_400.0 * 100.0, "100 days"),
            (3.2e10, "1,014 years"),
            (1e30, "10^22 years"),
        ] {
            assert_eq!(time(seconds), words);
        }
    }

    #[test]
    fn grades_of_the_old_test() {
        assert_eq!(
            [0.0, 295.0, 296.0, 3979.0, 3980.0].map(|d| oarc(d, 26)),
            ["POOR", "POOR", "GOOD", "GOOD", "GREAT"]
        );
    }
}
