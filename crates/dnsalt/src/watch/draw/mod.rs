//! From a model to a picture.
//!
//! ```text
//!   ┌ 80 x 24 ──────────────────┐   ┌ from 100 x 36 on ───────────────────┐
//!   │ title             head.rs │   │ title                               │
//!   │ what is installed         │   │ what is installed                   │
//!   │ queries  ▁▂▃▅▇▅  forged   │   │ queries  ▁▂▃▅▇▅    forged           │
//!   │ what was dropped, room    │   │ what was dropped, room              │
//!   │ ─ 1 ─── 2 ─── 3 ───────── │   │ ─ 1 ─────────────────────── wire.rs │
//!   │                           │   │ ports             IDs               │
//!   │ one of the panes          │   │ ─ 2 ───────────── ─ 3 ─── tables.rs │
//!   │                           │   │ clients  servers  forged            │
//!   │ keys                      │   │ keys                                │
//!   └───────────────────────────┘   └─────────────────────────────────────┘
//! ```

mod head;
mod help;
mod tables;
mod theme;
mod wire;
mod words;

#[cfg(test)]
mod tests;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect, Size};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::model::Model;
use super::view::{Pane, View};

pub(crate) use theme::Theme;

/// Below that only the most important is shown.
const LEAST: Size = Size { width: 80, height: 24 };

/// Whether all panes fit.
pub(crate) fn is_roomy(size: Size) -> bool {
    (size.width >= 100 && size.height >= 36) || (size.width >= LEAST.width && size.height >= 52)
}

/// Draws all of it.
pub(crate) fn draw(frame: &mut Frame<'_>, model: &Model, view: &View, theme: Theme) {
    let area = frame.area();
    if area.width < LEAST.width || area.height < LEAST.height {
        head::small(frame, model, theme);
    } else {
        whole(frame, area, model, view, theme);
        if view.help {
            help::draw(frame);
        }
    }
    theme.finish(frame.buffer_mut());
}

fn whole(frame: &mut Frame<'_>, area: Rect, model: &Model, view: &View, theme: Theme) {
    let installed = head::installed(model, area.width, theme);
    let counted = head::counted(model, theme);
    let bars = match area.height {
        0..=35 => 1,
        36..=47 => 2,
        _ => 3,
    };
    let lines = |lines: &[Line<'_>]| u16::try_from(lines.len()).unwrap_or(0);
    let rows = [1, lines(&installed), bars, 1, lines(&counted)].map(Constraint::Length);
    let rows = [&rows[..], &[Constraint::Min(0), Constraint::Length(1)]].concat();
    let areas: [Rect; 7] = Layout::vertical(rows).areas(area);
    let [title, above, queries, forged, below, panes, keys] = areas;
    head::title(frame, title, model, view, theme);
    frame.render_widget(Paragraph::new(installed), above);
    let traffic = &model.traffic;
    head::bars(frame, queries, ("queries", &traffic.queries), model, theme.graph());
    head::bars(frame, forged, ("forged", &traffic.forged), model, theme.alarm());
    frame.render_widget(Paragraph::new(counted), below);
    match view.single() {
        Some(chosen) => single(frame, panes, chosen, model, theme),
        None => all(frame, panes, model, theme),
    }
    frame.render_widget(keys_line(view), keys);
}

/// One pane below the titles of all.
fn single(frame: &mut Frame<'_>, area: Rect, chosen: Pane, model: &Model, theme: Theme) {
    let inner = under_rule(frame, area, &Pane::ALL, Some(chosen));
    pane(frame, inner, chosen, model, theme);
}

/// Points above, tables below: side by side, or in a narrow terminal one above the other.
fn all(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let rows = |shares: [u16; 2]| Layout::vertical(shares.map(Constraint::Fill));
    let areas: [Rect; 3] = if area.width >= 100 {
        let [wire, below] = rows([3, 2]).areas(area);
        let columns = [Constraint::Fill(3), Constraint::Length(2), Constraint::Fill(2)];
        let [tops, _, forged] = Layout::horizontal(columns).areas(below);
        [wire, tops, forged]
    } else {
        let [wire, below] = rows([1, 1]).areas(area);
        let [tops, forged] = rows([3, 2]).areas(below);
        [wire, tops, forged]
    };
    for (part, area) in Pane::ALL.into_iter().zip(areas) {
        let inner = under_rule(frame, area, &[part], None);
        pane(frame, inner, part, model, theme);
    }
}

fn pane(frame: &mut Frame<'_>, area: Rect, pane: Pane, model: &Model, theme: Theme) {
    match pane {
        Pane::Wire => wire::draw(frame, area, model, theme),
        Pane::Tops => tables::tops(frame, area, model, theme),
        Pane::Forged => tables::forged(frame, area, model, theme),
    }
}

/// A rule with titles; what is below it.
fn under_rule(frame: &mut Frame<'_>, area: Rect, panes: &[Pane], chosen: Option<Pane>) -> Rect {
    let [rule, below] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let mut spans = vec![Span::styled("─", Theme::quiet())];
    for pane in panes {
        let dim = chosen.is_some_and(|chosen| chosen != *pane);
        let style = if dim { Theme::quiet() } else { Theme::strong() };
        let text = format!(" {} {} ", *pane as u8 + 1, pane.title());
        spans.extend([Span::styled(text, style), Span::styled("──", Theme::quiet())]);
    }
    let line = Line::from(spans);
    let rest = usize::from(rule.width).saturating_sub(line.width());
    let mut spans = line.spans;
    spans.push(Span::styled("─".repeat(rest), Theme::quiet()));
    frame.render_widget(Line::from(spans), rule);
    below
}

fn keys_line(view: &View) -> Line<'static> {
    let space = if view.is_paused() { "go on" } else { "pause" };
    let keys =
        [("q", "quit"), ("space", space), ("tab 1-3", "pane"), ("r", "reset peaks"), ("?", "help")];
    let spans = keys.into_iter().flat_map(|(key, what)| {
        [
            Span::styled(format!(" {key}"), Theme::strong()),
            Span::styled(format!(" {what}  "), Theme::quiet()),
        ]
    });
    Line::from(spans.collect::<Vec<_>>())
}
