//! `dnsalt rules`: only print the rules.

use dnsalt_nat::render;
use dnsalt_policy::Defaults;

use crate::cli::RulesArgs;
use crate::exit::{Failure, Outcome, Verdict};
use crate::{configuration, output};

pub(super) fn run(args: &RulesArgs) -> Outcome {
    // They may be for another machine: what this one has reserved does not count.
    let configured = configuration::load(&args.policy, &Defaults::default())?;
    let rules = render::rules(&configured.policy, args.firewall.into())
        .map_err(|error| Failure::Usage(error.to_string()))?;
    output::print(&rules)?;
    Ok(Verdict::Fine)
}
