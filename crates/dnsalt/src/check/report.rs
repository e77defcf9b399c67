//! The report: one model, from which all renderers write.

use dnsalt_audit::attack::{Attacker, Verdict};
use dnsalt_audit::judge::Scratch;
use dnsalt_audit::judgement::{Judged, Terms, control, judge};
use dnsalt_audit::state::{Observed, SHARDS, Shard, State};
use serde::Serialize;

use super::packet::Totals;
use super::read::Loss;

/// The version of the JSON; it changes when a key changes its meaning or goes away.
const SCHEMA: u32 = 1;

/// All that `check` found out.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The version of this form.
    pub(crate) schema: u32,
    /// For whom the times are reckoned.
    pub(crate) attacker: Attacker,
    /// What became of the packets; none where states were merged and nothing was read.
    pub(crate) totals: Option<Totals>,
    /// Packets that the kernel dropped because we did not read fast enough, where it was live.
    pub(crate) dropped: Option<u64>,
    /// Files that could not be read, or not to their end.
    pub(crate) losses: Vec<Loss>,
    /// Every client that asked, worst first.
    /// Boxed: there may be many, and they are moved about.
    #[allow(clippy::vec_box)]
    pub(crate) resolvers: Vec<Box<Judged>>,
}

impl Report {
    /// Judges all that was observed, on so many threads. Unless `keep`, the samples are given up.
    pub(crate) fn of(state: &mut State, terms: Terms, threads: usize, keep: bool) -> Self {
        let judge_some = |shards: &mut [Shard]| {
            let (mut scratch, mut judged) = (Scratch::default(), Vec::new());
            for shard in shards {
                shard.each(keep, |one| {
                    if has_asked(one) {
                        judged.push(Box::new(judge(one, terms, &mut scratch)));
                    }
                });
            }
            judged
        };
        let each = SHARDS.div_ceil(threads.max(1));
        let mut resolvers: Vec<Box<Judged>> = std::thread::scope(|scope| {
            // The first group is for this thread: what it gives up it can use again.
            let (first, others) = state.shards_mut().split_at_mut(each.min(SHARDS));
            let start = |some| scope.spawn(move || judge_some(some));
            let running: Vec<_> = others.chunks_mut(each).map(start).collect();
            let mut judged = judge_some(first);
            for thread in running {
                judged.append(
                    &mut thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                );
            }
            judged
        });
        control(&mut resolvers, terms.attacker);
        resolvers.sort_by(|a, b| {
            let key = |j: &Judged| (j.overall.verdict, j.overall.t50.unwrap_or(f64::INFINITY));
            let ((va, ta), (vb, tb)) = (key(a), key(b));
            // Then who asks most, and the address, so that the order is always the same.
            va.cmp(&vb)
                .then(ta.total_cmp(&tb))
                .then(b.counters.queries.cmp(&a.counters.queries))
                .then(a.address.cmp(&b.address))
        });
        Report {
            schema: SCHEMA,
            attacker: terms.attacker,
            totals: None,
            dropped: None,
            losses: Vec::new(),
            resolvers,
        }
    }

    /// How many have this verdict.
    pub(crate) fn count(&self, verdict: Verdict) -> usize {
        self.resolvers.iter().filter(|j| j.worst() == verdict).count()
    }

    /// Whether somebody is weak or worse.
    pub(crate) fn weak(&self) -> bool {
        self.resolvers.iter().any(|judged| judged.worst() <= Verdict::Weak)
    }
}

/// A name without queries, only replies or TCP, has nothing to judge, unless it asked over TCP.
pub(crate) fn has_asked(observed: &Observed<'_>) -> bool {
    observed.counters.queries + observed.counters.tcp_queries > 0
}
