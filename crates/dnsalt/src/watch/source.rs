//! Where samples come from: a thread for each interface, and one that looks what is installed.
//!
//! ```text
//!   lan0 ── Live ── read ──┐
//!   wan0 ── Live ── read ──┼── bounded channel ── Merge ── Model
//!   state, kernel ─ look ──┘
//! ```
//!
//! The channel is bounded: if the terminal does not take what we write, packets are lost in the
//! kernel, which counts them, and not kept in memory without end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use dnsalt_capture::{Live, PortFilter};
use dnsalt_wire::link::LinkType;

use super::merge::Merge;
use super::sample::{Protection, Sample, Seen};
use crate::check::packet::{Scope, Totals, event};

/// Samples that wait for the model.
const QUEUE: usize = 256;
/// Packets in a batch, and how long it is gathered.
const BATCH: usize = 1024;
const GATHER: Duration = Duration::from_millis(50);
/// How often lost packets are asked for, and an interface that went away is looked for.
const SECOND: Duration = Duration::from_secs(1);

/// Looks what is installed.
pub(crate) type Look = Box<dyn FnMut() -> Result<Protection, String> + Send>;

/// What is to be watched.
pub(crate) struct Wanted {
    /// Interfaces, by name.
    pub(crate) interfaces: Vec<String>,
    /// The ports that DNS is asked on.
    pub(crate) ports: Vec<u16>,
    /// How often to look what is installed.
    pub(crate) interval: Duration,
}

/// Samples as they come.
#[derive(Debug)]
pub(crate) struct Source {
    samples: Receiver<Sample>,
    merge: Merge,
    stop: Arc<AtomicBool>,
}

impl Source {
    /// Begins to watch; all interfaces have to be there now, and may go and come later.
    ///
    /// # Errors
    /// When one cannot be watched.
    pub(crate) fn start(wanted: &Wanted, look: Look) -> anyhow::Result<Self> {
        let filter = PortFilter::new(&wanted.ports)?;
        let (to, samples) = sync_channel(QUEUE);
        let stop = Arc::new(AtomicBool::new(false));
        let open = |name: &String| Live::open_ring(name, &filter).map(|live| (name.clone(), live));
        // First all of them: none is watched if one cannot be.
        let all = wanted.interfaces.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        for (name, live) in all {
            let scope = Scope::new(&wanted.ports);
            let (filter, to) = (filter.clone(), to.clone());
            let reader = Reader { name, filter, scope, to, stop: Arc::clone(&stop) };
            thread::Builder::new().name(reader.name.clone()).spawn(move || reader.run(live))?;
        }
        let (interval, flag) = (wanted.interval, Arc::clone(&stop));
        let looking = move || look_again_and_again(look, interval, &to, &flag);
        thread::Builder::new().name("look".to_owned()).spawn(looking)?;
        Ok(Source { samples, merge: Merge::default(), stop })
    }

    /// What came since the last time; `now` in nanoseconds since 1970.
    ///
    /// # Errors
    /// When nothing will come any more.
    pub(crate) fn take(&mut self, now: u64) -> anyhow::Result<Vec<Sample>> {
        let mut samples = Vec::new();
        // As much as was waiting, so that keys are looked at however much comes.
        for _ in 0..QUEUE {
            match self.samples.try_recv() {
                Ok(Sample::Packets(batch)) => self.merge.push(batch),
                Ok(sample) => samples.push(sample),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => anyhow::bail!("watching stopped unexpectedly"),
            }
        }
        let packets = self.merge.release(now);
        if !packets.is_empty() {
            samples.push(Sample::Packets(packets));
        }
        Ok(samples)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Nobody wants samples any more.
struct Over;

/// Reads one interface.
struct Reader {
    name: String,
    filter: PortFilter,
    scope: Scope,
    to: SyncSender<Sample>,
    stop: Arc<AtomicBool>,
}

impl Reader {
    /// Until nobody wants it any more. An interface that goes away may come again: a link that is
    /// dialled anew does.
    fn run(self, mut live: Live) {
        while let Ok(why) = self.read(&mut live) {
            if self.send(Sample::Interface(self.name.clone(), Some(why))).is_err() {
                return;
            }
            live = loop {
                thread::sleep(SECOND);
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                if let Ok(live) = Live::open_ring(&self.name, &self.filter) {
                    break live;
                }
            };
            if self.send(Sample::Interface(self.name.clone(), None)).is_err() {
                return;
            }
        }
    }

    /// Sends packets on until the interface fails; why it did.
    fn read(&self, live: &mut Live) -> Result<String, Over> {
        let (mut batch, mut lost) = (Vec::new(), 0);
        let (mut sent, mut asked) = (Instant::now(), Instant::now());
        while !self.stop.load(Ordering::Relaxed) {
            match live.next(GATHER) {
                Ok(Some(frame)) => batch.extend(seen(&frame, &self.scope)),
                Ok(None) => {}
                Err(error) => return Ok(error.to_string()),
            }
            if batch.len() >= BATCH || sent.elapsed() >= GATHER {
                sent = Instant::now();
                if !batch.is_empty() {
                    self.send(Sample::Packets(std::mem::take(&mut batch)))?;
                }
            }
            if asked.elapsed() >= SECOND {
                asked = Instant::now();
                match live.drops() {
                    Ok(drops) if drops > lost => {
                        self.send(Sample::Missed(drops - lost))?;
                        lost = drops;
                    }
                    Ok(_) => {}
                    Err(error) => return Ok(error.to_string()),
                }
            }
        }
        Err(Over)
    }

    fn send(&self, sample: Sample) -> Result<(), Over> {
        self.to.send(sample).map_err(|_| Over)
    }
}

fn seen(frame: &dnsalt_capture::Frame<'_>, scope: &Scope) -> Option<Seen> {
    let time = frame.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let time = u64::try_from(time).unwrap_or(u64::MAX);
    let event = event(time, LinkType::RAW, frame.data, scope, &mut Totals::default())?;
    let outgoing = frame.direction == dnsalt_capture::Direction::Outgoing;
    Some(Seen { event, outgoing })
}

/// Looks at intervals, and so seldom that it takes a tenth of one processor at most: with the nat
/// engine each look runs `nft` and lists conntrack.
fn look_again_and_again(
    mut look: Look,
    interval: Duration,
    to: &SyncSender<Sample>,
    stop: &AtomicBool,
) {
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        if to.send(Sample::Protection(look().map(Box::new))).is_err() {
            return;
        }
        thread::sleep(interval.max(begun.elapsed() * 9));
    }
}
