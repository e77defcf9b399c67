//! `dnsalt judge`: columns into verdicts.

use std::io;

use dnsalt_audit::judgement::Limits;

use super::check::terms;
use crate::cli::JudgeArgs;
use crate::exit::{Failure, Outcome, Verdict};
use crate::fleet::judge;
use crate::output;

/// Runs the verb.
pub(crate) fn run(args: &JudgeArgs) -> Outcome {
    let (input, output, terms) = (io::stdin(), io::stdout(), terms(&args.terms));
    if args.limits {
        output::print_json(&judge::limits(input)?)?;
    } else if let Some(limits) = &args.control {
        let limits: Limits = serde_json::from_str(limits).map_err(|error| {
            Failure::Usage(format!("--control: give what --limits printed ({error})"))
        })?;
        judge::control(input, output, limits, terms)?;
    } else {
        judge::rows(input, output, terms)?;
    }
    Ok(Verdict::Fine)
}
