//! The table, JSON, and a picture.

use dnsalt_lab::load::Shape;
use serde_json::json;

use super::contestants::Contestant;
use super::{Measured, Options, Row};
use crate::bench::machine;

/// What is to be reached: one contestant against another.
struct Goal {
    of: Contestant,
    shape: Shape,
    what: &'static str,
    against: Contestant,
    value: fn(&Measured) -> f64,
    at_least: Option<f64>,
    at_most: Option<f64>,
}

const GOALS: [Goal; 6] = [
    Goal {
        of: Contestant::Salt,
        shape: Shape::Fixed,
        what: "salt / plain, exchanges a second",
        against: Contestant::Plain,
        value: |one| one.rate,
        at_least: Some(0.97),
        at_most: None,
    },
    Goal {
        of: Contestant::Salt,
        shape: Shape::Fixed,
        what: "salt / plain, CPU of an exchange",
        against: Contestant::Plain,
        value: |one| one.cpu,
        at_least: None,
        at_most: Some(1.05),
    },
    Goal {
        of: Contestant::SaltAll,
        shape: Shape::Fixed,
        what: "everything on / plain, exchanges",
        against: Contestant::Plain,
        value: |one| one.rate,
        at_least: Some(0.93),
        at_most: None,
    },
    Goal {
        of: Contestant::Salt,
        shape: Shape::Fresh,
        what: "salt / nft masquerade, exchanges, fresh",
        against: Contestant::Masquerade,
        value: |one| one.rate,
        at_least: Some(1.5),
        at_most: None,
    },
    Goal {
        of: Contestant::Salt,
        shape: Shape::Fixed,
        what: "salt / dnsdist, exchanges",
        against: Contestant::Dnsdist,
        value: |one| one.rate,
        at_least: Some(5.0),
        at_most: None,
    },
    Goal {
        of: Contestant::Salt,
        shape: Shape::Fixed,
        what: "salt / Unbound, exchanges",
        against: Contestant::Unbound,
        value: |one| one.rate,
        at_least: Some(5.0),
        at_most: None,
    },
];

/// In the middle, with the least and the most.
fn median(row: &Row, value: impl Fn(&Measured) -> f64) -> [f64; 3] {
    let mut all: Vec<f64> = row.rounds.iter().map(value).collect();
    all.sort_unstable_by(f64::total_cmp);
    let middle = crate::bench::contest::median(&all).unwrap_or(f64::NAN);
    [middle, all.first().copied().unwrap_or(f64::NAN), all.last().copied().unwrap_or(f64::NAN)]
}

fn of(rows: &[Row], shape: Shape, contestant: Contestant) -> Option<&Row> {
    rows.iter()
        .find(|row| row.shape == shape && row.contestant == contestant && !row.rounds.is_empty())
}

/// For people, 80 columns wide.
pub(super) fn text(options: &Options, rows: &[Row]) -> String {
    let mut text = format!(
        "{}\n{} rounds of {} s. Again: cargo xtask bench path\n",
        machine(),
        options.rounds,
        options.seconds
    );
    for shape in Shape::ALL {
        let of_shape: Vec<_> = rows.iter().filter(|row| row.shape == shape).collect();
        if of_shape.is_empty() {
            continue;
        }
        text += &format!(
            "\n{:<14} {:>19} {:>6} {:>6}  {:>15} {:>6} {:>5}\n",
            shape.name(),
            "1000 exchanges/s",
            "plain",
            "CPU s",
            "at half: µs",
            "lost",
            "MB"
        );
        text += &format!(
            "{:<14} {:>19} {:>6} {:>6}  {:>15} {:>6} {:>5}\n",
            "", "median, least-most", "= 1", "/ mio.", "50, 99, 99.9 %", "%", ""
        );
        for row in of_shape {
            text += &line(row, of(rows, shape, Contestant::Plain));
        }
    }
    text + "\n" + &goals(rows)
}

fn line(row: &Row, plain: Option<&Row>) -> String {
    let name = row.contestant.name();
    if let Some(why) = &row.why {
        return format!("{name:<14} {why}\n");
    }
    let [rate, least, most] = median(row, |one| one.rate / 1000.0);
    let share = plain.map_or(f64::NAN, |plain| rate / median(plain, |one| one.rate / 1000.0)[0]);
    let speed = format!("{rate:.1}, {least:.0}-{most:.0}");
    let latency: Vec<_> =
        (0..3).map(|at| format!("{:.0}", median(row, |one| one.latency[at])[0])).collect();
    let memory = row
        .rounds
        .iter()
        .filter_map(|one| one.memory)
        .fold(None, |a: Option<f64>, b| Some(a.map_or(b, |a| a.max(b))));
    let memory = memory.map_or("-".to_owned(), |mb| format!("{mb:.0}"));
    format!(
        "{name:<14} {speed:>19} {share:>6.2} {:>6.2}  {:>15} {:>6.2} {memory:>5}\n",
        median(row, |one| one.cpu)[0],
        latency.join(" "),
        median(row, |one| one.lost * 100.0)[0],
    )
}

fn goals(rows: &[Row]) -> String {
    let mut text = String::new();
    for goal in GOALS {
        let both = [goal.of, goal.against].map(|one| of(rows, goal.shape, one));
        let [Some(one), Some(other)] = both else { continue };
        // Round by round, as both were measured within seconds.
        let pairs = one.rounds.iter().zip(&other.rounds);
        let mut ratios: Vec<f64> =
            pairs.map(|(one, other)| (goal.value)(one) / (goal.value)(other)).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let ratio = crate::bench::contest::median(&ratios).unwrap_or(f64::NAN);
        let good = goal.at_least.is_none_or(|least| ratio >= least)
            && goal.at_most.is_none_or(|most| ratio <= most);
        let wanted = match (goal.at_least, goal.at_most) {
            (Some(least), _) => format!(">= {least}"),
            (_, most) => format!("<= {}", most.unwrap_or(f64::NAN)),
        };
        let word = if good { "reached" } else { "missed" };
        text += &format!("{:<40} {ratio:>6.2}   wanted {wanted:<8} {word}\n", goal.what);
    }
    text
}

/// For machines: rates in exchanges a second, CPU in seconds for a million, latencies in microseconds.
pub(super) fn json(options: &Options, rows: &[Row]) -> anyhow::Result<String> {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            let rounds: Vec<_> = row
                .rounds
                .iter()
                .map(|one| {
                    json!({
                        "exchanges_per_second": one.rate,
                        "cpu_seconds_per_million": one.cpu,
                        "lost_at_half": one.lost,
                        "latency_us_at_half": { "p50": one.latency[0], "p99": one.latency[1], "p99_9": one.latency[2] },
                        "memory_mb": one.memory,
                    })
                })
                .collect();
            json!({
                "shape": row.shape.name(),
                "contestant": row.contestant.name(),
                "about": row.contestant.about(),
                "why_not": row.why,
                "rounds": rounds,
            })
        })
        .collect();
    let all = json!({
        "machine": machine(),
        "seconds": options.seconds,
        "rows": rows,
    });
    Ok(serde_json::to_string_pretty(&all)? + "\n")
}

/// Bars of exchanges a second, shape by shape.
pub(super) fn svg(rows: &[Row]) -> String {
    const ROW: f64 = 22.0;
    const LEFT: f64 = 130.0;
    const WIDTH: f64 = 460.0;
    let most = rows.iter().map(|row| median(row, |one| one.rate)[0]).fold(1.0, f64::max);
    let mut body = String::new();
    let mut y = 0.0;
    for shape in Shape::ALL {
        let of_shape = rows.iter().filter(|row| row.shape == shape && !row.rounds.is_empty());
        for (index, row) in of_shape.enumerate() {
            if index == 0 {
                y += ROW * 1.3;
                body += &format!(
                    "<text x=\"0\" y=\"{:.0}\" font-weight=\"bold\">{}: exchanges a second</text>\n",
                    y - 6.0,
                    shape.name()
                );
            }
            let rate = median(row, |one| one.rate)[0];
            let width = (rate / most * WIDTH).max(1.0);
            body += &format!(
                "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text><rect x=\"{LEFT}\" y=\"{:.0}\" width=\"{width:.1}\" height=\"15\"/><text x=\"{:.0}\" y=\"{:.0}\">{:.0},000</text>\n",
                LEFT - 8.0,
                y + 12.0,
                row.contestant.name(),
                y,
                LEFT + width + 6.0,
                y + 12.0,
                rate / 1000.0
            );
            y += ROW;
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 680 {:.0}\" font-family=\"sans-serif\" font-size=\"13\">\n<style>text{{fill:#222}}rect{{fill:#2f6f8f}}@media(prefers-color-scheme:dark){{text{{fill:#ddd}}rect{{fill:#7cc0df}}}}</style>\n{body}</svg>\n",
        y + 8.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(contestant: Contestant, rates: &[f64]) -> Row {
        let rounds =
            rates.iter().map(|rate| Measured { rate: *rate, ..Measured::default() }).collect();
        Row { shape: Shape::Fixed, contestant, rounds, why: None }
    }

    #[test]
    fn goals_compare_rounds_and_take_the_median() {
        let rows = [
            row(Contestant::Plain, &[100.0, 200.0, 100.0]),
            row(Contestant::Salt, &[99.0, 100.0, 98.0]),
        ];
        let text = goals(&rows);
        assert!(text.contains("0.98   wanted >= 0.97") && text.contains("reached"), "{text}");
        let missed = [rows[0].shape, Shape::Fresh].map(|shape| of(&rows, shape, Contestant::Salt));
        assert!(missed[0].is_some() && missed[1].is_none());
    }

    #[test]
    fn what_was_not_measured_says_why() {
        let mut row = row(Contestant::Dnsdist, &[]);
        row.why = Some("dnsdist is missing".to_owned());
        assert_eq!(line(&row, None), "dnsdist        dnsdist is missing\n");
        assert!(!svg(&[row]).contains("NaN"));
    }
}
