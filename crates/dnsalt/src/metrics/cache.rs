//! Something that takes time to read, read seldom, and never waited for without end.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What was read last. One reading is under way at a time, on a thread of its own, so that one that hangs
/// (a firewall's command, a lock) holds up neither scrapes nor anything else.
pub(super) struct Cache<T> {
    shared: Arc<Shared<T>>,
    limits: Limits,
}

/// For how long what was read counts as new: [`SHARE`] times as long as reading it took, within these.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) least: Duration,
    pub(super) most: Duration,
}

/// Reading takes a twentieth of the time at most, however often is asked, and however slow it is.
const SHARE: u32 = 20;

struct Shared<T> {
    read: Box<dyn Fn() -> T + Send + Sync>,
    slot: Mutex<Slot<T>>,
    done: Condvar,
}

struct Slot<T> {
    latest: Option<Read<T>>,
    under_way: bool,
}

/// Something that was read, and when that was done.
#[derive(Debug)]
pub(super) struct Read<T> {
    pub(super) value: Arc<T>,
    pub(super) at: Instant,
    pub(super) took: Duration,
}

impl<T> Clone for Read<T> {
    fn clone(&self) -> Self {
        Read { value: Arc::clone(&self.value), at: self.at, took: self.took }
    }
}

impl<T> Read<T> {
    fn is_fresh(&self, limits: Limits) -> bool {
        self.at.elapsed() < (self.took * SHARE).clamp(limits.least, limits.most)
    }
}

impl<T: Send + Sync + 'static> Cache<T> {
    pub(super) fn new(limits: Limits, read: impl Fn() -> T + Send + Sync + 'static) -> Self {
        let slot = Mutex::new(Slot { latest: None, under_way: false });
        Cache {
            shared: Arc::new(Shared { read: Box::new(read), slot, done: Condvar::new() }),
            limits,
        }
    }

    /// What was read last; read anew if that is no longer fresh. After `patience` the old one, or none if
    /// there never was any.
    pub(super) fn get(&self, patience: Duration) -> Option<Read<T>> {
        let shared = &self.shared;
        let mut slot = shared.lock();
        if let Some(latest) = &slot.latest
            && latest.is_fresh(self.limits)
        {
            return Some(latest.clone());
        }
        if !slot.under_way {
            let reader = Arc::clone(shared);
            // A new thread is in the network namespace of the one that makes it.
            let started =
                thread::Builder::new().name("reader".to_owned()).spawn(move || read(&reader));
            slot.under_way = started.is_ok();
        }
        let waiting = |slot: &mut Slot<T>| slot.under_way;
        let waited = shared.done.wait_timeout_while(slot, patience, waiting);
        let (slot, _) = waited.unwrap_or_else(PoisonError::into_inner);
        slot.latest.clone()
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read<T>(shared: &Shared<T>) {
    /// However the reading ends, another one can begin.
    struct Done<'a, T>(&'a Shared<T>);
    impl<T> Drop for Done<'_, T> {
        fn drop(&mut self) {
            self.0.lock().under_way = false;
            self.0.done.notify_all();
        }
    }
    let done = Done(shared);
    let began = Instant::now();
    let value = Arc::new((shared.read)());
    let (at, took) = (Instant::now(), began.elapsed());
    shared.lock().latest = Some(Read { value, at, took });
    drop(done);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc::channel;

    const LONG: Duration = Duration::from_secs(60);
    const FOREVER: Limits = Limits { least: LONG, most: LONG };
    const NEVER: Limits = Limits { least: Duration::ZERO, most: Duration::ZERO };

    #[test]
    fn many_ask_and_one_reads() {
        let count = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&count);
        let cache = Cache::new(FOREVER, move || {
            thread::sleep(Duration::from_millis(50));
            counted.fetch_add(1, Ordering::Relaxed)
        });
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| assert_eq!(*cache.get(LONG).unwrap().value, 0));
            }
        });
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_reading_that_hangs_is_not_waited_for() {
        let (go, wait) = channel::<u32>();
        let wait = Mutex::new(wait);
        let cache = Cache::new(NEVER, move || wait.lock().unwrap().recv().unwrap());
        let short = Duration::from_millis(20);
        assert!(cache.get(short).is_none());
        assert!(cache.get(short).is_none());
        // One that is over when it is asked for begins another, which hangs: so not for long.
        let becomes = |wanted| {
            let deadline = Instant::now() + LONG;
            while cache.get(short).is_none_or(|read| *read.value != wanted) {
                assert!(Instant::now() < deadline, "{wanted}");
            }
        };
        go.send(1).unwrap();
        becomes(1);
        let old = cache.get(short).unwrap();
        assert_eq!(*old.value, 1, "better old than none");
        go.send(2).unwrap();
        becomes(2);
    }

    #[test]
    fn what_takes_long_is_done_seldom() {
        let limits = Limits { least: Duration::from_secs(1), most: Duration::from_secs(10) };
        for (took, fresh) in [(0, 1_000), (49, 1_000), (200, 4_000), (3_000, 10_000)] {
            let read = |age| Read {
                value: Arc::new(()),
                at: Instant::now().checked_sub(Duration::from_millis(age)).unwrap(),
                took: Duration::from_millis(took),
            };
            assert!(read(fresh - 500).is_fresh(limits), "{took}");
            assert!(!read(fresh).is_fresh(limits), "{took}");
        }
    }

    #[test]
    fn a_reading_that_panics_is_tried_again() {
        let count = AtomicU32::new(0);
        let cache = Cache::new(FOREVER, move || {
            assert!(count.fetch_add(1, Ordering::Relaxed) > 0, "the first one fails");
        });
        assert!(cache.get(LONG).is_none());
        assert!(cache.get(LONG).is_some());
    }
}
