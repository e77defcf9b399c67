//! The verbs, one file each.

mod check;
mod config;
mod confirm;
pub(crate) mod down;
#[cfg(feature = "fleet")]
mod extract;
#[cfg(feature = "fleet")]
mod judge;
mod lab;
mod prove;
mod rules;
mod run;
mod serve;
mod status;
mod undo_later;
pub(crate) mod up;
mod watch;

use std::path::PathBuf;

use rustix::thread::{CapabilitySet, capabilities};

use crate::cli::{Cli, Command};
use crate::engine;
use crate::exit::{Failure, Outcome};
use crate::state::{Installation, Store};

/// Runs the verb that the command line names.
pub(crate) fn run(cli: Cli) -> Outcome {
    let state_dir = cli.state_dir;
    match cli.command {
        Command::Up(args) => up::run(&args, &state_dir),
        Command::Run(args) => run::run(&args, &state_dir),
        Command::Confirm => confirm::run(&state_dir),
        Command::Down => down::run(&state_dir),
        Command::Status(args) => status::run(&args, &state_dir),
        Command::Watch(args) => watch::run(&args, &state_dir),
        Command::Check(args) => check::run(&args),
        #[cfg(feature = "fleet")]
        Command::Extract(args) => extract::run(&args),
        #[cfg(feature = "fleet")]
        Command::Judge(args) => judge::run(&args),
        #[cfg(not(feature = "fleet"))]
        Command::Extract(_) | Command::Judge(_) => Err(Failure::CouldNot(anyhow::anyhow!(
            "this dnsalt was built without Parquet and Arrow; build it with `cargo build --release --features fleet`"
        ))),
        Command::Prove(args) => prove::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Rules(args) => rules::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Lab(command) => lab::run(&command),
        Command::UndoLater(args) => undo_later::run(&args, &state_dir),
    }
}

/// Whether this process has a capability.
fn may(capability: CapabilitySet) -> bool {
    let have = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    have.contains(capability)
}

/// Refuses early and in words where the kernel would refuse later and in numbers.
fn need(capability: CapabilitySet, name: &str, what: &str) -> Result<(), Failure> {
    if may(capability) {
        return Ok(());
    }
    Err(Failure::CouldNot(anyhow::anyhow!("{what} needs root ({name}); run it with sudo")))
}

fn need_net_admin(what: &str) -> Result<(), Failure> {
    need(CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN", what)
}

/// Puts `installation` back, or removes the rules of `current` where there was nothing before;
/// the state follows. The caller holds the lock.
fn restore(
    store: &Store,
    current: &Installation,
    previous: Option<&Installation>,
) -> anyhow::Result<()> {
    let engine = engine::of(current, store.folder());
    let Some(previous) = previous else {
        engine.remove()?;
        up::cut(store, [Some(current)]);
        return store.clear();
    };
    up::install(store, previous)?;
    if !previous.shares_place(current) {
        engine.remove()?;
    }
    up::cut(store, [Some(current), Some(previous)]);
    Ok(())
}

/// This program, for running verbs of it.
pub(crate) fn own_program() -> anyhow::Result<PathBuf> {
    Ok(std::env::current_exe()?)
}
