//! `dnsalt confirm`: keep what `up --confirm` installed.

use std::path::Path;

use super::need_net_admin;
use crate::exit::{Outcome, Verdict};
use crate::output;
use crate::state::Store;

pub(super) fn run(state_dir: &Path) -> Outcome {
    need_net_admin("confirming")?;
    let store = Store::open(state_dir)?;
    let Some(_) = store.read()?.and_then(|state| state.unconfirmed) else {
        output::print("Nothing waits to be confirmed.\n")?;
        return Ok(Verdict::Weak);
    };
    let _lock = store.lock()?;
    // Looked at again: the time may have run out while we waited for the lock.
    let state = store.read()?.filter(|state| state.unconfirmed.is_some());
    let Some(mut state) = state else {
        output::print("Too late: it was undone already. Run `dnsalt up` again.\n")?;
        return Ok(Verdict::Weak);
    };
    state.unconfirmed = None;
    state.previous = None;
    store.write(&state)?;
    output::print("Confirmed: the protection stays.\n")?;
    Ok(Verdict::Fine)
}
