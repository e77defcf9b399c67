//! What the agent itself counts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dnsalt_salt::layout::Counter;

use super::catalogue::{
    EVENTS, EXECS, KEY_RENEWALS, LAST_RELOAD, LAST_RELOAD_OK, LOST, RELOADS, RESTORED,
};
use super::family::Families;
use crate::clock::Moment;

/// The agent increments, scrapes read; nobody waits for anybody.
#[derive(Debug, Default)]
pub(crate) struct AgentCounters {
    events: [AtomicU64; EventKind::ALL.len()],
    lost: AtomicU64,
    restored: AtomicU64,
    reloads: [AtomicU64; 2],
    last_reload: AtomicU64,
    last_reload_ok: AtomicBool,
    key_renewals: [AtomicU64; 2],
    key_renewed: AtomicU64,
    execs: [AtomicU64; ExecResult::ALL.len()],
}

/// What the kernel tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// A near miss with another query ID.
    WrongId,
    /// A near miss with another question.
    WrongQuestion,
    /// A near miss from another server.
    WrongServer,
    /// A reply that is right but for the case of letters.
    WrongCase,
    /// A lockdown began.
    Lockdown,
    /// What a later version tells of.
    Other,
}

/// What became of a program that an event starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExecResult {
    /// Exit code 0.
    Ok,
    /// Another one, a signal, or it could not be started.
    Failed,
    /// It was not started, as the one before still ran.
    Skipped,
}

impl EventKind {
    const ALL: [EventKind; 6] = [
        EventKind::WrongId,
        EventKind::WrongQuestion,
        EventKind::WrongServer,
        EventKind::WrongCase,
        EventKind::Lockdown,
        EventKind::Other,
    ];

    /// Of [`dnsalt_salt::layout::Event::counter`].
    pub(crate) fn of(counter: u32) -> Self {
        let is = |of: Counter| counter == of as u32;
        match () {
            () if is(Counter::WrongId) => EventKind::WrongId,
            () if is(Counter::WrongQuestion) => EventKind::WrongQuestion,
            () if is(Counter::WrongServer) => EventKind::WrongServer,
            () if is(Counter::WrongCase) => EventKind::WrongCase,
            () if is(Counter::Lockdowns) => EventKind::Lockdown,
            () => EventKind::Other,
        }
    }

    fn name(self) -> &'static str {
        match self {
            EventKind::WrongId => "wrong_id",
            EventKind::WrongQuestion => "wrong_question",
            EventKind::WrongServer => "wrong_server",
            EventKind::WrongCase => "wrong_case",
            EventKind::Lockdown => "lockdown",
            EventKind::Other => "other",
        }
    }
}

impl ExecResult {
    const ALL: [ExecResult; 3] = [ExecResult::Ok, ExecResult::Failed, ExecResult::Skipped];

    fn name(self) -> &'static str {
        match self {
            ExecResult::Ok => "ok",
            ExecResult::Failed => "failed",
            ExecResult::Skipped => "skipped",
        }
    }
}

impl AgentCounters {
    /// The kernel told something.
    pub(crate) fn event(&self, kind: EventKind) {
        increment(&self.events[kind as usize]);
    }

    /// Protection was there, and is not.
    pub(crate) fn protection_lost(&self) {
        increment(&self.lost);
    }

    /// Protection is there again.
    pub(crate) fn protection_restored(&self) {
        increment(&self.restored);
    }

    /// The configuration was read anew; whether it is in force.
    pub(crate) fn reloaded(&self, ok: bool) {
        increment(&self.reloads[usize::from(!ok)]);
        self.last_reload_ok.store(ok, Ordering::Relaxed);
        self.last_reload.store(Moment::now().number(), Ordering::Relaxed);
    }

    /// The keys were to be renewed; whether they are.
    pub(crate) fn key_renewed(&self, ok: bool) {
        increment(&self.key_renewals[usize::from(!ok)]);
        if ok {
            self.key_renewed.store(Moment::now().number(), Ordering::Relaxed);
        }
    }

    /// A program that an event starts ended, or was not started.
    pub(crate) fn executed(&self, result: ExecResult) {
        increment(&self.execs[result as usize]);
    }

    /// When the keys were renewed last, in seconds since 1970.
    pub(super) fn key_renewed_at(&self) -> Option<u64> {
        Moment::of_number(get(&self.key_renewed)).map(Moment::shown)
    }

    pub(super) fn export(&self, to: &mut Families) {
        for kind in EventKind::ALL {
            to.add_by(&EVENTS, &[kind.name()], get(&self.events[kind as usize]));
        }
        to.add(&LOST, get(&self.lost));
        to.add(&RESTORED, get(&self.restored));
        for (result, count) in ["ok", "failed"].iter().zip(&self.reloads) {
            to.add_by(&RELOADS, &[result], get(count));
        }
        if let Some(moment) = Moment::of_number(get(&self.last_reload)) {
            to.add(&LAST_RELOAD, moment.shown());
            to.add(&LAST_RELOAD_OK, self.last_reload_ok.load(Ordering::Relaxed));
        }
        for (result, count) in ["ok", "failed"].iter().zip(&self.key_renewals) {
            to.add_by(&KEY_RENEWALS, &[result], get(count));
        }
        for result in ExecResult::ALL {
            to.add_by(&EXECS, &[result.name()], get(&self.execs[result as usize]));
        }
    }
}

fn increment(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_at_their_indices() {
        for (index, kind) in EventKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
        for (index, result) in ExecResult::ALL.into_iter().enumerate() {
            assert_eq!(result as usize, index);
        }
        assert_eq!(EventKind::of(Counter::Lockdowns as u32), EventKind::Lockdown);
        assert_eq!(EventKind::of(4711), EventKind::Other);
    }

    #[test]
    fn a_failed_renewal_leaves_the_old_key() {
        let counters = AgentCounters::default();
        counters.key_renewed(false);
        assert_eq!(counters.key_renewed_at(), None);
        counters.key_renewed(true);
        assert!(counters.key_renewed_at().is_some());
    }
}
