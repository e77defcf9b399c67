//! `dnsalt config`: the configuration file, documented.

use crate::cli::ConfigArgs;
use crate::exit::{Outcome, Verdict};
use crate::output;

pub(super) fn run(args: &ConfigArgs) -> Outcome {
    if args.sample {
        output::print(dnsalt_policy::SAMPLE)?;
    }
    Ok(Verdict::Fine)
}
