//! The chance that a cache is poisoned, over time.

use std::fmt::Write as _;

use dnsalt_audit::time;

use crate::page::escaped;
use crate::race::Race;

/// From a tenth of a second to a thousand years.
const FIRST: f64 = 0.1;
const LAST: f64 = 3.2e10;
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 260.0;
/// Room for the numbers at the axes.
const LEFT: f64 = 46.0;
const TOP: f64 = 10.0;
/// Colours that there are.
const COLOURS: usize = 8;

/// Curves that one can still tell apart.
pub(super) const MOST: usize = COLOURS;

/// One curve for each race: whole as far as it was run, dotted where it is foretold. A point where a cache
/// was poisoned.
pub(super) fn render(races: &[&Race]) -> String {
    let (right, low) = (LEFT + WIDTH, TOP + HEIGHT);
    let title = "The chance that the cache is poisoned, over the time that is attacked";
    let mut text = format!(
        "<figure class=\"curves\"><figcaption>{title}</figcaption>\n<svg viewBox=\"0 0 {:.0} {:.0}\" \
         role=\"img\" aria-label=\"{title}\">\n",
        right + 14.0,
        low + 22.0
    );
    for (seconds, name) in [
        (1.0, "1 s"),
        (60.0, "1 min"),
        (3600.0, "1 h"),
        (86_400.0, "1 day"),
        (30.0 * 86_400.0, "1 month"),
        (31_557_600.0, "1 year"),
        (3.15576e9, "100 years"),
    ] {
        let x = x_of(seconds);
        let _ = writeln!(
            text,
            "<path class=\"grid\" d=\"M{x:.1} {TOP}V{low}\"/><text x=\"{x:.1}\" y=\"{:.1}\" \
             text-anchor=\"middle\">{name}</text>",
            low + 15.0
        );
    }
    for (chance, name) in [(0.0, "0"), (0.5, "50 %"), (1.0, "100 %")] {
        let y = y_of(chance);
        let _ = writeln!(
            text,
            "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/><text x=\"{:.1}\" y=\"{:.1}\" \
             class=\"y\">{name}</text>",
            LEFT - 5.0,
            y + 3.5
        );
    }
    for (i, race) in races.iter().enumerate() {
        text += &curve(race, i % COLOURS);
    }
    text += "</svg>\n<ul class=\"legend\">\n";
    for (i, race) in races.iter().enumerate() {
        let _ = writeln!(
            text,
            "<li><span class=\"key c{}\"></span>{}, {}</li>",
            i % COLOURS,
            escaped(&race.protection),
            race.attack
        );
    }
    text + "</ul></figure>\n"
}

fn curve(race: &Race, colour: usize) -> String {
    let attacked = &race.raced.attacked;
    let window = attacked.seconds / attacked.windows.max(1) as f64;
    let chance = |seconds: f64| {
        // Windows do not come in parts; a curve may.
        -((seconds / window) * (-race.predicted.window.min(1.0 - 1e-12)).ln_1p()).exp_m1()
    };
    let path = |from: f64, to: f64| {
        let mut path = String::new();
        let steps = 160;
        for step in 0..=steps {
            let share = f64::from(step) / f64::from(steps);
            let seconds = from * (to / from).powf(share);
            let command = if step == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.1} {:.1}", x_of(seconds), y_of(chance(seconds)));
        }
        path
    };
    let ran = attacked.seconds.clamp(FIRST * 1.01, LAST);
    let mut text = format!(
        "<path class=\"curve c{colour}\" d=\"{}\"/><path class=\"curve beyond c{colour}\" d=\"{}\"/>\n",
        path(FIRST, ran),
        path(ran, LAST)
    );
    if let Some(poisoned) = &attacked.poisoned {
        let at = poisoned.after.max(FIRST);
        let _ = writeln!(
            text,
            "<circle class=\"hit c{colour}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"5\"><title>poisoned after {}\
             </title></circle>",
            x_of(at),
            y_of(chance(at)),
            time(poisoned.after)
        );
    }
    text
}

fn x_of(seconds: f64) -> f64 {
    LEFT + WIDTH * (seconds / FIRST).ln() / (LAST / FIRST).ln()
}

fn y_of(chance: f64) -> f64 {
    TOP + HEIGHT * (1.0 - chance)
}
