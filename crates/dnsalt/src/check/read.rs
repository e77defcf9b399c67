//! Capture files into shards, on one thread or several: those of the audit's state, or of an extract.
//!
//! ```text
//!   a stream:    records ──> events by shard
//!   a file:      stretches of it in parallel ──> events by shard
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

use super::packet::{More, Scope, Totals, event, seen};

/// Bytes that a thread reads at a time: enough for a shard to work on its events for a while, before the
/// next one wants the cache.
const STRETCH: usize = 4 << 20;
/// Bytes that several threads read together at a time: they wait for each other twice in every round, so
/// that few rounds are better. More would take more memory than it saves time.
const ROUND: usize = 64 << 20;
/// Packets of a stream that are handed on together.
const TOGETHER: usize = 1 << 14;

/// A file of which not everything could be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Loss {
    /// Which.
    pub(crate) file: String,
    /// What is wrong with it.
    pub(crate) why: String,
}

/// Packets of one shard, on their way to it.
pub(crate) trait Batch: Default + Send + Sync {
    /// Adds one.
    fn push(&mut self, event: Event, more: More);
    /// Forgets all, but keeps the memory.
    fn clear(&mut self);
}

impl Batch for Vec<Event> {
    #[inline]
    fn push(&mut self, event: Event, _: More) {
        Vec::push(self, event);
    }

    fn clear(&mut self) {
        Vec::clear(self);
    }
}

/// What takes the packets of some resolvers, and shares nothing with others of its kind.
pub(crate) trait TakesPackets: Send {
    /// How it gets them.
    type Batch: Batch;
    /// Takes them, in this order.
    fn take(&mut self, packets: &Self::Batch);
}

impl TakesPackets for Shard {
    type Batch = Vec<Event>;

    fn take(&mut self, packets: &Vec<Event>) {
        self.observe_all(packets);
    }
}

/// Where all packets go: [`SHARDS`] of them.
pub(crate) trait Shards {
    type Shard: TakesPackets;
    /// All of them.
    fn all(&mut self) -> &mut [Self::Shard];
    /// Whether it makes no sense to go on.
    fn broken(&self) -> bool {
        false
    }
}

impl Shards for State {
    type Shard = Shard;

    fn all(&mut self) -> &mut [Shard] {
        self.shards_mut()
    }
}

/// What was read so far.
#[derive(Debug)]
pub(crate) struct Reading<S = State> {
    /// What became of it.
    pub(crate) state: S,
    pub(crate) totals: Totals,
    /// Files that were read.
    pub(crate) files: u64,
    pub(crate) losses: Vec<Loss>,
    scope: Scope,
    threads: usize,
}

impl Reading {
    /// Takes notice of one packet.
    pub(crate) fn packet(&mut self, time: u64, link: dnsalt_wire::link::LinkType, frame: &[u8]) {
        if let Some(event) = event(time, link, frame, &self.scope, &mut self.totals) {
            self.state.observe(&event);
        }
    }
}

impl<S: Shards> Reading<S> {
    pub(crate) fn new(state: S, scope: Scope, threads: usize) -> Self {
        let totals = Totals::default();
        Reading { state, totals, files: 0, losses: Vec::new(), scope, threads }
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
        let mut shards = ByShard::<S>::default();
        let mut more = Ok(true);
        while matches!(more, Ok(true)) && !self.state.broken() {
            more = self.some(file, &mut shards);
            for (shard, packets) in self.state.all().iter_mut().zip(&mut shards) {
                shard.take(packets);
                packets.clear();
            }
            match file.progress() {
                (read, Some(_)) => bar.set_position(base + read),
                (_, None) => bar.tick(),
            }
        }
        more.map(drop)
    }

    /// Reads the next packets of a stream; whether there may be more.
    fn some(&mut self, file: &mut CaptureFile, shards: &mut ByShard<S>) -> Result<bool, FileError> {
        for _ in 0..TOGETHER {
            let Some(record) = file.next_record()? else { return Ok(false) };
            let found = seen(record.time, record.link, record.data, &self.scope, &mut self.totals);
            if let Some((event, more)) = found {
                shards[event.shard()].push(event, more);
            }
        }
        Ok(true)
    }

    fn rounds(&mut self, file: &mut CaptureFile, bar: &ProgressBar) {
        let base = bar.position();
        let scope = &self.scope;
        // Lists of events to fill again: new memory for every round would cost more than reading.
        let spare = Mutex::new(Vec::<ByShard<S>>::new());
        let spares = || spare.lock().unwrap_or_else(PoisonError::into_inner);
        let parse = |stretch: &mut dnsalt_capture::file::Stretch<'_>| {
            let mut totals = Totals::default();
            let mut shards = spares().pop().unwrap_or_default();
            while let Some(record) = stretch.next_record() {
                let found = seen(record.time, record.link, record.data, scope, &mut totals);
                if let Some((event, more)) = found {
                    shards[event.shard()].push(event, more);
                }
            }
            (totals, shards)
        };
        let several = (ROUND / self.threads.max(1)).max(STRETCH);
        let stretch = if self.threads > 1 { several } else { STRETCH };
        while !self.state.broken()
            && let Some(done) = file.round(self.threads, stretch, parse)
        {
            for (totals, _) in &done {
                self.totals += *totals;
            }
            let each = SHARDS.div_ceil(self.threads);
            std::thread::scope(|scope| {
                for (group, shards) in self.state.all().chunks_mut(each).enumerate() {
                    let done = &done;
                    let mut work = move || hand_over(shards, group * each, done);
                    // The last group is for this thread.
                    if (group + 1) * each < SHARDS {
                        scope.spawn(work);
                    } else {
                        work();
                    }
                }
            });
            for (_, mut shards) in done {
                shards.iter_mut().for_each(Batch::clear);
                spares().push(shards);
            }
            bar.set_position(base + file.progress().0);
        }
    }
}

/// The events of a stretch, for each shard.
type ByShard<S> = [<<S as Shards>::Shard as TakesPackets>::Batch; SHARDS];

/// Hands the events of some shards, of which the first is the `first`th, to them in order.
fn hand_over<T: TakesPackets>(
    shards: &mut [T],
    first: usize,
    done: &[(Totals, [T::Batch; SHARDS])],
) {
    for (i, shard) in shards.iter_mut().enumerate() {
        for (_, packets) in done {
            shard.take(&packets[first + i]);
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
