//! The report as text.

use std::time::{Duration, UNIX_EPOCH};

use dnsalt_nat::conntrack::MAKE_ROOM;
use dnsalt_nat::strength::Strength;

use super::{Bits, Status};
use crate::clock::since_1970;
use crate::output::{Tone, paint};

impl Status {
    /// All of it, line by line.
    pub(crate) fn text(&self) -> String {
        let mut text = self.headline();
        for problem in &self.problems {
            text += &format!("  - {problem}\n");
        }
        let mut line = |name: &str, value: &str| text += &format!("{name:<10} {value}\n");
        if let (Some(engine), Some(backend)) = (self.engine, &self.backend) {
            let since =
                self.since.map(|since| format!(", since {}", ago(since))).unwrap_or_default();
            line("engine", &format!("{engine}, by {backend}{since}"));
        }
        if let Some(scope) = &self.scope {
            line("salted", scope);
        }
        if let Some(caught) = self.caught {
            let unit = match &self.strength {
                Some(bits) if !bits.strength.per_query => "flows",
                None if self.salt.is_none() => "flows",
                _ => "queries",
            };
            line("caught", &format!("{caught} {unit}"));
        }
        if let Some(unsolicited) = self.unsolicited {
            line("dropped", &format!("{unsolicited} replies that belonged to no query"));
        }
        if let Some(lacks) = &self.lacks {
            line("lacks", lacks);
        }
        if let Some(salt) = &self.salt {
            for (name, value) in salt.lines() {
                line(name, &value);
            }
        }
        if let Some(conntrack) = &self.conntrack {
            let usage = conntrack.usage;
            let of_all = match usage.max {
                0 => String::new(),
                max => format!("; the table holds {} of {max}", usage.entries),
            };
            line("conntrack", &format!("{} entries for DNS{of_all}", conntrack.dns_entries));
            if usage.is_nearly_full() {
                let what = paint(Tone::Bad, "nearly full");
                let mend = MAKE_ROOM.replacen(": ", ":\n           ", 1);
                line("", &format!("it is {what}; {mend}"));
            }
        }
        if let Some(bits) = &self.strength {
            for (name, value) in bits.lines() {
                line(name, &value);
            }
        }
        if let Some(until) = self.undone_at {
            let at = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(until));
            line("confirm", &format!("undone at {at} unless you say: dnsalt confirm"));
        }
        text
    }

    fn headline(&self) -> String {
        match (self.protected, self.engine) {
            (true, _) if self.settings.is_none() => format!(
                "{} Rules of dnsalt are loaded, but not by `up` since this boot; `dnsalt up` takes them over.\n",
                paint(Tone::Good, "Up.")
            ),
            (true, Some("salt")) => format!(
                "{} DNS queries leave with random ports and IDs.\n",
                paint(Tone::Good, "Up.")
            ),
            (true, _) => {
                format!("{} DNS queries leave from random ports.\n", paint(Tone::Good, "Up."))
            }
            (false, Some(_)) => format!("{}\n", paint(Tone::Bad, "Up, but not as it should be:")),
            (false, None) if self.problems.is_empty() => format!(
                "{} Queries leave from the ports that programs choose. Protect them: dnsalt up\n",
                paint(Tone::Bad, "Not up.")
            ),
            (false, None) => format!("{}\n", paint(Tone::Bad, "Not protected:")),
        }
    }
}

impl Bits {
    /// The strength with its formulae, line by line.
    fn lines(&self) -> Vec<(&'static str, String)> {
        let Strength { choices, lifetime, per_query } = self.strength;
        let fresh = self.strength.fresh_bits();
        let per = if per_query { "query" } else { "flow" };
        let mut lines = vec![
            ("a port", format!("is drawn for each {per}, and open until idle for {lifetime} s")),
            (
                "bits now",
                format!(
                    "{:.1} of {fresh:.1}: log2({choices} ports / {} open to one server at a time)",
                    self.now,
                    self.open.max(1)
                ),
            ),
        ];
        match self.cap {
            None => lines.push((
                "worst case",
                format!(
                    "{:.1}: one socket that asks at least every {lifetime} s stays on one port;\n\
                     {:11}whoever finds that port has only the query ID left to guess.\n\
                     {:11}Against that: dnsalt up --per-query",
                    self.worst, "", ""
                ),
            )),
            Some(cap) => {
                let at =
                    |rate: u64| format!("{:.1} at {rate}/s", self.strength.bits_at(rate as f64));
                let rates: Vec<_> = [1, 10, 100, 1000, 10_000]
                    .into_iter()
                    .filter(|rate| *rate < cap)
                    .map(at)
                    .collect();
                lines.push((
                    "worst case",
                    format!(
                        "log2(ports / (rate * {lifetime} s)), rate of one socket to one server:\n\
                         {:11}{};\n\
                         {:11}{:.1} at {cap}/s, where ports run out and queries get lost",
                        "",
                        rates.join(", "),
                        "",
                        self.worst
                    ),
                ));
            }
        }
        lines
    }
}

/// `2026-02-03T04:05:06Z (2h 5m ago)`.
fn ago(since: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(since);
    let stamp = humantime::format_rfc3339_seconds(time);
    let elapsed = since_1970().as_secs().saturating_sub(since);
    let rounded = match elapsed {
        0..=119 => elapsed,
        120..=7199 => elapsed / 60 * 60,
        _ => elapsed / 3600 * 3600,
    };
    format!("{stamp} ({} ago)", humantime::format_duration(Duration::from_secs(rounded)))
}
