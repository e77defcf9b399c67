//! What is known of a test, as it comes in.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::Event;
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Serialize;
use tokio::time::sleep;

use crate::answer::Answers;
use crate::judgement::Report;
use crate::query::NANOSECONDS;
use crate::server::now;
use crate::text;
use crate::token::Body;

/// How often it is looked at.
const PERIOD: Duration = Duration::from_millis(250);
/// Nanoseconds without a query after which there will be no more.
const QUIET: u64 = 3 * NANOSECONDS;
/// The same if there was none at all.
const NOTHING: u64 = 15 * NANOSECONDS;
/// Nobody is told more than for so long.
const LONGEST: u64 = 60 * NANOSECONDS;

/// A test, from some query on.
#[derive(Debug, Serialize)]
pub(super) struct Progress {
    /// Of this form.
    schema: u8,
    /// Whether no more is to come.
    done: bool,
    /// All addresses that asked.
    addresses: Vec<IpAddr>,
    /// What is new.
    queries: Vec<Seen>,
    /// The verdict in a sentence for everybody.
    headline: String,
    /// What all of it came to.
    report: Arc<Report>,
}

/// A query.
#[derive(Debug, Serialize)]
struct Seen {
    /// Milliseconds since the first.
    ms: u64,
    /// Whose, as a place in the list of addresses.
    who: u8,
    port: u16,
    id: u16,
}

/// Nothing if there is no such test.
pub(super) fn progress(answers: &Answers, test: Body, from: usize, done: bool) -> Option<Progress> {
    answers.sessions().look(test, now(), |session| {
        let report = answers.report(session);
        let first = session.samples.first().map_or(0, |sample| sample.time);
        let seen = session.samples.iter().zip(&session.marks).map(|(sample, mark)| Seen {
            ms: sample.time.saturating_sub(first) / 1_000_000,
            who: mark.who,
            port: sample.port,
            id: sample.id,
        });
        let quiet = session.samples.last().is_some_and(|last| now() >= last.time + QUIET);
        Progress {
            schema: 1,
            done: done || quiet,
            queries: seen.skip(from).collect(),
            addresses: session.addresses.clone(),
            headline: text::headline(&report),
            report,
        }
    })
}

/// How far somebody was told.
struct Told {
    answers: Arc<Answers>,
    test: Body,
    begun: u64,
    queries: usize,
    done: bool,
}

/// Events until there is no more: each is a [`Progress`] with what is new; the last is named `done`, whether there
/// was anything or not.
pub(super) fn events(
    answers: Arc<Answers>,
    test: Body,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let told = Told { answers, test, begun: now(), queries: 0, done: false };
    unfold(told, |mut told| async move {
        loop {
            if told.done {
                return None;
            }
            sleep(PERIOD).await;
            if let Some(event) = told.next() {
                return Some((Ok(event), told));
            }
        }
    })
}

impl Told {
    fn next(&mut self) -> Option<Event> {
        let over = now().saturating_sub(self.begun);
        let late = over >= if self.queries == 0 { NOTHING } else { LONGEST };
        let progress = progress(&self.answers, self.test, self.queries, late);
        self.done = progress.as_ref().map_or(late, |progress| progress.done);
        let event = Event::default().event(if self.done { "done" } else { "progress" });
        match progress {
            Some(progress) if self.done || !progress.queries.is_empty() => {
                self.queries += progress.queries.len();
                event.json_data(progress).ok()
            }
            None if self.done => Some(event.data("null")),
            _ => None,
        }
    }
}
