//! A report in the words of a TXT record.

use dnsalt_audit::attack::Verdict;
use dnsalt_audit::time;
use serde::Serialize;

use crate::judgement::{Half, Report, Resolver};
use crate::zone::Test;

/// The longest string of a TXT record.
pub(crate) const MOST: usize = 255;
/// Strings in all, with their lengths: with a name and all else it still fits into a packet of 1232 bytes.
const ROOM: usize = 900;

/// The strings of the answer.
pub(crate) fn strings(test: Test, report: &Report) -> Vec<String> {
    let Some(worst) = report.resolvers.first() else {
        return vec!["no query of this test is known; ask once more".to_owned()];
    };
    match test {
        Test::Json => json(report, worst),
        Test::Ids => words(worst, &worst.ids, "txids"),
        Test::Ports | Test::Web => words(worst, &worst.ports, "ports"),
    }
}

/// For everybody.
pub(crate) fn headline(report: &Report) -> String {
    let Some(worst) = report.resolvers.first() else {
        return "Somebody asked, but too little to judge.".to_owned();
    };
    let Some(even_odds) = worst.even_odds else {
        return "Too few queries have arrived to judge.".to_owned();
    };
    let after = format!("with 100 Mbit/s the odds are even after {}", time(even_odds));
    match worst.verdict {
        Verdict::Broken => format!("Answers to your resolver can be forged at once: {after}."),
        Verdict::Weak => format!("Answers to your resolver can be forged: {after}."),
        Verdict::Unknown => "Too few queries have arrived to judge.".to_owned(),
        Verdict::Fair => format!("Answers to your resolver are hard to forge: {after}."),
        Verdict::Strong => format!("Answers to your resolver are too hard to forge: {after}."),
    }
}

/// As DNS-OARC's tests said it, then in our words.
fn words(resolver: &Resolver, half: &Half, what: &str) -> Vec<String> {
    let who = match &resolver.addresses[..] {
        [one] => one.to_string(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        [] => String::new(),
    };
    let first = format!(
        "{who} is {}: {} queries in {:.1} seconds from {} {what} with std dev {:.0}",
        half.grade, resolver.queries, resolver.seconds, half.distinct, half.deviation
    );
    let mut strings = vec![first, verdict(resolver), resolver.reason.clone()];
    if resolver.verdict <= Verdict::Unknown {
        strings.push(resolver.advice.clone());
    }
    strings.iter().flat_map(|text| pieces(text)).collect()
}

fn verdict(resolver: &Resolver) -> String {
    let Some(even_odds) = resolver.even_odds else {
        return "verdict: unknown".to_owned();
    };
    let mut text = format!(
        "verdict: {}: {:.1} bits (port {:.1}, ID {:.1}, case {:.1})",
        resolver.verdict.word(),
        resolver.bits,
        resolver.ports.bits,
        resolver.ids.bits,
        resolver.case_bits,
    );
    if resolver.cookies {
        text += ", and cookies";
    }
    text + &format!("; forged at 100 Mbit/s, poisoned with even odds after {}", time(even_odds))
}

/// One who asked, as short as it can be said.
#[derive(Serialize)]
struct Short<'a> {
    schema: u8,
    resolver: String,
    resolvers: usize,
    queries: usize,
    verdict: &'a str,
    bits: f64,
    port_bits: f64,
    id_bits: f64,
    case_bits: f64,
    cookies: bool,
    ports: usize,
    ids: usize,
    edns: Option<u16>,
    even_odds_seconds: Option<f64>,
    reason: &'a str,
}

fn json(report: &Report, worst: &Resolver) -> Vec<String> {
    let tenth = |number: f64| (number * 10.0).round() / 10.0;
    let short = Short {
        schema: 1,
        resolver: worst.addresses.first().map(ToString::to_string).unwrap_or_default(),
        resolvers: report.resolvers.iter().map(|one| one.addresses.len()).sum(),
        queries: worst.queries,
        verdict: worst.verdict.word(),
        bits: tenth(worst.bits),
        port_bits: tenth(worst.ports.bits),
        id_bits: tenth(worst.ids.bits),
        case_bits: tenth(worst.case_bits),
        cookies: worst.cookies,
        ports: worst.ports.distinct,
        ids: worst.ids.distinct,
        edns: worst.edns,
        even_odds_seconds: worst.even_odds.map(f64::round),
        reason: cut(&worst.reason, 300),
    };
    pieces(&serde_json::to_string(&short).unwrap_or_default())
}

fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// Strings of 255 bytes at most, cut between letters; together no more than there is room for.
fn pieces(text: &str) -> Vec<String> {
    let (mut rest, mut pieces) = (cut(text, ROOM), Vec::new());
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(cut(rest, MOST).len());
        pieces.push(piece.to_owned());
        rest = behind;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judgement::Judge;
    use crate::judgement::tests::drawn;
    use crate::session::Session;
    use crate::session::tests::asked;

    fn report(port: fn(u16) -> u16) -> Report {
        let mut session = Session::new(0);
        for n in 0..28 {
            session.ask(&asked(n, port(n), drawn(n + 500)));
        }
        Judge::default().report(&session)
    }

    #[test]
    fn it_begins_as_the_old_test_did() {
        let good = strings(Test::Ports, &report(|n| drawn(n) | 1024));
        assert!(good[0].starts_with(
            "192.0.2.1 is GREAT: 28 queries in 0.0 seconds from 28 ports with std dev "
        ));
        assert!(
            good[1].starts_with("verdict: fair: ") && good[1].contains("even odds after"),
            "{good:?}"
        );
        assert_eq!(good.len(), 3);
        let bad = strings(Test::Ports, &report(|_| 53));
        assert!(bad[0].contains(" is POOR: 28 queries in 0.0 seconds from 1 ports with std dev 0"));
        assert!(bad[1].starts_with("verdict: broken: ") && bad.len() == 4, "{bad:?}");
        let ids = strings(Test::Ids, &report(|_| 53));
        assert!(ids[0].contains(" is GREAT: 28 queries in 0.0 seconds from 28 txids"), "{ids:?}");
    }

    #[test]
    fn json_is_json_once_it_is_put_together() {
        let pieces = strings(Test::Json, &report(|_| 53));
        assert!(pieces.iter().all(|piece| piece.len() <= MOST));
        let value: serde_json::Value = serde_json::from_str(&pieces.concat()).unwrap();
        assert_eq!((&value["verdict"], &value["ports"]), (&"broken".into(), &1.into()));
        assert!(pieces.concat().len() < ROOM, "{}", pieces.concat().len());
    }

    #[test]
    fn pieces_are_cut_between_letters() {
        let text = "ä".repeat(400);
        let pieces = pieces(&text);
        assert!(pieces.iter().all(|piece| piece.len() <= MOST) && pieces.concat() == text);
    }
}
