//! Who asks, who is asked, and in whose name replies are forged.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, Paragraph, Row, Table};

use super::theme::Theme;
use super::words::{ago, clock, number, rate, shortened};
use crate::watch::model::Model;
use crate::watch::top::Top;
use crate::watch::traffic::{Misses, shown};

/// From this width on a bar shows each one's share.
const WIDE: u16 = 48;
const BAR: u16 = 10;

/// Clients on the left, servers on the right.
pub(super) fn tops(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let halves = [Constraint::Fill(1), Constraint::Length(2), Constraint::Fill(1)];
    let [left, _, right] = Layout::horizontal(halves).areas(area);
    top(frame, left, ("Client", &model.traffic.clients), theme);
    top(frame, right, ("Server", &model.traffic.servers), theme);
}

fn top(frame: &mut Frame<'_>, area: Rect, (name, top): (&str, &Top<()>), theme: Theme) {
    let bar = if area.width >= WIDE { BAR } else { 0 };
    let widths = [10, 7, bar];
    let columns = if bar > 0 { 3 } else { 2 };
    let address = usize::from(area.width.saturating_sub(widths.iter().sum::<u16>() + columns + 1));
    let entries = top.most(room(area, top));
    let most = entries.first().map_or(1, |entry| entry.certain()).max(1);
    let rows = entries.iter().map(|entry| {
        let share = u64::from(bar) * 8 * entry.certain() / most;
        Row::new([
            Cell::new(format!(" {}", shortened(&shown(entry.address), address))),
            right(number(entry.certain()), Style::new()),
            right(rate(entry.rate), Style::new()),
            Cell::new(horizontal(share)).style(theme.graph()),
        ])
    });
    let widths = &widths[..usize::from(columns)];
    table(frame, area, (&[name, "Queries", "/s", ""], widths), rows.collect());
    if entries.is_empty() {
        say(frame, area, "none seen yet");
    }
    footer(frame, area, top);
}

/// Says of a list that is full what its numbers are.
fn footer<V: Default>(frame: &mut Frame<'_>, area: Rect, top: &Top<V>) {
    if top.is_full() {
        let last = Rect { y: area.bottom().saturating_sub(1), height: 1, ..area };
        let text = format!(" more than {}: each has what is certain", number(top.len() as u64));
        frame.render_widget(Line::styled(text, Theme::quiet()), last);
    }
}

/// Rows that a list has room for, below its heading.
fn room<V: Default>(area: Rect, top: &Top<V>) -> usize {
    usize::from(area.height.saturating_sub(1 + u16::from(top.is_full())))
}

/// In whose name replies are forged.
pub(super) fn forged(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let wide = area.width >= 70;
    let (names, widths): (&[&str], &[u16]) = if wide {
        (&["Server", "Wrong ID", "question", "server", "No query", "Last"], &[10, 10, 9, 11, 12])
    } else {
        (&["Server", "Near", "No query", "Last"], &[9, 10, 11])
    };
    let spent = widths.iter().map(|width| width + 1).sum::<u16>() + 1;
    let address = usize::from(area.width.saturating_sub(spent));
    let attacked = &model.traffic.attacked;
    let entries = attacked.most(room(area, attacked));
    let rows = entries.iter().map(|entry| {
        let Misses { wrong_id, wrong_question, wrong_server, no_query, last } = entry.detail;
        let near =
            |count: u64| right(number(count), if count > 0 { theme.bad() } else { Style::new() });
        let mut cells = vec![Cell::new(format!(" {}", shortened(&shown(entry.address), address)))];
        if wide {
            cells.extend([near(wrong_id), near(wrong_question), near(wrong_server)]);
        } else {
            cells.push(near(entry.detail.near()));
        }
        cells.push(right(number(no_query), Style::new()));
        cells.push(right(ago(model.now, last), Theme::quiet()));
        Row::new(cells)
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        say(frame, area, &format!("none since {} UTC", clock(model.since)));
        return;
    }
    table(frame, area, (names, widths), rows);
    footer(frame, area, attacked);
}

/// A table whose first column takes what the others leave.
fn table(
    frame: &mut Frame<'_>,
    area: Rect,
    (names, widths): (&[&str], &[u16]),
    rows: Vec<Row<'_>>,
) {
    let head = names.iter().enumerate().map(|(i, name)| match i {
        0 => Cell::new(format!(" {name}")),
        _ => right((*name).to_owned(), Style::new()),
    });
    let others = widths.iter().map(|width| Constraint::Length(*width));
    let widths = [Constraint::Fill(1)].into_iter().chain(others);
    let table = Table::new(rows, widths).header(Row::new(head).style(Theme::quiet()));
    frame.render_widget(table.column_spacing(1), area);
}

fn right(text: String, style: Style) -> Cell<'static> {
    Cell::new(Text::from(text).alignment(Alignment::Right)).style(style)
}

fn say(frame: &mut Frame<'_>, area: Rect, text: &str) {
    let below = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    frame.render_widget(Paragraph::new(format!(" {text}")).style(Theme::quiet()), below);
}

/// A bar of so many eighths of a column.
fn horizontal(eighths: u64) -> String {
    let parts = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let (whole, rest) = (eighths / 8, eighths % 8);
    let whole = usize::try_from(whole).unwrap_or(0);
    "█".repeat(whole) + parts[usize::try_from(rest).unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_eighths() {
        assert_eq!([0, 3, 8, 21].map(horizontal), ["", "▍", "█", "██▋"]);
    }
}
