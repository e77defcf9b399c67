//! Capture files into Parquet.

use std::fs::File;
use std::hash::Hasher as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use dnsalt_audit::state::SHARDS;
use indicatif::ProgressBar;
use serde::Serialize;
use twox_hash::XxHash64;

use super::columns::VERSION;
use super::parts::Parts;
use crate::check::packet::{Scope, Totals};
use crate::check::read::{Loss, Reading, Shards};
use crate::clock::since_1970;

/// Bytes at the beginning of a capture that tell it from others.
const HEAD: u64 = 1 << 16;

/// What was done.
#[derive(Debug, Serialize)]
pub(crate) struct Extracted {
    /// Rows that were written.
    pub(crate) rows: u64,
    /// Parquet files.
    pub(crate) files: usize,
    /// The version of the columns.
    pub(crate) columns: &'static str,
    /// What became of the packets.
    pub(crate) totals: Totals,
    /// Captures that could not be read, or not to their end.
    pub(crate) losses: Vec<Loss>,
}

struct Everywhere(Vec<Parts>);

impl Shards for Everywhere {
    type Shard = Parts;

    fn all(&mut self) -> &mut [Parts] {
        &mut self.0
    }

    fn broken(&self) -> bool {
        self.0.iter().any(Parts::failed)
    }
}

/// Reads captures, writes all rows, and gives the files their names when all of them are complete.
pub(crate) fn extract(
    captures: &[PathBuf],
    dir: &Path,
    scope: Scope,
    options: &str,
    threads: usize,
    bar: &ProgressBar,
) -> anyhow::Result<Extracted> {
    let run = run(captures, options);
    let parts = (0..SHARDS).map(|bucket| Parts::new(dir, bucket, &run)).collect();
    let mut reading = Reading::new(Everywhere(parts), scope, threads);
    for capture in captures {
        reading.file(capture, bar);
    }
    let (mut rows, mut complete) = (0, Vec::new());
    for parts in reading.state.0 {
        let (some, files) = parts.finish()?;
        rows += some;
        complete.extend(files);
    }
    let files = complete.len();
    for file in complete {
        let path = file.path().display().to_string();
        file.finish().with_context(|| path)?;
    }
    let (totals, losses) = (reading.totals, reading.losses);
    Ok(Extracted { rows, files, columns: VERSION, totals, losses })
}

/// What the files of these captures are called: the same for the same bytes and options. A stream is new
/// each time.
fn run(captures: &[PathBuf], options: &str) -> String {
    let mut hash = XxHash64::with_seed(0);
    hash.write(VERSION.as_bytes());
    hash.write(options.as_bytes());
    for capture in captures {
        if let Some((length, head)) = beginning(capture) {
            hash.write_u64(length);
            hash.write(&head);
        } else {
            hash.write_u128(since_1970().as_nanos());
            hash.write_u32(std::process::id());
        }
    }
    format!("{:016x}", hash.finish())
}

/// How long a file is, and how it begins; none of what is no plain file.
fn beginning(path: &Path) -> Option<(u64, Vec<u8>)> {
    let file = File::open(path).ok()?;
    let data = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head).ok()?;
    Some((data.len(), head))
}
