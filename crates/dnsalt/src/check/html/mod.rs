//! The report as one HTML page that needs nothing else: no script, no font, no picture from elsewhere.

mod plot;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use dnsalt_audit::attack::Verdict;
use dnsalt_audit::finding::{Evidence, Finding};
use dnsalt_audit::judgement::Judged;
use dnsalt_audit::state::{Sample, State};
use dnsalt_audit::{capital, grouped, time};

use super::report::Report;
use super::text::{number, short, side_notes};
use crate::page::{self, escaped};

/// Resolvers with plots: a page of more is no page any more. The table has all that were judged.
const PLOTTED: usize = 200;

/// The whole page.
pub(crate) fn render(report: &Report, state: &State) -> String {
    let samples: HashMap<IpAddr, &[Sample]> =
        state.resolvers().map(|observed| (observed.address, observed.samples)).collect();
    let mut page = page::begin("dnsalt check");
    page += "<h1>How predictable are these DNS queries?</h1>\n";
    page += &chips(report);
    page += &sources(report);
    let (judged, few): (Vec<&Judged>, Vec<&Judged>) = report
        .resolvers
        .iter()
        .map(AsRef::as_ref)
        .partition(|j| j.worst() != Verdict::Unknown || report.resolvers.len() == 1);
    page += &table(&judged);
    if !few.is_empty() {
        let _ = writeln!(
            page,
            "<p class=\"quiet\">{} more asked too few queries to tell.</p>",
            number(few.len() as u64)
        );
    }
    for (i, judged) in judged.iter().take(PLOTTED).enumerate() {
        let samples = samples.get(&judged.address).copied().unwrap_or_default();
        page += &section(judged, samples, i < 3 || judged.worst() <= Verdict::Weak);
    }
    page += &footer(report);
    page + page::END
}

fn chips(report: &Report) -> String {
    let mut text = String::from("<p class=\"chips\">");
    for verdict in
        [Verdict::Broken, Verdict::Weak, Verdict::Fair, Verdict::Strong, Verdict::Unknown]
    {
        let count = report.count(verdict);
        if count > 0 {
            let _ = write!(text, "{} {} ", number(count as u64), badge(verdict));
        }
    }
    if report.resolvers.is_empty() {
        text += "No DNS queries were seen.";
    }
    text + "</p>\n"
}

fn sources(report: &Report) -> String {
    let mut text = String::new();
    if let Some(totals) = &report.totals {
        let _ = write!(
            text,
            "<p class=\"quiet\">{} packets, {} queries, {} replies, {} queries over TCP.",
            number(totals.packets),
            number(totals.queries),
            number(totals.replies),
            number(totals.tcp_queries)
        );
        if let Some(dropped) = report.dropped {
            let _ = write!(text, " Dropped by the kernel: {}.", number(dropped));
        }
        text += "</p>\n";
    }
    for loss in &report.losses {
        let _ =
            writeln!(text, "<p class=\"loss\">{}: {}</p>", escaped(&loss.file), escaped(&loss.why));
    }
    text
}

fn badge(verdict: Verdict) -> String {
    format!("<span class=\"badge {0}\">{0}</span>", verdict.word())
}

fn table(judged: &[&Judged]) -> String {
    if judged.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "<div class=\"wide\"><table>\n<thead><tr><th>Client</th><th class=\"n\">Queries</th>\
         <th class=\"n\">Ports</th><th class=\"n\">IDs</th><th class=\"n\">Bits</th>\
         <th class=\"n\">Even odds</th><th>Verdict</th></tr></thead>\n<tbody>\n",
    );
    for (i, j) in judged.iter().enumerate() {
        let target = &j.overall.target;
        let known = j.overall.t50.is_some();
        let cell = |value: String| if known { value } else { "–".to_owned() };
        let name = if i < PLOTTED {
            format!("<a href=\"#{}\">{}</a>", anchor(j), j.address)
        } else {
            j.address.to_string()
        };
        let _ = writeln!(
            text,
            "<tr><td>{name}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            number(j.counters.queries),
            cell(short(target.ports)),
            cell(short(target.ids)),
            cell(format!("{:.1}", target.bits().max(0.0))),
            j.overall.t50.map_or("–".to_owned(), time),
            badge(j.worst())
        );
    }
    text + "</tbody>\n</table></div>\n"
}

fn anchor(judged: &Judged) -> String {
    format!("c-{}", judged.address.to_string().replace([':', '.'], "-"))
}

fn section(judged: &Judged, samples: &[Sample], open: bool) -> String {
    let overall = &judged.overall;
    let mut text = format!(
        "<details id=\"{}\"{}>\n<summary><strong>{}</strong> {} <span>{}</span></summary>\n",
        anchor(judged),
        if open { " open" } else { "" },
        judged.address,
        badge(judged.worst()),
        escaped(&capital(&overall.reason))
    );
    let _ = writeln!(text, "<p>{}</p>", with_code(&overall.advice));
    text += "<div class=\"plots\">\n";
    text += &plot::over_time("Source port over time", samples, |sample| sample.port);
    text += &plot::over_time("Query ID over time", samples, |sample| sample.id);
    text += &plot::against_next("Port against the next port", samples, |sample| sample.port);
    text += &plot::against_next("ID against the next ID", samples, |sample| sample.id);
    text += &plot::bits(
        overall.target.ports.log2(),
        overall.target.ids.log2(),
        overall.target.case_bits,
        overall.target.cookie_bits,
        overall.target.identical.log2(),
    );
    text += "</div>\n";
    text += &findings(&overall.findings);
    for (server, judgement) in &judged.servers {
        if judgement.verdict <= Verdict::Weak {
            let _ = writeln!(
                text,
                "<p>As {server} sees it: {} {}</p>",
                escaped(&judgement.reason),
                badge(judgement.verdict)
            );
        }
    }
    let _ = writeln!(text, "<p class=\"quiet\">{}</p>", escaped(&side_notes(judged)));
    if !overall.untested.is_empty() {
        let _ = writeln!(
            text,
            "<p class=\"quiet\">Not tested by {} queries: {}.</p>",
            number(overall.sample as u64),
            escaped(&overall.untested.join("; "))
        );
    }
    text + "</details>\n"
}

fn findings(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return String::new();
    }
    let mut text = String::from("<ul class=\"findings\">\n");
    for finding in findings {
        let _ = write!(
            text,
            "<li><code>{}</code> {}",
            finding.name,
            escaped(&capital(&finding.sentence))
        );
        match &finding.evidence {
            Evidence::Chance(chance) if *chance < 1e-99 => {
                text += " Chance below 10<sup>−99</sup>.";
            }
            Evidence::Chance(chance) => {
                let _ = write!(text, " Chance {chance:.0e}.");
            }
            Evidence::Predicted(predicted) => {
                let _ = write!(text, " {} of {} foretold:", predicted.right, predicted.made);
                let row = |name: &str, f: fn(&(u16, u16)) -> u16| {
                    let cells: String = predicted
                        .shown
                        .iter()
                        .map(|pair| format!("<td>{}</td>", f(pair)))
                        .collect();
                    format!("<tr><th>{name}</th>{cells}</tr>")
                };
                let _ = write!(
                    text,
                    "<div class=\"wide\"><table class=\"foretold\">{}{}</table></div>",
                    row("foretold", |pair| pair.0),
                    row("seen", |pair| pair.1)
                );
            }
        }
        text += "</li>\n";
    }
    text + "</ul>\n"
}

fn footer(report: &Report) -> String {
    format!(
        "<footer><p>Even odds: the time after which an attacker who sends {} forged packets a second \
         has succeeded with a chance of one half (RFC 5452, section 7): \
         ln 2 · N · ports · IDs · 2<sup>case</sup> / (identical queries · rate), N = {}. \
         Broken: under a minute, or the next value is known; weak: under an hour; fair: under a year.</p>\n\
         <p>dnsalt {}</p></footer>\n",
        grouped(report.attacker.rate),
        short(report.attacker.servers),
        env!("CARGO_PKG_VERSION")
    )
}

/// Text with what stands in backquotes as code.
fn with_code(text: &str) -> String {
    let mut parts = text.split('`').map(escaped).enumerate();
    let part = |(i, part): (usize, String)| {
        if i % 2 == 1 { format!("<code>{part}</code>") } else { part }
    };
    parts.by_ref().map(part).collect()
}
