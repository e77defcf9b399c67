//! What is installed, and how strong it is: what `status` shows, and metrics are made of.
//!
//! ```text
//!   state.json (what was wanted) ─┐
//!                                 ├─ look ─> Status ─> text, JSON, metrics
//!   engine     (what is there)  ──┘
//! ```

mod problems;
mod text;

use std::path::{Path, PathBuf};

use dnsalt_nat::conntrack::{self, Usage};
use dnsalt_nat::driver::Backend;
use dnsalt_nat::strength::{Strength, most_open};
use dnsalt_policy::{Policy, Settings};
use serde::Serialize;

use crate::configuration::Configured;
use crate::engine::{self, Engine, Installed, Nat, Salt, SaltReport};
use crate::state::{State, Store};
use problems::problems;

/// The report; renderers show it as text and as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    /// Rules are in the kernel, whole and unchanged.
    pub(crate) protected: bool,
    /// What is wrong, in words, with what to do.
    pub(crate) problems: Vec<String>,
    pub(crate) engine: Option<&'static str>,
    pub(crate) backend: Option<String>,
    /// Seconds since 1970.
    pub(crate) since: Option<u64>,
    /// What is salted, in words.
    pub(crate) scope: Option<String>,
    pub(crate) settings: Option<Settings>,
    /// New flows that the rules caught; with per-query ports these are queries.
    pub(crate) caught: Option<u64>,
    /// Packets from a server's port that belonged to no query, and were dropped.
    pub(crate) unsolicited: Option<u64>,
    /// What this machine could not take of the rules, in words, with what to do.
    pub(crate) lacks: Option<String>,
    pub(crate) conntrack: Option<Conntrack>,
    pub(crate) strength: Option<Bits>,
    /// What the salt engine does, if it is that.
    pub(crate) salt: Option<SaltReport>,
    /// Seconds since 1970: when an unconfirmed `up` is undone.
    pub(crate) undone_at: Option<u64>,
    /// Ports that are drawn from.
    #[serde(skip)]
    pub(crate) ports: Option<u32>,
    /// Where the salt engine keeps its maps, if it is that.
    #[serde(skip)]
    pub(crate) bpffs: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Conntrack {
    /// Entries for DNS within the scope.
    pub(crate) dns_entries: usize,
    #[serde(flatten)]
    pub(crate) usage: Usage,
}

/// Effective bits of the source port, of the weakest address family.
#[derive(Debug, Serialize)]
pub(crate) struct Bits {
    #[serde(flatten)]
    pub(crate) strength: Strength,
    /// Most mappings open now between one socket of a client and one server.
    pub(crate) open: usize,
    pub(crate) now: f64,
    pub(crate) worst: f64,
    /// Queries a second to one server at which ports run out.
    pub(crate) cap: Option<u64>,
}

/// What is installed as far as anybody knows: by the state, or else wherever something of ours is.
fn found(
    store: &Store,
    state: Option<&State>,
    policy: Option<&Policy>,
) -> anyhow::Result<(Box<dyn Engine>, Option<Installed>)> {
    if let Some(state) = state {
        let engine = engine::of(&state.current, store.folder());
        let installed = engine.installed(policy)?;
        return Ok((engine, installed));
    }
    let nat: Box<dyn Engine> = Box::new(Nat::new(Backend::Auto, store.folder()));
    let salt = dnsalt_bpf::find_bpffs().map(|bpffs| Box::new(Salt::new(bpffs)) as Box<dyn Engine>);
    for engine in salt.into_iter().chain([nat]) {
        // No state and nobody to ask: nothing of ours is there.
        if let Ok(Some(installed)) = engine.installed(None) {
            return Ok((engine, Some(installed)));
        }
    }
    Ok((Box::new(Nat::new(Backend::Auto, store.folder())), None))
}

/// Puts together what the state says and what the kernel says.
pub(crate) fn look(store: &Store) -> anyhow::Result<Status> {
    let state = store.read_settled()?;
    let policy = match &state {
        Some(state) => Some(Configured::new(state.current.settings.clone())?.policy),
        None => None,
    };
    let (engine, installed) = found(store, state.as_ref(), policy.as_ref())?;
    let mut status = Status {
        protected: false,
        problems: problems(state.as_ref(), installed.as_ref()),
        engine: installed.as_ref().map(|_| engine.name()),
        backend: installed.as_ref().map(|_| engine.backend().to_owned()),
        since: None,
        scope: None,
        settings: None,
        caught: installed.as_ref().map(|installed| installed.caught),
        unsolicited: installed.as_ref().and_then(|installed| installed.dropped),
        lacks: installed.as_ref().and_then(|installed| installed.lacks.clone()),
        conntrack: None,
        strength: None,
        salt: None,
        undone_at: None,
        ports: policy.as_ref().map(|policy| policy.ports().count()),
        bpffs: installed.as_ref().and_then(|_| engine.bpffs()).map(Path::to_owned),
    };
    status.protected = installed.is_some() && status.problems.is_empty();
    if let (Some(state), Some(installed), Some(policy)) = (state, installed, policy) {
        if let Some(salt) = &installed.salt {
            status.salt = Some(SaltReport::of(&policy, salt));
        } else {
            let entries = conntrack::entries(&policy)?;
            let usage = conntrack::usage().unwrap_or(Usage { entries: 0, max: 0 });
            status.strength = Some(bits(&policy, most_open(&entries)));
            status.conntrack = Some(Conntrack { dns_entries: entries.len(), usage });
        }
        status.since = Some(state.current.up_at.shown());
        status.scope = Some(engine.scope(&policy));
        status.settings = Some(state.current.settings);
        status.undone_at = state.unconfirmed.map(|unconfirmed| unconfirmed.undone_at.shown());
    }
    Ok(status)
}

fn bits(policy: &Policy, open: usize) -> Bits {
    let strength = Strength::weakest(policy);
    Bits {
        strength,
        open,
        now: strength.bits_with(open as f64),
        // Per query: at the cap every port is open. Per flow: the one port is known.
        worst: 0.0,
        cap: strength.cap(),
    }
}
