//! A mapped file, read by several threads.
//!
//! ```text
//!   round:  |-- stretch 0 --|-- stretch 1 --|-- stretch 2 --|
//!           exact           guess           guess
//! ```
//!
//! Records do not say where they begin, so the beginnings of all stretches but the first are guessed
//! from what looks like a row of records. A stretch counts if the one before it ended exactly where it
//! began, and nothing that follows depends on what the one before it learnt; else the next round
//! begins there. So a wrong guess costs time, never a record.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::format::{Format, Step};
use super::source::Source;
use super::{CaptureFile, Record};

/// Records in a row that make a guess.
const ROW: usize = 5;
/// A shorter stretch is not worth a thread.
const LEAST: usize = 1 << 20;
/// What a stretch is read by: half of a small second cache.
const CHUNK: usize = 256 << 10;
/// How far a guess looks: some of the largest packets.
const FARTHEST: usize = 256 << 10;

/// Part of a mapped file.
///
/// Its bytes are copied into a buffer that stays in the cache of the thread: that costs less than to
/// have every page mapped and unmapped, above all for several threads, which do that one at a time.
#[derive(Debug)]
pub struct Stretch<'a> {
    file: &'a File,
    /// Length of the file.
    total: usize,
    start: usize,
    at: usize,
    until: usize,
    format: Format,
    stopped: bool,
    /// Bytes of the file from `base` on, of which `filled` are good.
    buffer: Vec<u8>,
    base: usize,
    filled: usize,
}

impl Stretch<'_> {
    /// The next packet of the stretch.
    #[inline]
    pub fn next_record(&mut self) -> Option<Record<'_>> {
        let head = loop {
            if self.at >= self.until || self.stopped {
                return None;
            }
            match self.format.step(&self.buffer[self.at - self.base..self.filled]) {
                Step::Record(head) => break head,
                Step::Skip(length) => self.at += length,
                Step::Need(length) if self.fill(length) => {}
                Step::Need(_) | Step::Damaged(_) => self.stopped = true,
            }
        };
        let bytes = &self.buffer[self.at - self.base..];
        self.at += head.length;
        Some(Record {
            time: head.time,
            link: head.link,
            data: &bytes[head.data],
            wire_len: head.wire_len,
        })
    }

    /// Brings at least so many bytes from here on into the buffer; whether there are as many.
    #[cold]
    fn fill(&mut self, length: usize) -> bool {
        let rest = self.total - self.at;
        // A little beyond the end, as the last packet may reach further.
        let want = CHUNK.min(self.until - self.at).max(length).min(rest);
        if self.buffer.len() < want {
            self.buffer.resize(want, 0);
        }
        (self.base, self.filled) = (self.at, 0);
        while self.filled < want {
            let place = (self.base + self.filled) as u64;
            match self.file.read_at(&mut self.buffer[self.filled..want], place) {
                Ok(more @ 1..) => self.filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Cut short meanwhile, or unreadable: whoever reads on from here learns which.
                Ok(0) | Err(_) => break,
            }
        }
        self.filled >= length
    }
}

impl CaptureFile {
    /// Reads the next stretches of a mapped file, of about so many bytes, one on each thread, and returns what `work` made of
    /// each, in order. None when there are no more, or this is no mapped file: what is left, such as
    /// the end of a damaged file, is then for [`CaptureFile::next_record`].
    pub fn round<T: Send>(
        &mut self,
        threads: usize,
        stretch: usize,
        work: impl Fn(&mut Stretch<'_>) -> T + Sync,
    ) -> Option<Vec<T>> {
        let Source::Mapped { map, at, file, buffers } = &mut self.source else { return None };
        let mut stretches: Vec<Stretch<'_>> = split(map, *at, threads, stretch, &self.format)
            .into_iter()
            .map(|(start, until)| Stretch {
                file,
                total: map.len(),
                start,
                at: start,
                until,
                format: self.format.clone(),
                stopped: false,
                buffer: buffers.pop().unwrap_or_default(),
                base: start,
                filled: 0,
            })
            .collect();
        let results = std::thread::scope(|scope| {
            let (first, others) = stretches.split_first_mut()?;
            let running: Vec<_> =
                others.iter_mut().map(|stretch| scope.spawn(|| work(stretch))).collect();
            let mut results = vec![work(first)];
            for thread in running {
                // A panic of a worker is a panic of ours.
                results
                    .push(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            Some(results)
        })?;
        let mut good = 0;
        for stretch in &stretches {
            if stretch.start != *at || (good > 0 && stretches[good - 1].format != self.format) {
                break;
            }
            *at = stretch.at;
            good += 1;
        }
        let progress = stretches[0].at > stretches[0].start;
        self.format = stretches[good - 1].format.clone();
        buffers.extend(stretches.into_iter().map(|stretch| stretch.buffer));
        progress.then(|| results.into_iter().take(good).collect())
    }

    /// Bytes read so far, and bytes in all where that is known: of what lies on the disk for a mapped
    /// file, of what came out of any compression else.
    pub fn progress(&self) -> (u64, Option<u64>) {
        let read = self.source.position();
        (read, self.source.known_rest().map(|rest| read + rest))
    }
}

/// Where the stretches of a round begin and end, the first at the exact place.
fn split(
    bytes: &[u8],
    at: usize,
    threads: usize,
    length: usize,
    format: &Format,
) -> Vec<(usize, usize)> {
    // What is left at the end is shared out evenly, unless it is too little.
    let length = length.min((bytes.len() - at).div_ceil(threads.max(1)).max(LEAST));
    let mut starts = vec![at];
    for i in 1..threads {
        match guess(bytes, at + i * length, format) {
            Some(start) => starts.push(start),
            None => break,
        }
    }
    let end = (starts[starts.len() - 1] + length).min(bytes.len());
    let until: Vec<usize> = starts.iter().skip(1).copied().chain([end]).collect();
    starts.into_iter().zip(until).collect()
}

/// Where a row of records seems to begin.
fn guess(bytes: &[u8], from: usize, format: &Format) -> Option<usize> {
    let last = (from + FARTHEST).min(bytes.len());
    (from..last).find(|start| {
        let (mut at, mut before) = (*start, None);
        for _ in 0..ROW {
            let Some((length, seconds)) = bytes.get(at..).and_then(|b| format.plausible(b)) else {
                return false;
            };
            if before.is_some_and(|before: u32| seconds.abs_diff(before) > 3600) {
                return false;
            }
            before = Some(seconds);
            at += length;
        }
        true
    })
}
