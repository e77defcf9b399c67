//! `dnsalt extract`: captures into Parquet.

use std::path::Path;

use anyhow::{Context as _, anyhow};

use super::check::{progress, scope, threads, without_losses};
use crate::check::read;
use crate::check::text::number;
use crate::cli::ExtractArgs;
use crate::exit::{Failure, Outcome, Verdict};
use crate::fleet::extract::{Extracted, extract};
use crate::output;

/// Runs the verb.
pub(crate) fn run(args: &ExtractArgs) -> Outcome {
    let files = read::list(&args.files).map_err(|error| Failure::CouldNot(anyhow!(error)))?;
    // Before the work, so that it is not lost for a wrong name.
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let bar = progress(&files);
    let options = format!("{:?}", args.scope);
    let scope = scope(&args.scope);
    let done = extract(&files, &args.out, scope, &options, threads(args.threads), &bar);
    bar.finish_and_clear();
    let done = done?;
    if args.json {
        output::print_json(&done)?;
    } else {
        output::print(&text(&done, &args.out))?;
    }
    without_losses(&done.losses)?;
    Ok(Verdict::Fine)
}

fn text(done: &Extracted, out: &Path) -> String {
    format!(
        "{} rows of {} queries and {} replies, from {} packets, in {} files below {}\n",
        number(done.rows),
        number(done.totals.queries + done.totals.tcp_queries),
        number(done.totals.replies),
        number(done.totals.packets),
        number(done.files as u64),
        out.display()
    )
}
