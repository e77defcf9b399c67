//! `dnsalt down`: put everything back as it was.

use std::path::Path;

use dnsalt_nat::driver::{Backend, Driver, Flavour};

use super::{need_net_admin, up};
use crate::exit::{Outcome, Verdict};
use crate::output;
use crate::state::{Installation, State, Store};

pub(super) fn run(state_dir: &Path) -> Outcome {
    need_net_admin("removing rules")?;
    let store = Store::open(state_dir)?;
    let lock = store.lock()?;
    let state = store.read();
    let mut removed = false;
    for backend in backends(state.as_ref()) {
        removed |= remove(backend.driver(store.folder()).as_ref(), state.is_some())?;
    }
    if let Some(state) = &state {
        up::cut([Some(&state.current), state.previous.as_ref()]);
    }
    store.clear()?;
    drop(lock);
    output::print(if removed {
        "Everything is as it was: dnsalt's rules are gone, queries keep their ports.\n"
    } else {
        "Nothing of dnsalt's is installed here.\n"
    })?;
    Ok(Verdict::Fine)
}

/// Where rules of ours may be: where the state says, also that of an `up` that was interrupted
/// between two firewalls. Without a state, in any firewall that there is.
fn backends(state: Option<&State>) -> Vec<Backend> {
    let Some(state) = state else {
        return vec![Backend::Nft, Backend::Iptables(Flavour::Default)];
    };
    let mut backends = vec![state.current.backend()];
    backends.extend(state.previous.as_ref().map(Installation::backend));
    backends
}

fn remove(driver: &dyn Driver, known: bool) -> anyhow::Result<bool> {
    let installed = match driver.installed() {
        // Nothing is known to be here, and there is no firewall to ask: fine.
        Err(_) if !known => return Ok(false),
        result => result?,
    };
    // Where we know that we began, there may be traces besides the rules.
    if installed.is_some() || known {
        driver.remove()?;
    }
    Ok(installed.is_some())
}
