//! IDs that are read off a clock.

use crate::world::{Sample, queries, start};
use crate::{Flaw, Subject};

/// Queries whose ID follows from the time at which it was made, a little before the query was seen.
fn clock(seed: u64, n: usize, id: impl Fn(u64) -> u16) -> Vec<Sample> {
    queries(seed, n, |chance, time, _| {
        let delay = 3_000 + u64::from(chance.below(12_000));
        (chance.port(false), id(time - delay))
    })
}

pub(crate) const FLAWS: &[Flaw] = &[Flaw {
    name: "musl-stub",
    what: "musl's stub resolver: nanoseconds of the clock",
    subject: Subject::Id,
    samples: 60,
    make: |seed, n| {
        clock(seed, n, |time| {
            let nanoseconds = time % 1_000_000_000;
            (nanoseconds + nanoseconds / 65_536) as u16
        })
    },
}];

const GLIBC: Flaw = Flaw {
    name: "glibc-stub",
    what: "the GNU C library's stub resolver: nanoseconds and seconds since boot, folded",
    subject: Subject::Id,
    samples: 200,
    make: |seed, n| clock(seed, n, glibc_id(seed)),
};

/// Seen with a deep search only.
pub(crate) const DEEP: &[Flaw] = &[GLIBC];

fn glibc_id(seed: u64) -> impl Fn(u64) -> u16 {
    let boot = start(seed).u64() % 8_000_000_000_000_000;
    let origin = 1_767_225_600_000_000_000;
    move |time| {
        let up = time - origin + boot;
        let r = (up % 1_000_000_000) as u32 ^ (up / 1_000_000_000) as u32;
        let r = r ^ r.rotate_left(24);
        (r as u16).swap_bytes()
    }
}
