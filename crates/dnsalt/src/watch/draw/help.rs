//! What the keys do, and where the numbers come from.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph};

use super::theme::Theme;

const TEXT: &[&str] = &[
    "Tab        the next pane",
    "1 2 3      one pane; the same again: all of them, where they fit",
    "space      hold the picture; what happens goes on being counted",
    "r          begin lists and peaks anew",
    "q Esc ^C   quit",
    "",
    "bits       what a forged reply has to guess, as `dnsalt status` has it",
    "queries    seen leaving, on the wire: behind NAT, and behind the salt",
    "forged     seen coming in, and fitting no query that was seen leaving,",
    "           or not quite: those near misses came to the right port",
    "dropped    what the engine counted since it was installed",
    "waiting    queries without a reply yet, of the places the salt engine has",
    "conntrack  entries, of the most there can be",
    "Bars: 3 s to a column, the busiest second of them. Points: a query each.",
];

pub(super) fn draw(frame: &mut Frame<'_>) {
    let lines: Vec<Line<'_>> = TEXT.iter().map(|line| Line::raw(*line)).collect();
    let height = u16::try_from(lines.len()).unwrap_or(0) + 2;
    let area: Rect = frame.area().centered(Constraint::Length(76), Constraint::Length(height));
    let block = Block::bordered().border_style(Theme::quiet()).title(" Keys and numbers ");
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}
