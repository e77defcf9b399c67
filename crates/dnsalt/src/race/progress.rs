//! What is going on, while it goes on: one line for each race, on a terminal.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use dnsalt_audit::{grouped, time};
use dnsalt_lab::race::{Attacked, Event, Scanned, Scenario};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::run::Meanwhile;
use super::{Counted, Race};

/// The lines.
pub(crate) struct Progress {
    all: MultiProgress,
}

/// One of them.
pub(crate) struct Line {
    bar: ProgressBar,
    /// How long the attack lasts at most.
    lasts: Duration,
    begun: Cell<Option<std::time::Instant>>,
    said: RefCell<String>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Progress { all: MultiProgress::new() }
    }

    /// The line of the next race.
    pub(crate) fn line(&self, scenario: &Scenario) -> Line {
        let lasts = scenario.attack.lasts;
        let bar = self.all.add(ProgressBar::new(lasts.as_millis().try_into().unwrap_or(u64::MAX)));
        let style = ProgressStyle::with_template("{prefix:<15} {bar:12} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(scenario.protection.to_string());
        Line { bar, lasts, begun: Cell::new(None), said: RefCell::default() }
    }
}

impl Line {
    /// Shows what is told.
    pub(crate) fn show(&self, now: &Meanwhile<'_>) {
        match now {
            Meanwhile::Building => self.say("building the network, starting the resolver"),
            Meanwhile::Protecting => self.say("installing what protects it"),
            Meanwhile::Attack(event, counted) => {
                let begun = self.begun.get().unwrap_or_else(std::time::Instant::now);
                self.begun.set(Some(begun));
                let elapsed = begun.elapsed().min(self.lasts).as_millis();
                self.bar.set_position(elapsed.try_into().unwrap_or(u64::MAX));
                match event {
                    Event::Progress(attacked) => self.say(&attacking(attacked, *counted)),
                    Event::Scanning(scanned) => self.say(&scanning(scanned)),
                    _ => {}
                }
            }
        }
    }

    fn say(&self, text: &str) {
        if *self.said.borrow() != text {
            self.bar.set_message(text.to_owned());
            text.clone_into(&mut self.said.borrow_mut());
        }
    }

    /// Leaves the line as it ends.
    pub(crate) fn end(&self, race: &Race) {
        let attacked = &race.raced.attacked;
        let end = match &attacked.poisoned {
            Some(poisoned) => format!(
                "POISONED after {}: {}",
                time(poisoned.after),
                if poisoned.whole_zone { "the whole zone" } else { &poisoned.name }
            ),
            None => attacking(attacked, race.counted),
        };
        self.bar.finish_with_message(end);
    }

    /// Takes the line away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn attacking(attacked: &Attacked, counted: Option<Counted>) -> String {
    let mut text = format!("{} forged", grouped(attacked.forged as f64));
    if let Some(near) = counted.and_then(|counted| counted.near_misses) {
        text += &format!(", {} near misses", grouped(near as f64));
    }
    if attacked.hits > 0 {
        text += &format!(", {} of {} windows won", attacked.hits, attacked.windows);
    }
    text
}

fn scanning(scanned: &Scanned) -> String {
    match scanned.port {
        Some(port) => format!("port {port} is open"),
        None => format!("{} ports scanned", grouped(scanned.ports as f64)),
    }
}
