//! The same queries on both sides of a NAT: what does it do to ports?
//!
//! A query keeps its ID, its question and its server on the way through, and is outside a moment after
//! it was inside. Its address and its port may change.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context as _;
use dnsalt_audit::event::{Address, Event, Kind};
use dnsalt_audit::judge::Scratch;
use dnsalt_audit::judgement::{Judgement, Terms, judge_series};
use dnsalt_audit::series::Series;
use dnsalt_capture::file::CaptureFile;
use serde::Serialize;

use super::packet::{Scope, Totals, event};

/// Clocks of two machines may differ by so much, in nanoseconds.
const APART: u64 = 2_000_000_000;
/// Fewer pairs say nothing.
pub(crate) const ENOUGH: usize = 8;

/// What a NAT does to the ports of queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Effect {
    /// Ports are the same outside.
    Preserves,
    /// Ports are drawn anew, from enough of them.
    Randomises,
    /// Ports that were random inside can be foretold outside.
    Derandomises,
    /// Ports are drawn anew, from few.
    Limits,
    /// Ports are changed, as weak as before.
    Changes,
    /// Too few queries were seen on both sides.
    Unknown,
}

/// Both sides, compared.
#[derive(Debug, Serialize)]
pub(crate) struct Across {
    /// What it does.
    pub(crate) effect: Effect,
    /// Queries that were seen on both sides.
    pub(crate) pairs: usize,
    /// Those of them whose port is the same outside.
    pub(crate) same_port: usize,
    /// Queries inside and outside.
    pub(crate) seen: [usize; 2],
    /// The ports inside.
    pub(crate) inside: Judgement,
    /// The ports outside.
    pub(crate) outside: Judgement,
}

/// Compares two captures.
///
/// # Errors
/// When one of them cannot be read.
pub(crate) fn compare(
    inside: &Path,
    outside: &Path,
    scope: &Scope,
    terms: Terms,
) -> anyhow::Result<Across> {
    let (inside, outside) = (queries(inside, scope)?, queries(outside, scope)?);
    let mut waiting: HashMap<(Address, u16, u32), Vec<&Event>> = HashMap::new();
    for event in outside.iter().rev() {
        waiting.entry((event.server, event.id, event.question)).or_default().push(event);
    }
    let mut servers: HashMap<Address, u32> = HashMap::new();
    let (mut before, mut after, mut same) = (Series::default(), Series::default(), 0);
    for event in &inside {
        let Some(candidates) = waiting.get_mut(&(event.server, event.id, event.question)) else {
            continue;
        };
        // The earliest that is not long past; those before it match nothing that is to come.
        while candidates.last().is_some_and(|other| other.time.saturating_add(APART) < event.time) {
            candidates.pop();
        }
        let Some(other) =
            candidates.last().filter(|other| other.time <= event.time.saturating_add(APART))
        else {
            continue;
        };
        let number = u32::try_from(servers.len()).unwrap_or(0);
        let server = *servers.entry(event.server).or_insert(number);
        before.push(event.time, server, event.port, event.id, event.question);
        after.push(other.time, server, other.port, other.id, other.question);
        same += usize::from(event.port == other.port);
        candidates.pop();
    }
    let mut scratch = Scratch::default();
    let judged = [&before, &after].map(|series| judge_series(series, terms, &mut scratch));
    let [before_judged, after_judged] = judged;
    Ok(Across {
        effect: effect(before.len(), same, &before_judged, &after_judged),
        pairs: before.len(),
        same_port: same,
        seen: [inside.len(), outside.len()],
        inside: before_judged,
        outside: after_judged,
    })
}

fn effect(pairs: usize, same: usize, inside: &Judgement, outside: &Judgement) -> Effect {
    // Below that many ports, NAT is what limits them.
    const FEW: f64 = 4096.0;
    let (before, after) = (inside.target.ports, outside.target.ports);
    if pairs < ENOUGH {
        Effect::Unknown
    } else if same * 10 >= pairs * 9 {
        Effect::Preserves
    } else if after >= FEW {
        Effect::Randomises
    } else if before >= 4.0 * after && after < 64.0 {
        Effect::Derandomises
    } else if before >= 2.0 * after {
        Effect::Limits
    } else {
        Effect::Changes
    }
}

impl Effect {
    /// In one sentence.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Effect::Preserves => "It preserves ports: what leaves is as good or bad as what came.",
            Effect::Randomises => "It randomises ports: they are drawn anew, from enough of them.",
            Effect::Derandomises => {
                "It derandomises ports: good ones go in, ones that can be guessed come out."
            }
            Effect::Limits => "It limits ports: they are drawn anew, from too few.",
            Effect::Changes => "It changes ports, but they are as weak as before.",
            Effect::Unknown => "Too few queries were seen on both sides to tell.",
        }
    }
}

/// The queries of a capture, each once, in the order of time.
fn queries(path: &Path, scope: &Scope) -> anyhow::Result<Vec<Event>> {
    let mut file = CaptureFile::open(path)?;
    let (mut events, mut totals) = (Vec::new(), Totals::default());
    while let Some(record) = file.next_record()? {
        let found = event(record.time, record.link, record.data, scope, &mut totals);
        events.extend(found.filter(|event| matches!(event.kind, Kind::Query(_))));
    }
    if let Some(damage) = file.damage() {
        return Err(damage.clone()).with_context(|| path.display().to_string());
    }
    events.sort_by_key(|event| event.time);
    // Retransmissions go through with the port of the first.
    let mut last: HashMap<(Address, Address, u16, u16, u32), u64> = HashMap::new();
    events.retain(|event| {
        let key = (event.client, event.server, event.port, event.id, event.question);
        let before = last.insert(key, event.time);
        before.is_none_or(|before| event.time - before > 10_000_000_000)
    });
    Ok(events)
}
