//! Capture files into the state of the audit, on one thread or several.
//!
//! ```text
//!   one thread:  record ──> event ──> state
//!   several:     stretches of the file in parallel ──> events by shard
//!                shards in parallel, each takes its events in the order of the file
//! ```
//!
//! The shards are the same whatever the number of threads, so the result is as well.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use dnsalt_audit::event::Event;
use dnsalt_audit::state::{SHARDS, Shard, State};
use dnsalt_capture::file::{CaptureFile, FileError};
use indicatif::ProgressBar;
use serde::Serialize;

use super::packet::{Scope, Totals, event};

/// Bytes that a thread reads at a time: enough for a shard to work on its events for a while, before the
/// next one wants the cache.
const STRETCH: usize = 4 << 20;
/// Bytes that several threads read together at a time: they wait for each other twice in every round, so
/// that few rounds are better. More would take more memory than it saves time.
const ROUND: usize = 64 << 20;
/// Packets after which the progress bar moves.
const TICK: u64 = 1 << 17;

/// A file of which not everything could be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Loss {
    /// Which.
    pub(crate) file: String,
    /// What is wrong with it.
    pub(crate) why: String,
}

/// What was read so far.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) state: State,
    pub(crate) totals: Totals,
    /// Files that were read.
    pub(crate) files: u64,
    pub(crate) losses: Vec<Loss>,
    scope: Scope,
    threads: usize,
}

impl Reading {
    pub(crate) fn new(scope: Scope, threads: usize) -> Self {
        let (state, totals) = (State::default(), Totals::default());
        Reading { state, totals, files: 0, losses: Vec::new(), scope, threads }
    }

    /// Takes notice of one packet.
    pub(crate) fn packet(&mut self, time: u64, link: dnsalt_wire::link::LinkType, frame: &[u8]) {
        if let Some(event) = event(time, link, frame, &self.scope, &mut self.totals) {
            self.state.observe(&event);
        }
    }

    /// Reads a file, or standard input for `-`. A file that cannot be read is noted as a loss.
    pub(crate) fn file(&mut self, path: &Path, bar: &ProgressBar) {
        let opened = if path == Path::new("-") {
            CaptureFile::of_stream("standard input", io::stdin())
        } else {
            CaptureFile::open(path)
        };
        match opened.and_then(|mut file| self.records(&mut file, bar).map(|()| file)) {
            Ok(file) => {
                self.files += 1;
                if let Some(damage) = file.damage() {
                    self.lose(path, damage.to_string());
                }
            }
            Err(FileError::Io { cause, .. }) => self.lose(path, cause.to_string()),
            Err(FileError::NotACapture { .. }) => {
                self.lose(path, "not a capture file (pcap or pcapng, plain, .gz or .zst)".into());
            }
            Err(other) => self.lose(path, other.to_string()),
        }
    }

    fn lose(&mut self, path: &Path, why: String) {
        let file = if path == Path::new("-") {
            "standard input".into()
        } else {
            path.display().to_string()
        };
        self.losses.push(Loss { file, why });
    }

    fn records(&mut self, file: &mut CaptureFile, bar: &ProgressBar) -> Result<(), FileError> {
        let base = bar.position();
        self.rounds(file, bar);
        let mut next_tick = self.totals.packets + TICK;
        while let Some(record) = file.next_record()? {
            if let Some(event) =
                event(record.time, record.link, record.data, &self.scope, &mut self.totals)
            {
                self.state.observe(&event);
            }
            if self.totals.packets >= next_tick {
                next_tick += TICK;
                if file.progress().1.is_some() {
                    bar.set_position(base + file.progress().0);
                } else {
                    bar.tick();
                }
            }
        }
        if let (read, Some(_)) = file.progress() {
            bar.set_position(base + read);
        }
        Ok(())
    }

    fn rounds(&mut self, file: &mut CaptureFile, bar: &ProgressBar) {
        let base = bar.position();
        let scope = &self.scope;
        // Lists of events to fill again: new memory for every round would cost more than reading.
        let spare = Mutex::new(Vec::<ByShard>::new());
        let spares = || spare.lock().unwrap_or_else(PoisonError::into_inner);
        let parse = |stretch: &mut dnsalt_capture::file::Stretch<'_>| {
            let mut totals = Totals::default();
            let mut shards = spares().pop().unwrap_or_default();
            while let Some(record) = stretch.next_record() {
                let found = event(record.time, record.link, record.data, scope, &mut totals);
                if let Some(event) = found {
                    shards[event.shard()].push(event);
                }
            }
            (totals, shards)
        };
        let several = (ROUND / self.threads.max(1)).max(STRETCH);
        let stretch = if self.threads > 1 { several } else { STRETCH };
        while let Some(done) = file.round(self.threads, stretch, parse) {
            for (totals, _) in &done {
                self.totals += *totals;
            }
            let each = SHARDS.div_ceil(self.threads);
            std::thread::scope(|scope| {
                for (group, shards) in self.state.shards_mut().chunks_mut(each).enumerate() {
                    let done = &done;
                    let mut work = move || observe(shards, group * each, done);
                    // The last group is for this thread.
                    if (group + 1) * each < SHARDS {
                        scope.spawn(work);
                    } else {
                        work();
                    }
                }
            });
            for (_, mut shards) in done {
                shards.iter_mut().for_each(Vec::clear);
                spares().push(shards);
            }
            bar.set_position(base + file.progress().0);
        }
    }
}

/// The events of a stretch, for each shard.
type ByShard = [Vec<Event>; SHARDS];

/// Hands the events of some shards, of which the first is the `first`th, to them in order.
fn observe(shards: &mut [Shard], first: usize, done: &[(Totals, ByShard)]) {
    for (i, shard) in shards.iter_mut().enumerate() {
        for (_, events) in done {
            shard.observe_all(&events[first + i]);
        }
    }
}

/// The files to read: those named, and those in folders that are named, in the order of their names.
///
/// # Errors
/// When a folder cannot be read, or has no files.
pub(crate) fn list(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            files.push(path.clone());
            continue;
        }
        let named = |error: io::Error| format!("{}: {error}", path.display());
        // What is not there is told when it is opened, and the others are read all the same.
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut inside = Vec::new();
        for entry in fs::read_dir(path).map_err(named)? {
            let file = entry.map_err(named)?.path();
            if file.is_file() {
                inside.push(file);
            }
        }
        if inside.is_empty() {
            return Err(format!("{}: no files in this folder", path.display()));
        }
        inside.sort();
        files.append(&mut inside);
    }
    Ok(files)
}

/// Bytes of all files on the disk; none if one of them is a stream or compressed, so that nobody knows
/// how much is to come.
pub(crate) fn bytes(files: &[PathBuf]) -> u64 {
    files.iter().filter_map(|file| fs::metadata(file).ok()).map(|data| data.len()).sum()
}
