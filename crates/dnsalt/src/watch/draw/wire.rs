//! Source ports and query IDs as they leave: each query is a point, the newest on the right.
//!
//! What is random looks like rain. A fixed port is a line, a counter a stair.

use std::collections::HashSet;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Color;
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::canvas::{Canvas, Points};

use super::theme::Theme;
use super::words::number;
use crate::watch::model::Model;
use crate::watch::traffic::Point;

/// Queries to a column: enough to see a pattern, few enough to see points.
const DENSITY: usize = 6;

/// Queries from which on it is told that few ports, or IDs, are different.
const FEW: usize = 16;

/// Columns for the numbers beside a plot.
const AXIS: u16 = 9;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let halves = [Constraint::Fill(1), Constraint::Length(2), Constraint::Fill(1)];
    let [left, _, right] = Layout::horizontal(halves).areas(area);
    plot(frame, left, ("Source ports", |point| point.port), model, theme);
    plot(frame, right, ("Query IDs", |point| point.id), model, theme);
}

fn plot(
    frame: &mut Frame<'_>,
    area: Rect,
    (name, value): (&str, fn(Point) -> u16),
    model: &Model,
    theme: Theme,
) {
    let [heading, below] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(1)]).areas(area);
    let [axis, inner] =
        Layout::horizontal([Constraint::Length(AXIS), Constraint::Min(1)]).areas(below);
    let capacity = usize::from(inner.width) * DENSITY;
    let values: Vec<u16> = model.traffic.last(capacity).map(value).collect();
    let different = values.iter().collect::<HashSet<_>>().len();
    let counts = match values.len() {
        0 => "none seen yet".to_owned(),
        1 => "the last one".to_owned(),
        all => format!("{} of {} different", number(different as u64), number(all as u64)),
    };
    // One port, or a few: whoever guesses has little to guess.
    let few = values.len() >= FEW && different * 4 < values.len();
    let style = if few { theme.bad() } else { Theme::quiet() };
    let heading_text =
        vec![Span::styled(format!(" {name}  "), Theme::strong()), Span::styled(counts, style)];
    frame.render_widget(Line::from(heading_text), heading);
    scale(frame, axis);
    // The newest stands on the right, however few there are.
    let first = capacity - values.len();
    let points: Vec<(f64, f64)> =
        values.iter().zip(first..).map(|(value, x)| (x as f64, f64::from(*value))).collect();
    let colour = theme.graph().fg.unwrap_or(Color::Reset);
    let canvas = Canvas::default()
        .marker(Marker::Braille)
        .x_bounds([0.0, capacity.saturating_sub(1) as f64])
        .y_bounds([0.0, f64::from(u16::MAX)])
        .paint(|context| context.draw(&Points { coords: &points, color: colour }));
    frame.render_widget(canvas, inner);
}

/// 65,535 at the top, 0 at the bottom.
fn scale(frame: &mut Frame<'_>, area: Rect) {
    let middle = area.height.saturating_sub(1) / 2;
    for row in 0..area.height {
        let value = match row {
            0 => "65,535",
            _ if row + 1 == area.height => "0",
            _ if row == middle => "32,768",
            _ => "",
        };
        let tick = if value.is_empty() { '│' } else { '┤' };
        let line = Line::styled(format!("{value:>7} {tick}"), Theme::quiet());
        frame.render_widget(line, Rect { y: area.y + row, height: 1, ..area });
    }
}
