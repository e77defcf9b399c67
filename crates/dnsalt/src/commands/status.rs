//! `dnsalt status`: what is installed, and how strong it is.

use std::path::Path;

use super::need_net_admin;
use crate::cli::StatusArgs;
use crate::exit::{Outcome, Verdict};
use crate::output;
use crate::state::Store;
use crate::status;

pub(super) fn run(args: &StatusArgs, state_dir: &Path) -> Outcome {
    need_net_admin("reading the firewall")?;
    let status = status::look(&Store::open(state_dir)?)?;
    if args.json {
        output::print_json(&status)?;
    } else {
        output::print(&status.text())?;
    }
    Ok(if status.protected { Verdict::Fine } else { Verdict::Weak })
}
