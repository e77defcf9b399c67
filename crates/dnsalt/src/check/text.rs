//! The report for a terminal: 80 columns, worst first, and reasons for those that need one.

use std::net::IpAddr;

use dnsalt_audit::attack::Verdict;
use dnsalt_audit::finding::{Evidence, Finding};
use dnsalt_audit::judgement::{Judged, Judgement};
use dnsalt_audit::{capital, grouped, time};

use super::across::{Across, Effect};
use super::packet::Totals;
use super::report::Report;
use crate::output::{Tone, paint};

/// Lines of the table that are not weak; with `--all` there is no end.
const FINE: usize = 20;
/// Resolvers that are explained.
const EXPLAINED: usize = 20;
const WIDTH: usize = 80;

/// The whole report.
pub(crate) fn render(report: &Report, all: bool) -> String {
    let mut text = String::new();
    text += &head(report);
    if report.resolvers.is_empty() {
        text += "No DNS queries over UDP were seen.\n";
        return text + &losses(report);
    }
    text += &table(report, all);
    text += &explanations(report, all);
    text += &summary(report);
    text + &losses(report)
}

/// Both sides of a NAT.
pub(crate) fn render_across(across: &Across) -> String {
    let mut text = wrap(
        &format!(
            "{} queries inside, {} outside, {} of them the same; {} left with the port they came with.",
            number(across.seen[0] as u64),
            number(across.seen[1] as u64),
            number(across.pairs as u64),
            number(across.same_port as u64)
        ),
        0,
    );
    if across.effect != Effect::Unknown {
        text += &format!(
            "\n{:8}  {:>6}  {:>8}  {:<9}  Verdict\n",
            "", "Ports", "Distinct", "Even odds"
        );
        for (name, side) in [("Inside", &across.inside), ("Outside", &across.outside)] {
            text += &format!(
                "{name:8}  {:>6}  {:>8}  {:<9}  {}\n",
                short(side.target.ports),
                side.ports.distinct,
                side.t50.map_or("-".to_owned(), time),
                side.verdict.word()
            );
        }
        text += "\n";
        for (name, side) in [("inside", &across.inside), ("outside", &across.outside)] {
            text += &wrap(&format!("As seen {name}: {}.", side.reason), 0);
        }
    }
    text += &format!("\n{}", wrap(across.effect.sentence(), 0));
    text
}

fn head(report: &Report) -> String {
    let mut text = match &report.totals {
        Some(totals) => counts(totals),
        None => String::new(),
    };
    if let Some(dropped) = report.dropped {
        text += &format!("Dropped by the kernel: {}.\n", number(dropped));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn counts(totals: &Totals) -> String {
    let mut parts = vec![
        format!("{} packets", number(totals.packets)),
        format!("{} queries", number(totals.queries)),
        format!("{} replies", number(totals.replies)),
    ];
    for (count, what) in [
        (totals.tcp_queries, "queries over TCP (safe from this attack)"),
        (totals.other_dns, "other DNS"),
        (totals.tunnels, "in tunnels (not read)"),
        (totals.fragments, "later fragments"),
        (totals.malformed, "malformed"),
        (totals.unknown_links, "on unknown links"),
    ] {
        if count > 0 {
            parts.push(format!("{} {what}", number(count)));
        }
    }
    wrap(&format!("{}.", parts.join(", ")), 0)
}

fn table(report: &Report, all: bool) -> String {
    let (weak, fine): (Vec<&Judged>, Vec<&Judged>) = report
        .resolvers
        .iter()
        .map(AsRef::as_ref)
        .filter(|judged| all || report.resolvers.len() == 1 || judged.worst() != Verdict::Unknown)
        .partition(|judged| judged.worst() <= Verdict::Weak);
    if weak.is_empty() && fine.is_empty() {
        return String::new();
    }
    let fine_shown = if all { fine.len() } else { FINE.min(fine.len()) };
    let shown: Vec<&Judged> =
        weak.into_iter().chain(fine.iter().take(fine_shown).copied()).collect();
    let longest = shown.iter().map(|j| j.address.to_string().len()).max().unwrap_or(0);
    let room = longest.clamp(8, 39);
    let mut text = format!(
        "{:room$}  {:>9}  {:>6}  {:>6}  {:>4}  {:<9}  Verdict\n",
        "Resolver", "Queries", "Ports", "IDs", "Bits", "Even odds"
    );
    if room > 27 {
        // An IPv6 address in full leaves no room for both: it stands on a line of its own.
        text = format!(
            "{:26}  {:>9}  {:>6}  {:>6}  {:>4}  {:<9}  Verdict\n",
            "Resolver", "Queries", "Ports", "IDs", "Bits", "Even odds"
        );
    }
    let room = room.min(26);
    for judged in shown {
        text += &line(judged, room);
    }
    if fine_shown < fine.len() {
        text += &format!(
            "... and {} more that are not weak (--all lists them)\n",
            number((fine.len() - fine_shown) as u64)
        );
    }
    text
}

fn line(judged: &Judged, room: usize) -> String {
    let Judged { address, counters, overall, .. } = judged;
    let mut name = address.to_string();
    if name.len() > room {
        name = format!("{name}\n{:room$}", "");
    }
    let known = overall.t50.is_some();
    let cell = |value: f64| if known { short(value) } else { "-".to_owned() };
    let (ports, ids) = (cell(overall.target.ports), cell(overall.target.ids));
    let bits =
        if known { format!("{:.0}", overall.target.bits().max(0.0).floor()) } else { "-".into() };
    let odds = overall.t50.map_or("-".to_owned(), time);
    let verdict = judged.worst();
    let tone = if verdict <= Verdict::Weak { Tone::Bad } else { Tone::Good };
    let mut word = verdict.word().to_owned();
    if verdict != Verdict::Unknown {
        word = paint(tone, &word);
    }
    format!(
        "{name:room$}  {:>9}  {ports:>6}  {ids:>6}  {bits:>4}  {odds:<9}  {word}\n",
        number(counters.queries)
    )
}

fn explanations(report: &Report, all: bool) -> String {
    let mut text = String::new();
    let weak: Vec<&Judged> = report
        .resolvers
        .iter()
        .map(AsRef::as_ref)
        .filter(|j: &&Judged| j.worst() <= Verdict::Weak)
        .collect();
    let most = if all { weak.len() } else { EXPLAINED };
    for judged in weak.iter().take(most) {
        text.push('\n');
        text += &explain(judged);
    }
    if weak.len() > most {
        text += &format!(
            "\n... and {} more that are weak (--all explains them, --json has everything)\n",
            weak.len() - most
        );
    }
    // A single one deserves a reason even if it is fine.
    if let [judged] = &report.resolvers[..]
        && weak.is_empty()
    {
        text.push('\n');
        text += &explain(judged);
    }
    text
}

fn explain(judged: &Judged) -> String {
    let overall = &judged.overall;
    let mut text = paint(Tone::Strong, &judged.address.to_string());
    text += &format!(": {}\n", judged.worst().word());
    text += &wrap(&capital(&overall.reason), 2);
    for (server, judgement) in worse_servers(judged) {
        text += &wrap(
            &format!("As {server} sees it: {} ({}).", judgement.reason, judgement.verdict.word()),
            2,
        );
    }
    text += &wrap(&overall.advice, 2);
    for finding in overall.findings.iter().take(3) {
        text += &evidence(finding);
    }
    text += &wrap(&side_notes(judged), 2);
    if overall.verdict > Verdict::Weak && !overall.untested.is_empty() {
        text += &wrap(
            &format!(
                "Not tested by {} queries: {}.",
                number(overall.sample as u64),
                overall.untested.join("; ")
            ),
            2,
        );
    }
    text
}

/// Servers that see worse than the whole does.
fn worse_servers(judged: &Judged) -> impl Iterator<Item = (IpAddr, &Judgement)> {
    let overall = judged.overall.verdict;
    judged
        .servers
        .iter()
        .filter(move |(_, j)| j.verdict < overall && j.verdict <= Verdict::Weak)
        .take(2)
        .map(|(server, judgement)| (*server, judgement))
}

fn evidence(finding: &Finding) -> String {
    match &finding.evidence {
        Evidence::Chance(chance) if *chance < 1e-99 => {
            format!("  {}: chance below 10^-99\n", finding.name)
        }
        Evidence::Chance(chance) => format!("  {}: chance {chance:.0e}\n", finding.name),
        Evidence::Predicted(predicted) => {
            let pairs = |f: fn(&(u16, u16)) -> u16| {
                predicted
                    .shown
                    .iter()
                    .map(|pair| format!("{:>5}", f(pair)))
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            format!(
                "  {}: {} of {} foretold\n    foretold {}\n    seen     {}\n",
                finding.name,
                predicted.right,
                predicted.made,
                pairs(|pair| pair.0),
                pairs(|pair| pair.1)
            )
        }
    }
}

/// What is worth knowing beside the verdict.
pub(crate) fn side_notes(judged: &Judged) -> String {
    let Judged { counters, overall, .. } = judged;
    let mut notes = Vec::new();
    let mut note = |count: u64, one: &str, many: &str| {
        if count > 0 {
            notes.push(format!("{} {}", number(count), if count == 1 { one } else { many }));
        }
    };
    note(
        counters.retransmissions + judged.repeated as u64,
        "retransmission set aside",
        "retransmissions set aside",
    );
    note(counters.wrong_id, "reply with a wrong ID", "replies with a wrong ID");
    note(counters.wrong_question, "reply to another question", "replies to another question");
    note(counters.wrong_server, "reply from another server", "replies from another server");
    note(
        counters.wrong_port,
        "reply to a port without a query",
        "replies to ports without a query",
    );
    note(counters.fragments, "fragmented reply", "fragmented replies");
    note(counters.tcp_queries, "query over TCP", "queries over TCP");
    if overall.case.mixed > 0.02 {
        notes.push(format!("{:.0} % of the names in mixed case", overall.case.mixed * 100.0));
    }
    if overall.ports.queries_per_port >= 2.0 && overall.ports.distinct > 1 {
        notes.push(format!(
            "a port serves {:.1} queries, for {} at most",
            overall.ports.queries_per_port,
            time(overall.ports.longest_use)
        ));
    }
    if let Some([ports, ids]) = &judged.min_entropy {
        notes.push(format!(
            "min-entropy by NIST SP 800-90B {:.1} bits of ports, {:.1} of IDs in this sample",
            ports.lowest(),
            ids.lowest()
        ));
    }
    notes.push(format!(
        "DNS-OARC's grade by deviation {:.0}: {}",
        overall.ports.deviation, overall.oarc
    ));
    format!("Also: {}.", notes.join(", "))
}

fn summary(report: &Report) -> String {
    let all = [Verdict::Broken, Verdict::Weak, Verdict::Fair, Verdict::Strong, Verdict::Unknown];
    let parts: Vec<String> = all
        .into_iter()
        .map(|verdict| (report.count(verdict), verdict))
        .filter(|(count, _)| *count > 0)
        .map(|(count, verdict)| match verdict {
            Verdict::Unknown => format!("{} with too few queries to tell", number(count as u64)),
            known => format!("{} {}", number(count as u64), known.word()),
        })
        .collect();
    let many = report.resolvers.len();
    let noun = if many == 1 { "client" } else { "clients" };
    let attacker = &report.attacker;
    let servers = if attacker.servers > 1.0 {
        format!(" and {} servers to choose from", short(attacker.servers))
    } else {
        String::new()
    };
    let odds = if report.count(Verdict::Unknown) == many {
        String::new()
    } else {
        format!(
            " Even odds: how long {} forged packets a second{servers} take to succeed with a chance of one half (RFC 5452).",
            grouped(attacker.rate)
        )
    };
    let words = format!("{} {noun}: {}.{odds}", number(many as u64), parts.join(", "));
    format!("\n{}", wrap(&words, 0))
}

fn losses(report: &Report) -> String {
    let line = |loss: &super::read::Loss| wrap(&format!("{}: {}.", loss.file, loss.why), 0);
    let lines: String = report.losses.iter().map(line).collect();
    if lines.is_empty() { lines } else { format!("\nNot everything could be read:\n{lines}") }
}

/// A count with its thousands set apart.
pub(crate) fn number(count: u64) -> String {
    grouped(count as f64)
}

/// A number of choices in few letters.
pub(crate) fn short(value: f64) -> String {
    if value < 9.95 {
        format!("{value:.1}").trim_end_matches(".0").to_owned()
    } else {
        format!("{value:.0}")
    }
}

/// Words in lines of 80 columns, all of them moved in by so many.
fn wrap(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines += &format!("{:indent$}{line}\n", "");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines + &format!("{:indent$}{line}\n", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_wrapped() {
        let text = wrap(&"word ".repeat(40), 2);
        assert!(text.lines().all(|line| line.len() <= WIDTH && line.starts_with("  word")));
        assert_eq!(text.split_whitespace().count(), 40);
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(number(42), "42");
        assert_eq!([1.0, 2.53, 28_232.4].map(short), ["1", "2.5", "28232"]);
    }
}
