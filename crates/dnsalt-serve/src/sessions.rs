//! All tests of the last hour, so many as there is room for; the one that was asked least lately gives way.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use lru::LruCache;

use crate::query::NANOSECONDS;
use crate::session::Session;
use crate::token::Body;

/// Parts that are locked by themselves.
const PARTS: usize = 64;
/// Nanoseconds that a test is kept.
pub(crate) const LIFETIME: u64 = 3600 * NANOSECONDS;

/// A part: the tests in the order of their use.
type Part = Mutex<LruCache<Body, Box<Session>>>;

/// The tests.
#[derive(Debug)]
pub(crate) struct Sessions {
    parts: Box<[Part]>,
}

impl Sessions {
    /// With room for so many, or a few more.
    pub(crate) fn new(most: usize) -> Self {
        let each = NonZeroUsize::new(most.div_ceil(PARTS)).unwrap_or(NonZeroUsize::MIN);
        Sessions { parts: (0..PARTS).map(|_| Mutex::new(LruCache::new(each))).collect() }
    }

    /// Looks at a test, if it is there and not over.
    pub(crate) fn look<T>(
        &self,
        body: Body,
        now: u64,
        look: impl FnOnce(&mut Session) -> T,
    ) -> Option<T> {
        let mut part = self.part(body);
        let session = part.get_mut(&body)?;
        (now.saturating_sub(session.begun) < LIFETIME).then(|| look(session))
    }

    /// The same of a test that begins if it is not there. Whether it began, and whether one gave way to it.
    pub(crate) fn open<T>(
        &self,
        body: Body,
        now: u64,
        look: impl FnOnce(&mut Session) -> T,
    ) -> (T, Opened) {
        let mut part = self.part(body);
        if let Some(session) = part.get_mut(&body)
            && now.saturating_sub(session.begun) < LIFETIME
        {
            return (look(session), Opened::Known);
        }
        let mut session = Box::new(Session::new(now));
        let result = look(&mut session);
        let gone = part.push(body, session);
        let opened = match gone {
            Some((other, _)) if other != body => Opened::InPlaceOfAnother,
            _ => Opened::New,
        };
        (result, opened)
    }

    /// Forgets what is over.
    pub(crate) fn expire(&self, now: u64) {
        for part in &self.parts {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            let over = part.iter().filter(|(_, one)| now.saturating_sub(one.begun) >= LIFETIME);
            let over: Vec<Body> = over.map(|(body, _)| *body).collect();
            for body in over {
                part.pop(&body);
            }
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        let count = |part: &Part| part.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.parts.iter().map(count).sum()
    }

    fn part(&self, body: Body) -> std::sync::MutexGuard<'_, LruCache<Body, Box<Session>>> {
        // Bodies are drawn at random, or by a keyed hash.
        let part = &self.parts[body as usize % PARTS];
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a test that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    /// It was there.
    Known,
    /// It began.
    New,
    /// It began, and another was forgotten for it.
    InPlaceOfAnother,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::asked;
    use crate::session::{Asked, MOST_SAMPLES};

    #[test]
    fn there_is_room_for_so_many_and_the_oldest_gives_way() {
        let sessions = Sessions::new(128);
        let open = |body, now| sessions.open(body, now, |session| session.ask(&asked(0, 1, 1)));
        for body in 0..128 {
            assert_eq!(open(body, 1), (0, Opened::New));
        }
        assert_eq!(open(0, 1), (1, Opened::Known));
        assert_eq!(open(128, 1), (0, Opened::InPlaceOfAnother));
        // 64 was asked less lately than 0.
        assert_eq!(sessions.len(), 128);
        assert!(sessions.look(0, 1, |_| ()).is_some() && sessions.look(64, 1, |_| ()).is_none());
    }

    #[test]
    fn after_an_hour_nothing_is_left() {
        let sessions = Sessions::new(1000);
        for body in 0..1000 {
            sessions.open(body, body, |_| ());
        }
        assert!(sessions.look(3, LIFETIME + 3, |_| ()).is_none());
        assert!(sessions.look(4, LIFETIME + 3, |_| ()).is_some());
        sessions.expire(LIFETIME + 499);
        assert_eq!(sessions.len(), 500);
        // What is over begins anew.
        assert_eq!(sessions.open(600, 2 * LIFETIME, |_| ()).1, Opened::New);
        assert_eq!(sessions.len(), 500);
    }

    /// In kB; of the whole process, so that what other tests take meanwhile counts as well.
    fn resident() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn a_hundred_thousand_full_tests_take_less_than_500_mb() {
        let before = resident();
        let sessions = Sessions::new(100_000);
        for body in 0..100_000 {
            sessions.open(body, 1, |session| {
                for n in 0..MOST_SAMPLES {
                    let n = u16::try_from(n).unwrap();
                    session.ask(&Asked { name: u32::from(n % 64), ..asked(n, n, n) });
                }
            });
        }
        let taken = (resident() - before) / 1000;
        println!("{taken} MB");
        assert!(taken < 500, "{taken} MB");
        // Bodies fall into parts by chance where they are drawn; here evenly.
        assert_eq!(sessions.len(), 100_000);
        let kept = sessions.look(99_999, 1, |session| session.samples.len());
        assert_eq!(kept, Some(MOST_SAMPLES));
    }
}
