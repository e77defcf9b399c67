//! Parquet files of one shard: a folder for each hour and, in it, for each shard.
//!
//! ```text
//!   DIR/hour=2026-11-27T13/bucket=07/part-RUN.parquet
//! ```
//!
//! They are called `.part-RUN.parquet.part` until all of a run are complete: engines pass over names that begin
//! with a dot. RUN is the same for the same captures, so that who extracts them again has them once.

use std::fs::{self, File};
use std::mem;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;
use dnsalt_audit::state::{Extractor, Row};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::columns::{self, Rows};
use crate::check::packet::More;
use crate::check::read::{Batch, TakesPackets};
use crate::new_file::NewFile;
use dnsalt_audit::event::Event;

/// Rows that are given to the writer together.
const BATCH: usize = 8192;
/// Rows of a row group: what waits in memory for each file that is open.
const GROUP: usize = 1 << 16;
/// Hours that a shard has open at a time. Captures go on from hour to hour.
const OPEN: usize = 3;
const HOUR: u64 = 3_600_000_000_000;

/// Packets with what else they show.
#[derive(Default)]
pub(crate) struct Packets {
    events: Vec<Event>,
    more: Vec<More>,
}

impl Batch for Packets {
    #[inline]
    fn push(&mut self, event: Event, more: More) {
        self.events.push(event);
        self.more.push(more);
    }

    fn clear(&mut self) {
        self.events.clear();
        self.more.clear();
    }
}

/// The rows of one shard, into files.
pub(crate) struct Parts {
    extractor: Extractor<More>,
    files: Files,
}

struct Files {
    /// Where to, which shard it is, and what its files are called.
    dir: PathBuf,
    bucket: usize,
    name: String,
    open: Vec<Part>,
    complete: Vec<NewFile>,
    rows: u64,
    failed: Option<anyhow::Error>,
}

/// One file.
struct Part {
    hour: u64,
    rows: Rows,
    writer: ArrowWriter<File>,
    file: NewFile,
}

impl TakesPackets for Parts {
    type Batch = Packets;

    fn take(&mut self, packets: &Packets) {
        let Parts { extractor, files } = self;
        extractor.observe_all(&packets.events, &packets.more, &mut |row, more| {
            files.push(row, more);
        });
    }
}

impl Parts {
    pub(crate) fn new(dir: &Path, bucket: usize, run: &str) -> Self {
        Parts {
            extractor: Extractor::default(),
            files: Files {
                dir: dir.to_owned(),
                bucket,
                name: format!("part-{run}"),
                open: Vec::new(),
                complete: Vec::new(),
                rows: 0,
                failed: None,
            },
        }
    }

    pub(crate) fn failed(&self) -> bool {
        self.files.failed.is_some()
    }

    /// Completes all files: how many rows there are, and the files, which want their names.
    pub(crate) fn finish(mut self) -> anyhow::Result<(u64, Vec<NewFile>)> {
        let files = &mut self.files;
        self.extractor.finish(&mut |row, more| files.push(row, more));
        while files.failed.is_none() && !files.open.is_empty() {
            files.close(0);
        }
        match files.failed.take() {
            Some(error) => Err(error),
            None => Ok((files.rows, mem::take(&mut files.complete))),
        }
    }
}

impl Files {
    fn push(&mut self, row: &Row, more: More) {
        if self.failed.is_some() {
            return;
        }
        self.rows += 1;
        if let Err(error) = self.add(row, more) {
            self.failed = Some(error);
        }
    }

    fn add(&mut self, row: &Row, more: More) -> anyhow::Result<()> {
        let hour = row.time / HOUR;
        let at = match self.open.iter().position(|part| part.hour == hour) {
            Some(at) => at,
            None => self.begin(hour)?,
        };
        let part = &mut self.open[at];
        part.rows.push(row, more);
        if part.rows.len() == BATCH { part.write() } else { Ok(()) }
    }

    /// Begins a file for an hour; where it is among those that are open.
    fn begin(&mut self, hour: u64) -> anyhow::Result<usize> {
        if self.open.len() == OPEN {
            // That which has been open for longest.
            self.close(0);
        }
        let time = UNIX_EPOCH + Duration::from_nanos(hour * HOUR);
        let time = humantime::format_rfc3339_seconds(time).to_string();
        let bucket = self.bucket;
        let folder = self.dir.join(format!("hour={}/bucket={bucket:02}", &time[..13]));
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        // An hour that was closed may come again.
        let again = self.complete.iter().filter(|file| file.path().starts_with(&folder)).count();
        let again = if again == 0 { String::new() } else { format!("-{again}") };
        let path = folder.join(format!("{}{again}.parquet", self.name));
        let file = NewFile::hidden(&path).with_context(|| path.display().to_string())?;
        let to = file.file.try_clone().with_context(|| path.display().to_string())?;
        let writer = ArrowWriter::try_new(to, columns::schema(), Some(properties()))?;
        self.open.push(Part { hour, rows: Rows::default(), writer, file });
        Ok(self.open.len() - 1)
    }

    fn close(&mut self, at: usize) {
        match self.open.remove(at).finish() {
            Ok(file) => self.complete.push(file),
            Err(error) => self.failed = Some(error),
        }
    }
}

impl Part {
    fn write(&mut self) -> anyhow::Result<()> {
        let written = self.rows.finish().map_err(anyhow::Error::from);
        let written = written.and_then(|batch| Ok(self.writer.write(&batch)?));
        written.with_context(|| self.file.path().display().to_string())
    }

    fn finish(mut self) -> anyhow::Result<NewFile> {
        if self.rows.len() > 0 {
            self.write()?;
        }
        let named = || self.file.path().display().to_string();
        self.writer.close().with_context(named)?;
        Ok(self.file)
    }
}

fn properties() -> WriterProperties {
    let about = |key: &str, value: &str| KeyValue::new(key.to_owned(), value.to_owned());
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(GROUP))
        .set_created_by(format!("dnsalt version {}", env!("CARGO_PKG_VERSION")))
        .set_key_value_metadata(Some(vec![about("dnsalt.columns", columns::VERSION)]));
    // Numbers that hardly come twice have no use for a dictionary.
    for column in ["time_ns", "id", "question", "reply_delay_ns"] {
        let column = ColumnPath::from(column);
        properties = properties.set_column_dictionary_enabled(column.clone(), false);
        if column.string() == "time_ns" {
            properties = properties.set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
        }
    }
    properties.build()
}
