//! Scatter plots and bars as SVG: one path for all points, so that thousands stay small.

use std::fmt::Write as _;

use dnsalt_audit::state::Sample;

/// Points of a plot.
const MOST: usize = 1500;
const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 200.0;
/// Room for the numbers at the axes.
const LEFT: f64 = 44.0;
const BOTTOM: f64 = 20.0;

/// Values over the time of the capture.
pub(super) fn over_time(title: &str, samples: &[Sample], value: fn(&Sample) -> u16) -> String {
    let samples = &samples[..samples.len().min(MOST)];
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return String::new() };
    let span = last.time.saturating_sub(first.time).max(1) as f64;
    let points =
        samples.iter().map(|s| (s.time.saturating_sub(first.time) as f64 / span, share(value(s))));
    let end = dnsalt_audit::time(span / 1e9);
    scatter(title, "0 s", &end, points)
}

/// Every value against the next: structure shows as lines and grids.
pub(super) fn against_next(title: &str, samples: &[Sample], value: fn(&Sample) -> u16) -> String {
    let samples = &samples[..samples.len().min(MOST)];
    let points = samples.windows(2).map(|two| (share(value(&two[0])), share(value(&two[1]))));
    scatter(title, "0", "65535", points)
}

fn share(value: u16) -> f64 {
    f64::from(value) / 65_535.0
}

fn scatter(title: &str, from: &str, to: &str, points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut path = String::new();
    for (x, y) in points {
        let _ = write!(path, "M{:.1} {:.1}h0", LEFT + x * WIDTH, 8.0 + (1.0 - y) * HEIGHT);
    }
    let (right, low) = (LEFT + WIDTH, 8.0 + HEIGHT);
    let mut text = format!(
        "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {:.0} {:.0}\" role=\"img\" aria-label=\"{title}\">",
        right + 12.0,
        low + BOTTOM
    );
    for quarter in 0..=4 {
        let y = 8.0 + HEIGHT * f64::from(quarter) / 4.0;
        let _ = write!(text, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>");
    }
    for (value, y) in [(65_535, 8.0), (32_768, 8.0 + HEIGHT / 2.0), (0, low)] {
        let _ = write!(
            text,
            "<text x=\"{}\" y=\"{:.1}\" class=\"y\">{value}</text>",
            LEFT - 5.0,
            y + 3.5
        );
    }
    let below = low + 15.0;
    let _ = writeln!(
        text,
        "<text x=\"{LEFT}\" y=\"{below}\">{from}</text><text x=\"{right}\" y=\"{below}\" class=\"y\">{to}</text>\
         <path class=\"points\" d=\"{path}\"/></svg></figure>"
    );
    text
}

/// What an attacker has to guess, in bits, as bars.
pub(super) fn bits(ports: f64, ids: f64, case: f64, cookies: f64, identical: f64) -> String {
    let rows = [
        ("port", ports, 16.0),
        ("query ID", ids, 16.0),
        ("letter case", case, 32.0),
        ("cookies", cookies, 64.0),
        ("identical queries", -identical, 16.0),
    ];
    let mut text =
        String::from("<figure><figcaption>Bits to guess</figcaption><div class=\"bars\">");
    for (name, bits, full) in rows {
        let shown = if bits == 0.0 { 0.0 } else { bits };
        if shown == 0.0 && !matches!(name, "port" | "query ID") {
            continue;
        }
        let width = (shown.abs() / full * 100.0).clamp(0.0, 100.0);
        let class = if shown < 0.0 { "bar less" } else { "bar" };
        let _ = write!(
            text,
            "<span>{name}</span><div class=\"track\"><div class=\"{class}\" style=\"width:{width:.1}%\"></div></div><span class=\"n\">{shown:.1}</span>"
        );
    }
    text + "</div></figure>\n"
}
