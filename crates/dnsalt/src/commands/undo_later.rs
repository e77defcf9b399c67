//! What waits behind `up --confirm`, in a session of its own, and undoes it.

use std::path::Path;
use std::time::Duration;

use super::restore;
use crate::cli::UndoLaterArgs;
use crate::exit::{Outcome, Verdict};
use crate::state::Store;

pub(super) fn run(args: &UndoLaterArgs, state_dir: &Path) -> Outcome {
    // A session of its own: the end of the terminal is not ours.
    let _ = rustix::process::setsid();
    std::thread::sleep(Duration::from_millis(args.milliseconds));
    let store = Store::open(state_dir)?;
    let Some(_) = store.read()? else {
        return Ok(Verdict::Fine);
    };
    let _lock = store.lock()?;
    if let Some(state) = store.read()?
        && state.unconfirmed.as_ref().is_some_and(|unconfirmed| unconfirmed.token == args.token)
    {
        restore(&store, &state.current, state.previous.as_ref())?;
    }
    Ok(Verdict::Fine)
}
