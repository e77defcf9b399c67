//! Keeps what is installed as it was installed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use dnsalt_nat::reserved_ports;
use dnsalt_policy::Defaults;

use crate::cli::UpArgs;
use crate::commands::{down, up};
use crate::configuration::{self, Configured};
use crate::engine;
use crate::exit::Failure;
use crate::metrics::AgentCounters;
use crate::state::{State, Store};

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// All is as it was.
    Whole,
    /// It was not, and is again.
    Restored,
    /// It is not, and could not be put back; the next look tries again.
    Broken,
    /// `dnsalt down` was run.
    TakenDown,
}

/// Knows what should be there.
pub(crate) struct Keeper {
    store: Store,
    args: UpArgs,
    state_dir: PathBuf,
    counters: Arc<AgentCounters>,
    /// The last complaint, so that it is not repeated with every look.
    complaint: Option<String>,
}

impl Keeper {
    /// Installs the policy, unless exactly that is there.
    pub(crate) fn install(args: UpArgs, state_dir: &Path) -> Result<Self, Failure> {
        let store = Store::open(state_dir)?;
        up::bring_up(&args, state_dir)?;
        let counters = Arc::<AgentCounters>::default();
        Ok(Keeper { store, args, state_dir: state_dir.to_owned(), counters, complaint: None })
    }

    /// What it counts.
    pub(crate) fn counters(&self) -> Arc<AgentCounters> {
        Arc::clone(&self.counters)
    }

    /// Where it is written what should be there.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Whether the last look found all in its place.
    pub(crate) fn is_whole(&self) -> bool {
        self.complaint.is_none()
    }

    /// The engine that is installed.
    pub(crate) fn engine_name(&self) -> &'static str {
        let state = self.store.read().ok().flatten();
        state.map_or("none", |state| engine::of(&state.current, self.store.folder()).name())
    }

    /// Where the salt engine has its maps, if it is that.
    pub(crate) fn bpffs(&self) -> Option<PathBuf> {
        self.store.read().ok()??.current.bpffs
    }

    /// The folder of the policy's file, if it is not the usual one.
    pub(crate) fn config(&self) -> Option<PathBuf> {
        let file = std::path::absolute(self.args.policy.config.as_ref()?).ok()?;
        Some(file.parent()?.to_owned())
    }

    /// Where state and rules are kept.
    pub(crate) fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Looks whether all is there, and puts it back if not.
    pub(crate) fn look(&mut self) -> Look {
        let state = match self.store.read() {
            Ok(Some(state)) => state,
            Ok(None) => return Look::TakenDown,
            Err(error) => return self.complain(&format!("{error:#}")),
        };
        if state.complete.is_none() {
            // Somebody is at it, or was interrupted: that shows once the lock can be had.
            return self.settle();
        }
        match damage(&self.store, &state) {
            Ok(None) => {
                self.complaint = None;
                Look::Whole
            }
            Ok(Some(what)) => self.put_back(&what),
            Err(error) => self.complain(&format!("{error:#}")),
        }
    }

    fn settle(&mut self) -> Look {
        match self.store.read_settled() {
            Ok(Some(state)) if state.complete.is_none() => self.put_back("an `up` was interrupted"),
            Ok(Some(_)) => Look::Whole,
            Ok(None) => Look::TakenDown,
            Err(error) => self.complain(&format!("{error:#}")),
        }
    }

    fn put_back(&mut self, what: &str) -> Look {
        if self.complaint.is_none() {
            self.counters.protection_lost();
            tracing::warn!(event = "protection-lost", what, "the protection was damaged: {what}");
        }
        match self.restore() {
            Ok(None) => Look::TakenDown,
            Ok(Some(cut)) => {
                self.complaint = None;
                self.counters.protection_restored();
                tracing::warn!(event = "protection-restored", flows_ended = cut, "it was put back");
                Look::Restored
            }
            Err(error) => self.complain(&format!("it could not be put back: {error:#}")),
        }
    }

    /// Installs once more what the state says; how many flows were ended. None if it was taken down
    /// meanwhile.
    fn restore(&self) -> anyhow::Result<Option<usize>> {
        let _lock = self.store.lock()?;
        let Some(state) = self.store.read()? else { return Ok(None) };
        up::install(&self.store, &state.current)?;
        Ok(Some(up::cut(&self.store, [Some(&state.current)])))
    }

    fn complain(&mut self, what: &str) -> Look {
        if self.complaint.as_deref() != Some(what) {
            tracing::error!(event = "protection-broken", "{what}");
            self.complaint = Some(what.to_owned());
        }
        Look::Broken
    }

    /// Reads the policy again and installs it. One that is wrong changes nothing.
    pub(crate) fn reload(&mut self) {
        let defaults = Defaults { reserved: reserved_ports() };
        let loaded = configuration::load(&self.args.policy, &defaults).map(drop);
        let done = loaded.and_then(|()| up::bring_up(&self.args, &self.state_dir));
        self.counters.reloaded(done.is_ok());
        match done {
            Ok(_) => tracing::info!(event = "reloaded", "the policy was read again"),
            Err(Failure::Usage(why)) => {
                tracing::error!(event = "reload-failed", "{why}; the old policy stays");
            }
            Err(Failure::CouldNot(error)) => {
                tracing::error!(event = "reload-failed", "{error:#}; the old policy stays");
            }
        }
    }

    /// Gives the engine's generator new keys, if it has some.
    pub(crate) fn renew_keys(&self) {
        let Some(bpffs) = self.bpffs() else { return };
        let done = dnsalt_bpf::renew_keys(&bpffs);
        self.counters.key_renewed(done.is_ok());
        match done {
            Ok(()) => tracing::info!(event = "keys-renewed", "new keys"),
            Err(error) => tracing::error!(event = "keys-not-renewed", "{error}"),
        }
    }

    /// Takes all away.
    pub(crate) fn take_down(&self) -> anyhow::Result<()> {
        down::take_down(&self.state_dir).map(drop)
    }
}

/// What is not as it was installed, in words.
fn damage(store: &Store, state: &State) -> anyhow::Result<Option<String>> {
    let policy = Configured::new(state.current.settings.clone())?.policy;
    let engine = engine::of(&state.current, store.folder());
    let installed = engine.installed(Some(&policy)).context("looking at what is installed")?;
    let Some(installed) = installed else {
        return Ok(Some(format!("the {} engine is gone", engine.name())));
    };
    if let Some(missing) = installed.missing {
        return Ok(Some(format!("{missing} are missing")));
    }
    let whole = state.complete.as_ref().is_some_and(|c| c.fingerprint == installed.fingerprint);
    Ok((!whole).then(|| "somebody changed it".to_owned()))
}
