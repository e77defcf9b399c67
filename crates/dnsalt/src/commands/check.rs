//! `dnsalt check`: who asks predictably, how bad is it?

use std::fs::File;
use std::io::{self, BufReader, BufWriter, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use dnsalt_audit::attack::Attacker;
use dnsalt_audit::judgement::Terms;
use dnsalt_audit::predict::Effort;
use dnsalt_audit::state::State;
use dnsalt_capture::PortFilter;
use indicatif::{ProgressBar, ProgressStyle};

use crate::check::across::Effect;
use crate::check::packet::Scope;
use crate::check::read::{self, Loss, Reading};
use crate::check::report::Report;
use crate::check::{across, csv, html, live, text};
use crate::cli::{CheckArgs, JudgementArgs, ScopeArgs};
use crate::exit::{Failure, Outcome, Verdict};
use crate::new_file::NewFile;
use crate::output;

/// Files smaller than that are read before a progress bar is drawn.
const LARGE: u64 = 50 << 20;

/// Runs the verb.
pub(crate) fn run(args: &CheckArgs) -> Outcome {
    if let (Some(inside), Some(outside)) = (&args.inside, &args.outside) {
        return across(args, inside, outside);
    }
    let files =
        read::list(&args.files).map_err(|error| Failure::CouldNot(anyhow::anyhow!(error)))?;
    if files.is_empty() && args.merge.is_empty() && args.iface.is_none() {
        return Err(Failure::Usage("nothing to check: name capture files, or --iface NAME".into()));
    }
    if args.iface.is_some()
        && let Err(error) = PortFilter::new(&args.scope.dns_port)
    {
        return Err(Failure::Usage(format!("--dns-port: {error}")));
    }
    let threads = threads(args.threads);
    // Before the work, so that it is not lost for a wrong name.
    let outputs = Outputs::begin(args)?;
    let mut reading = Reading::new(State::default(), scope(&args.scope), threads);
    for path in &args.merge {
        merge(&mut reading, path)?;
    }
    let bar = progress(&files);
    for file in &files {
        reading.file(file, &bar);
    }
    bar.finish_and_clear();
    let mut dropped = None;
    if let Some(interface) = &args.iface {
        dropped =
            Some(live::watch(&mut reading, interface.as_str(), &args.scope.dns_port, args.time)?);
    }
    finish(args, reading, outputs, dropped, threads)
}

/// Files to write beside the report.
struct Outputs {
    state: Option<NewFile>,
    html: Option<NewFile>,
}

impl Outputs {
    fn begin(args: &CheckArgs) -> anyhow::Result<Self> {
        let begin = |path: &Option<PathBuf>| match path {
            Some(path) => {
                NewFile::begin(path).map(Some).with_context(|| path.display().to_string())
            }
            None => Ok(None),
        };
        Ok(Outputs { state: begin(&args.state_out)?, html: begin(&args.html)? })
    }
}

/// Judges what was read, and writes what is to be written.
fn finish(
    args: &CheckArgs,
    mut reading: Reading,
    outputs: Outputs,
    dropped: Option<u64>,
    threads: usize,
) -> Outcome {
    if let Some(state) = outputs.state {
        reading.state.write(BufWriter::new(&state.file)).context("writing the state")?;
        state.finish().context("writing the state")?;
    }
    let keep = outputs.html.is_some();
    let mut report = Report::of(&mut reading.state, terms(&args.terms), threads, keep);
    report.dropped = dropped;
    let read = !args.files.is_empty() || args.iface.is_some();
    report.totals = read.then_some(reading.totals);
    report.losses = reading.losses;
    if let Some(mut page) = outputs.html {
        let text = html::render(&report, &reading.state);
        page.file.write_all(text.as_bytes()).context("writing the page")?;
        page.finish().context("writing the page")?;
    }
    if args.json {
        output::print_json(&report)?;
    } else if args.csv {
        output::print(&csv::render(&report))?;
    } else {
        output::print(&text::render(&report, args.all))?;
    }
    without_losses(&report.losses)?;
    Ok(if report.weak() { Verdict::Weak } else { Verdict::Fine })
}

/// What could not be read is told at the end, and decides how we end.
pub(super) fn without_losses(losses: &[Loss]) -> anyhow::Result<()> {
    let Some(loss) = losses.first() else { return Ok(()) };
    let more = losses.len() - 1;
    let others = if more > 0 { format!(" (and {more} more)") } else { String::new() };
    anyhow::bail!("{}: {}{others}", loss.file, loss.why)
}

pub(super) fn scope(args: &ScopeArgs) -> Scope {
    Scope::new(&args.dns_port).with_one_client(&args.one_client)
}

pub(super) fn terms(args: &JudgementArgs) -> Terms {
    let effort = if args.deep { Effort::Deep } else { Effort::Normal };
    let attacker = Attacker { rate: args.attacker, servers: f64::from(args.servers) };
    Terms { attacker, effort, min_entropy: args.min_entropy }
}

/// So many threads, or one for each core.
pub(super) fn threads(wanted: Option<usize>) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    wanted.unwrap_or_else(cores)
}

/// What a NAT does to ports, seen from both sides.
fn across(args: &CheckArgs, inside: &Path, outside: &Path) -> Outcome {
    let across = across::compare(inside, outside, &scope(&args.scope), terms(&args.terms))?;
    if args.json {
        output::print_json(&across)?;
    } else {
        output::print(&text::render_across(&across))?;
    }
    Ok(match across.effect {
        Effect::Preserves | Effect::Randomises => Verdict::Fine,
        Effect::Unknown => {
            return Err(Failure::CouldNot(anyhow::anyhow!(
                "{} of {} queries inside and {} outside are the same: too few to tell",
                across.pairs,
                across.seen[0],
                across.seen[1]
            )));
        }
        Effect::Derandomises | Effect::Limits | Effect::Changes => Verdict::Weak,
    })
}

fn merge(reading: &mut Reading, path: &Path) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let merged = reading.state.merge_file(BufReader::new(file));
    merged.with_context(|| path.display().to_string())
}

/// A bar for much to read on a terminal, hidden else.
pub(super) fn progress(files: &[PathBuf]) -> ProgressBar {
    let bytes = read::bytes(files);
    if bytes < LARGE || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {bytes} of {total_bytes}, {eta} left");
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
