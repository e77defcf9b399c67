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

use super::format::{Format, Step};
use super::source::Source;
use super::{CaptureFile, Record};

/// Records in a row that make a guess.
const ROW: usize = 5;
/// How far a guess looks: some of the largest packets.
const FARTHEST: usize = 256 << 10;

/// Part of a mapped file.
#[derive(Debug)]
pub struct Stretch<'a> {
    bytes: &'a [u8],
    start: usize,
    at: usize,
    until: usize,
    format: Format,
    stopped: bool,
}

impl<'a> Stretch<'a> {
    /// The next packet of the stretch.
    pub fn next_record(&mut self) -> Option<Record<'a>> {
        while self.at < self.until && !self.stopped {
            let bytes = &self.bytes[self.at..];
            match self.format.step(bytes) {
                Step::Record(head) => {
                    self.at += head.length;
                    return Some(Record {
                        time: head.time,
                        link: head.link,
                        data: &bytes[head.data],
                        wire_len: head.wire_len,
                    });
                }
                Step::Skip(length) => self.at += length,
                Step::Need(_) | Step::Damaged(_) => self.stopped = true,
            }
        }
        None
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
        let Source::Mapped { map, at } = &mut self.source else { return None };
        let bytes: &[u8] = map;
        let mut stretches = split(bytes, *at, threads, stretch, &self.format);
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
        progress.then(|| results.into_iter().take(good).collect())
    }

    /// Bytes read so far, and bytes in all where that is known: of what lies on the disk for a mapped
    /// file, of what came out of any compression else.
    pub fn progress(&self) -> (u64, Option<u64>) {
        let read = self.source.position();
        (read, self.source.known_rest().map(|rest| read + rest))
    }
}

/// Stretches for a round, the first at the exact place.
fn split<'a>(
    bytes: &'a [u8],
    at: usize,
    threads: usize,
    length: usize,
    format: &Format,
) -> Vec<Stretch<'a>> {
    let mut starts = vec![at];
    for i in 1..threads {
        match guess(bytes, at + i * length, format) {
            Some(start) => starts.push(start),
            None => break,
        }
    }
    let end = (starts[starts.len() - 1] + length).min(bytes.len());
    let until: Vec<usize> = starts.iter().skip(1).copied().chain([end]).collect();
    let stretch = |(start, until): (usize, usize)| Stretch {
        bytes,
        start,
        at: start,
        until,
        format: format.clone(),
        stopped: false,
    };
    starts.into_iter().zip(until).map(stretch).collect()
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
