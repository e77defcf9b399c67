//! `dnsalt down`: put everything back as it was.

use std::path::Path;

use dnsalt_nat::driver::{Backend, Flavour};

use super::{need_net_admin, up};
use crate::engine::{self, Engine, Nat, Salt};
use crate::exit::{Outcome, Verdict};
use crate::output;
use crate::state::{State, Store};

pub(super) fn run(state_dir: &Path) -> Outcome {
    need_net_admin("removing rules")?;
    output::print(if take_down(state_dir)? {
        "Everything is as it was: dnsalt's rules are gone, queries keep their ports.\n"
    } else {
        "Nothing of dnsalt's is installed here.\n"
    })?;
    Ok(Verdict::Fine)
}

/// All of it but for what is printed; whether something of ours was there.
pub(crate) fn take_down(state_dir: &Path) -> anyhow::Result<bool> {
    let store = Store::open(state_dir)?;
    let lock = store.lock()?;
    let state = store.read()?;
    let mut removed = false;
    for engine in engines(state.as_ref(), store.folder()) {
        removed |= remove(engine.as_ref(), state.is_some())?;
    }
    if let Some(state) = &state {
        up::cut(&store, [Some(&state.current), state.previous.as_ref()]);
    }
    store.clear()?;
    drop(lock);
    Ok(removed)
}

/// Where something of ours may be: where the state says, also that of an `up` that was interrupted
/// between two engines. Without a state, anywhere.
fn engines(state: Option<&State>, folder: &Path) -> Vec<Box<dyn Engine>> {
    if let Some(state) = state {
        let all = [Some(&state.current), state.previous.as_ref()];
        return all.into_iter().flatten().map(|one| engine::of(one, folder)).collect();
    }
    let mut all: Vec<Box<dyn Engine>> = vec![
        Box::new(Nat::new(Backend::Nft, folder)),
        Box::new(Nat::new(Backend::Iptables(Flavour::Default), folder)),
    ];
    if let Some(bpffs) = dnsalt_bpf::find_bpffs() {
        all.push(Box::new(Salt::new(bpffs)));
    }
    all
}

fn remove(engine: &dyn Engine, known: bool) -> anyhow::Result<bool> {
    let installed = match engine.installed(None) {
        // Nothing is known to be here, and there is nobody to ask: fine.
        Err(_) if !known => return Ok(false),
        result => result?,
    };
    // Where we know that we began, there may be traces besides.
    if installed.is_some() || known {
        engine.remove()?;
    }
    Ok(installed.is_some())
}
