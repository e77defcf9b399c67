//! The upper part: what is installed, and how it does, a line for each.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Sparkline};

use super::theme::Theme;
use super::words::{ago, clock, number, rate, span};
use crate::watch::history::{History, SECOND};
use crate::watch::model::Model;
use crate::watch::sample::{Protection, Room};
use crate::watch::view::View;

/// Columns before the text of a row, and one behind it.
const INDENT: u16 = 13;

/// Seconds that each column of a line of bars stands for.
const COLUMN: u64 = 3;

/// The first line: what it comes to, where, when.
pub(super) fn title(frame: &mut Frame<'_>, area: Rect, model: &Model, view: &View, theme: Theme) {
    let [left, right] =
        Layout::horizontal([Constraint::Min(0), Constraint::Length(44)]).areas(area);
    let (state, style) = state(model, theme);
    let mut spans =
        vec![Span::styled(" dnsalt", Theme::strong()), Span::raw("  "), Span::styled(state, style)];
    if view.is_paused() {
        spans.extend([Span::raw("   "), Span::styled("paused", theme.warning())]);
    }
    frame.render_widget(Line::from(spans), left);
    let place = super::words::shortened(&model.host, 20);
    let text = format!("{place}   {} UTC ", clock(model.now));
    frame.render_widget(Line::styled(text, Theme::quiet()).right_aligned(), right);
}

/// What it comes to, in a word.
fn state(model: &Model, theme: Theme) -> (&'static str, Style) {
    match &model.protection {
        _ if model.trouble.is_some() => ("▲ Not known", theme.warning()),
        None => ("Looking …", Theme::quiet()),
        Some(protection) => match (protection.engine, protection.whole) {
            (Some(_), true) => ("● Protected", theme.good()),
            (Some(_), false) => ("▲ Not as it should be", theme.bad()),
            (None, _) => ("○ Not protected", theme.bad()),
        },
    }
}

/// The lines above the bars, in a terminal of this width. What is wrong comes first.
pub(super) fn installed(model: &Model, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let row = |name, text: &str, style| wrapped(name, text, style, width);
    let plain = Style::new();
    let mut lines = Vec::new();
    let wrong = model.interfaces.values().flatten();
    for text in model.trouble.iter().chain(wrong) {
        lines.extend(row("trouble", text, theme.warning()));
    }
    let names: Vec<_> = model.interfaces.keys().cloned().collect();
    let on = super::words::shortened(&names.join(", "), usize::from(width.saturating_sub(INDENT)));
    let Some(protection) = &model.protection else {
        lines.extend(row("watched", &on, plain));
        return lines;
    };
    for problem in &protection.problems {
        lines.extend(row("problem", problem, theme.bad()));
    }
    let engine = match (protection.engine, &protection.backend) {
        (Some(engine), Some(backend)) => engine_line(engine, backend, protection, model.now),
        _ => "none; protect what leaves here: dnsalt up".to_owned(),
    };
    lines.extend(row("engine", &engine, plain));
    if let Some(lacks) = &protection.lacks {
        lines.extend(row("lacks", lacks, theme.warning()));
    }
    if let Some(scope) = &protection.scope {
        lines.extend(row("salted", scope, plain));
    }
    lines.extend(row("watched", &on, plain));
    lines.extend(row("bits", &bits_line(protection, model.least_bits), plain));
    lines
}

/// A row whose text goes on below its beginning where it is too long, three times at most.
fn wrapped(name: &str, text: &str, style: Style, width: u16) -> Vec<Line<'static>> {
    let room = usize::from(width.saturating_sub(INDENT)).max(10);
    let mut parts = vec![String::new()];
    for word in text.split_whitespace() {
        let last = parts.last_mut().expect("there is one from the beginning");
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > room {
            parts.push(word.to_owned());
        } else {
            let space = if last.is_empty() { "" } else { " " };
            *last += &format!("{space}{word}");
        }
    }
    let names = [name, "", ""];
    let line = |(part, name)| row(name, vec![Span::styled(part, style)]);
    parts.into_iter().zip(names).map(line).collect()
}

fn engine_line(engine: &str, backend: &str, protection: &Protection, now: u64) -> String {
    let mut text = format!("{engine}, by {backend}");
    let now = now / SECOND;
    match protection.since {
        Some(since) => text += &format!(", for {}", span(now.saturating_sub(since))),
        None => text += "; not by `up` since this boot: `dnsalt up` takes it over",
    }
    if let Some(until) = protection.undone_at {
        text += &format!("; undone in {} unless: dnsalt confirm", span(until.saturating_sub(now)));
    }
    text
}

fn bits_line(protection: &Protection, least: Option<f64>) -> String {
    let Some(bits) = &protection.bits else {
        let why = match protection.engine {
            Some(_) => "not known: they go by the policy, and `dnsalt up` has not told it",
            None => "as many as the programs that ask give: dnsalt check --iface",
        };
        return why.to_owned();
    };
    let mut text = format!("{:.1} now", bits.now);
    if let Some(least) = least.filter(|least| bits.now - least > 0.05) {
        text += &format!(", {least:.1} lowest");
    }
    text + &format!(", {:.1} at worst; {}", bits.worst, bits.note)
}

/// How much there is now, how it was, and the most there was.
pub(super) fn bars(
    frame: &mut Frame<'_>,
    area: Rect,
    (name, history): (&str, &History),
    model: &Model,
    style: Style,
) {
    let columns = [Constraint::Length(26), Constraint::Min(0), Constraint::Length(18)];
    let [left, middle, right] = Layout::horizontal(columns).areas(area);
    let now = rate(history.rate(model.now, model.interval));
    let text = vec![label(name), Span::styled(format!("{now:>9}"), Theme::strong()), " /s".into()];
    frame.render_widget(Line::from(text), left);
    let peak = number(history.peak());
    let text = vec![Span::styled("peak", Theme::quiet()), Span::raw(format!("{peak:>10} "))];
    frame.render_widget(Line::from(text).right_aligned(), right);
    let values = history.columns(model.now, usize::from(middle.width), COLUMN);
    let (steps, most) = (u64::from(middle.height) * 8, values.iter().copied().max().unwrap_or(0));
    // Whatever is not nothing is seen.
    let scaled = values.iter().map(|value| (value * steps).div_ceil(most.max(1)));
    let bars = Sparkline::default().data(scaled.collect::<Vec<_>>()).max(steps).style(style);
    frame.render_widget(bars, middle);
}

/// The lines below the bars.
pub(super) fn counted(model: &Model, theme: Theme) -> Vec<Line<'static>> {
    let lines = [Some(dropped_line(model)), lockdown_line(model, theme)];
    lines.into_iter().flatten().chain([room_line(model, theme)]).collect()
}

fn dropped_line(model: &Model) -> Line<'static> {
    let protection = model.protection.as_ref();
    let dropped = protection.map(|p| p.dropped.as_slice()).unwrap_or_default();
    let all: Vec<_> = dropped.iter().map(|(n, what)| format!("{} {what}", number(*n))).collect();
    let text = match protection {
        _ if !all.is_empty() => all.join(", "),
        Some(Protection { engine: None, .. }) => "nothing: no engine is there to do it".to_owned(),
        _ => "not known".to_owned(),
    };
    row("dropped", vec![text.into()])
}

fn lockdown_line(model: &Model, theme: Theme) -> Option<Line<'static>> {
    let count = model.protection.as_ref()?.lockdowns.filter(|count| *count > 0)?;
    let last = model.last_lockdown.map(|last| format!(", the last {}", ago(model.now, last)));
    let text = format!("{} began{}", number(count), last.unwrap_or_default());
    Some(row("lockdowns", vec![Span::styled(text, theme.bad())]))
}

fn room_line(model: &Model, theme: Theme) -> Line<'static> {
    let waiting = model.traffic.outstanding as u64;
    let Some((taken, all)) = model.room() else {
        return row(
            "waiting",
            vec![format!("{} queries for their replies", number(waiting)).into()],
        );
    };
    let share = |part: u64| 100.0 * part as f64 / all as f64;
    let (name, of) = match model.protection.as_ref().and_then(|protection| protection.room) {
        Some(Room::Conntrack { .. }) => ("conntrack", "entries"),
        _ => ("waiting", "slots"),
    };
    let text = format!("{} of {} {of}", number(taken), number(all));
    let style = if share(taken) >= 80.0 { theme.bad() } else { Style::new() };
    let most = format!("; {} at most, {:.1} %", number(model.most_taken), share(model.most_taken));
    let mut spans = vec![Span::styled(text, style), Span::raw(most)];
    if let Some(unsalted) = model.protection.as_ref().map(|p| p.unsalted).filter(|n| *n > 0) {
        spans.push(Span::styled(format!("; {} left unsalted", number(unsalted)), theme.warning()));
    }
    if model.missed > 0 {
        let text = format!("; {} packets not seen", number(model.missed));
        spans.push(Span::styled(text, theme.warning()));
    }
    row(name, spans)
}

fn label(name: &str) -> Span<'static> {
    Span::styled(format!(" {name:<10} "), Theme::quiet())
}

fn row(name: &str, mut spans: Vec<Span<'static>>) -> Line<'static> {
    spans.insert(0, label(name));
    Line::from(spans)
}

/// What fits a terminal that is too small for all.
pub(super) fn small(frame: &mut Frame<'_>, model: &Model, theme: Theme) {
    let area = frame.area();
    let (state, style) = state(model, theme);
    let title =
        vec![Span::styled(" dnsalt", Theme::strong()), "  ".into(), Span::styled(state, style)];
    let now = |history: &History| rate(history.rate(model.now, model.interval));
    let mut lines = vec![Line::from(title)];
    lines.push(row("queries", vec![format!("{} /s", now(&model.traffic.queries)).into()]));
    lines.push(row("forged", vec![format!("{} /s", now(&model.traffic.forged)).into()]));
    lines.extend(installed(model, area.width, theme));
    let height = usize::from(area.height.saturating_sub(2));
    lines.truncate(height.max(1));
    lines.push(Line::styled(
        format!(" {}x{} is small: all is shown from 80x24 on", area.width, area.height),
        theme.warning(),
    ));
    lines.push(Line::styled(" q quit", Theme::quiet()));
    frame.render_widget(Paragraph::new(lines), area);
}
