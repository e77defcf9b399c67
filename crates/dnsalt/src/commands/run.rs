//! `dnsalt run`: the agent that a service manager starts.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use rustix::fs::{FlockOperation, flock};

use super::need_net_admin;
use crate::agent::{self, Alert, Forged, Keeper, Options};
use crate::cli::RunArgs;
use crate::exit::{Failure, Outcome};
use crate::metrics::{Address, Server};
use crate::state::Store;

/// Where numbers are to be had if nobody says where.
const USUAL: [&str; 2] = ["unix:/run/dnsalt/metrics.sock", "127.0.0.1:9853"];

/// Opens the sockets for metrics. Of the usual ones each that can be had: another agent, in another
/// network namespace, may have the first.
fn listen(args: &RunArgs) -> Result<Server, Failure> {
    if !args.metrics.is_empty() {
        return Server::bind(&args.metrics).map_err(|error| Failure::CouldNot(error.into()));
    }
    let mut addresses = Vec::new();
    for address in USUAL.iter().filter_map(|text| text.parse::<Address>().ok()) {
        match Server::bind(std::slice::from_ref(&address)) {
            Ok(_) => addresses.push(address),
            Err(error) => tracing::warn!("{error}"),
        }
    }
    Server::bind(&addresses).map_err(|error| Failure::CouldNot(error.into()))
}

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
    let server = listen(args)?;
    let both = args.save_forged_size.saturating_mul(1_000_000);
    let save = |path: &PathBuf| Forged::open(path, both).context("--save-forged");
    let forged = args.save_forged.as_ref().map(save).transpose()?;
    let keeper = Keeper::install(args.up(), state_dir)?;
    let alert = args.exec_on_alert.clone().map(|program| Alert { program });
    let options = Options { down_on_exit: args.down_on_exit, alert, forged, server };
    let outcome = agent::run(keeper, options);
    drop(only);
    outcome
}
