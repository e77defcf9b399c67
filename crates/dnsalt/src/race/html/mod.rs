//! The report as a page.

mod curves;

use std::fmt::Write as _;

use dnsalt_audit::{grouped, time};

use super::text::odds;
use super::{Race, Report};
use crate::page::{self, escaped};

/// The whole page.
pub(crate) fn render(report: &Report) -> String {
    let mut text = page::begin("dnsalt lab attack");
    text += "<h1>How long until the cache is poisoned?</h1>\n";
    let raced: Vec<&Race> = report.races.iter().filter(|race| race.told.is_none()).collect();
    text += &lead(&raced);
    // One resolver's worth: more curves than that nobody can tell apart.
    let first = raced.first().map_or("", |race| race.victim);
    let mut drawn: Vec<_> = raced.iter().copied().filter(|race| race.victim == first).collect();
    if drawn.len() > curves::MOST {
        drawn.retain(|race| race.attack != "port scan" && race.attack != "steered NAT");
    }
    drawn.retain(|race| race.predicted.even_odds.is_some());
    drawn.truncate(curves::MOST);
    if !drawn.is_empty() {
        text += &curves::render(&drawn);
        let _ = writeln!(
            text,
            "<p class=\"quiet\">{}. The lines follow the formula of RFC 5452 section 7 with the rate \
             and the windows that were measured; dotted, they go on beyond the time that the attack was \
             run, which is an extrapolation. A point: the cache was poisoned.</p>",
            escaped(first)
        );
    }
    text += &tables(&raced);
    let measured: Vec<&Race> = report.races.iter().filter(|race| race.told.is_some()).collect();
    if !measured.is_empty() {
        text += &agreement(&measured);
    }
    text += &method(report);
    text + page::END
}

/// What a manager wants to know.
fn lead(races: &[&Race]) -> String {
    let mut text = String::from("<p class=\"lead\">");
    let fell = races.iter().find(|race| race.protection == "none" && poisoned(race).is_some());
    if let Some((race, after)) = fell.and_then(|race| Some((race, poisoned(race)?))) {
        let _ = write!(
            text,
            "Unprotected, {} believed a forged answer after <strong class=\"broken\">{}</strong>: from then \
             on it sent everybody who asked to the attacker. ",
            escaped(race.victim),
            time(after)
        );
    }
    let salted: Vec<_> = races.iter().filter(|race| race.protection == "salt").collect();
    if !salted.is_empty() {
        let forged: u64 = salted.iter().map(|race| race.raced.attacked.forged).sum();
        let fell = salted.iter().filter(|race| poisoned(race).is_some()).count();
        let _ = match fell {
            0 => write!(
                text,
                "Behind dnsalt, {} forged answers were sent, and \
                 <strong class=\"strong\">none was believed</strong>.",
                grouped(forged as f64)
            ),
            some => write!(
                text,
                "Behind dnsalt, <strong class=\"broken\">{some} of {} attacks succeeded</strong>.",
                salted.len()
            ),
        };
    }
    text + "</p>\n"
}

fn poisoned(race: &Race) -> Option<f64> {
    race.raced.attacked.poisoned.as_ref().map(|poisoned| poisoned.after)
}

fn tables(races: &[&Race]) -> String {
    let mut text = String::new();
    let mut victim = "";
    for race in races {
        if race.victim != victim {
            if !victim.is_empty() {
                text += "</tbody></table></div>\n";
            }
            victim = race.victim;
            let _ = writeln!(
                text,
                "<h2>{}</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>Protection</th><th>Attack</th>\
                 <th class=\"n\">Forged</th><th class=\"n\">Windows</th><th class=\"n\">Near misses</th>\
                 <th class=\"n\">ICMP</th><th>Poisoned</th><th class=\"n\">Even odds</th></tr></thead>\n\
                 <tbody>",
                escaped(victim)
            );
        }
        text += &row(race);
    }
    if !victim.is_empty() {
        text += "</tbody></table></div>\n";
    }
    text
}

fn row(race: &Race) -> String {
    let attacked = &race.raced.attacked;
    let badge = match &attacked.poisoned {
        Some(poisoned) => format!(
            "<span class=\"badge broken\">after {}{}</span>",
            time(poisoned.after),
            if poisoned.whole_zone { ", the whole zone" } else { "" }
        ),
        None => "<span class=\"badge strong\">no</span>".to_owned(),
    };
    let missed = race.counted.and_then(|counted| counted.near_misses);
    format!(
        "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
         <td class=\"n\">{}</td><td>{badge}</td><td class=\"n\">{}</td></tr>\n",
        escaped(&race.protection),
        race.attack,
        grouped(attacked.forged as f64),
        grouped(attacked.windows as f64),
        missed.map_or("–".to_owned(), |missed| grouped(missed as f64)),
        grouped(race.raced.icmp_errors() as f64),
        odds(race)
    )
}

fn agreement(races: &[&Race]) -> String {
    let mut text = String::from(
        "<h2>Measured against the formula</h2>\n<p class=\"prose\">Where the real time would be days, the \
         lab tells the attacker one half of the salt, so that the other half can be measured by itself. The \
         share of windows that were won should be K / (N P I): guesses by servers, ports and query IDs; \
         where the first near miss sends the query to TCP, one guess.</p>\n\
         <div class=\"wide\"><table>\n<thead><tr><th>Protection</th><th>Told</th><th class=\"n\">Ports</th>\
         <th class=\"n\">IDs</th><th class=\"n\">Guesses</th><th class=\"n\">Won</th>\
         <th class=\"n\">Expected</th><th class=\"n\">Deviations</th></tr></thead>\n<tbody>\n",
    );
    for race in races {
        let (attacked, predicted) = (&race.raced.attacked, &race.predicted);
        let told = match race.told {
            Some(dnsalt_lab::race::Told::Port) => "the port",
            Some(dnsalt_lab::race::Told::Id) => "the ID",
            None => "",
        };
        let _ = writeln!(
            text,
            "<tr><td>{}</td><td>{told}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{} of {}</td><td class=\"n\">{:.1}</td>\
             <td class=\"n\">{:+.1}</td></tr>",
            escaped(&race.protection),
            grouped(predicted.ports),
            grouped(predicted.ids),
            grouped(predicted.guesses.round()),
            attacked.hits,
            attacked.windows,
            attacked.windows as f64 * predicted.window,
            race.deviations()
        );
    }
    text + "</tbody></table></div>\n"
}

fn method(report: &Report) -> String {
    let mut text = String::from(
        "<h2>How it was measured</h2>\n<pre>client --- resolver --- gateway --- internet --- authority \
         (bank.test)\n                        (dnsalt)             \\-- attacker (attack.test)</pre>\n\
         <p class=\"prose\">Six hosts in network namespaces of one machine, real resolvers, this kernel's \
         network. The attacker sees nothing of what the resolver asks. It has the resolver asked for new \
         names of bank.test, as a picture in a web page would, and sends forged replies from the name \
         server's address until the right one comes (Kaminsky 2008).</p>\n<ul class=\"prose\">\n\
         <li><strong>known port</strong>: the port that its own name server saw, with the next query ID where \
         they count.</li>\n\
         <li><strong>spray</strong>: all ports and all IDs.</li>\n\
         <li><strong>port scan</strong>: first the open port is looked for by the errors of ICMP that do not \
         come (SAD DNS 2020); 400 ports, and hosts that do not limit errors to one address.</li>\n\
         <li><strong>steered NAT</strong>: packets of its own take all ports but one of 128, so that the NAT \
         can choose only among those; 2,048 ports.</li>\n</ul>\n\
         <p class=\"prose\">Near misses: forged replies to the right port, dropped by dnsalt. ICMP: errors \
         \"unreachable\" that resolver and gateway sent, which tell what is closed. Even odds: when the \
         attack, at the rate that it had here, has succeeded with a chance of one half.</p>\n",
    );
    for race in &report.races {
        for expectation in race.expectations.iter().filter(|expectation| !expectation.met) {
            let _ = writeln!(
                text,
                "<p class=\"loss\">Not as expected: {}: {}: {}</p>",
                escaped(&race.title),
                escaped(&expectation.what),
                escaped(&expectation.seen)
            );
        }
    }
    for skipped in &report.skipped {
        let _ = writeln!(
            text,
            "<p class=\"loss\">Not run: {}: {}</p>",
            escaped(&skipped.title),
            escaped(&skipped.why)
        );
    }
    let _ = writeln!(
        text,
        "<footer>dnsalt {}, Linux {}</footer>",
        report.version,
        escaped(&report.kernel)
    );
    text
}
