//! `dnsalt run`: the agent that a service manager starts.

use std::path::Path;

use anyhow::anyhow;
use rustix::fs::{FlockOperation, flock};

use super::need_net_admin;
use crate::agent::{self, Alert, Keeper, Options};
use crate::cli::RunArgs;
use crate::exit::{Failure, Outcome};
use crate::state::Store;

pub(super) fn run(args: &RunArgs, state_dir: &Path) -> Outcome {
    agent::init_log(args.log)?;
    need_net_admin("installing rules")?;
    if let Some(program) = &args.exec_on_alert
        && !program.is_file()
    {
        return Err(Failure::Usage(format!(
            "--exec-on-alert: {}: no such file",
            program.display()
        )));
    }
    let store = Store::open(state_dir)?;
    let only = store.agent()?;
    if flock(&only, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(anyhow!("an agent runs here already; stop it first").into());
    }
    let keeper = Keeper::install(args.up(), state_dir)?;
    let alert = args.exec_on_alert.clone().map(|program| Alert { program });
    let options = Options { down_on_exit: args.down_on_exit, alert };
    let outcome = agent::run(keeper, &options);
    drop(only);
    outcome
}
