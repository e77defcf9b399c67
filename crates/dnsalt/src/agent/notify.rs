//! What systemd is told (`sd_notify(3)`); nothing where it does not ask.

use std::cell::Cell;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The service manager, if there is one.
pub(super) struct Systemd {
    /// How often it wants to hear that we are alive.
    every: Option<Duration>,
    last: Cell<Instant>,
}

impl Systemd {
    pub(super) fn new() -> Self {
        // Twice as often as it asks for.
        let every = sd_notify::watchdog_enabled().map(|timeout| timeout / 2);
        Systemd { every, last: Cell::new(Instant::now()) }
    }

    /// Called every turn.
    pub(super) fn alive(&self, whole: bool) {
        if self.every.is_some_and(|every| self.last.get().elapsed() >= every) {
            self.last.set(Instant::now());
            let status = if whole { "Protected" } else { "NOT protected; see the log" };
            tell(&[NotifyState::Watchdog, NotifyState::Status(status)]);
        }
    }
}

/// Protected.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The policy is read again.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The end begins.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    // That nobody listens is the usual case in a terminal.
    let _ = sd_notify::notify(states);
}
