//! Good ports and IDs: nobody may be accused of these.

use crate::world::queries;
use crate::{Flaw, Subject};

const fn good(
    name: &'static str,
    what: &'static str,
    make: fn(u64, usize) -> Vec<crate::Sample>,
) -> Flaw {
    Flaw { name, what, subject: Subject::Neither, samples: 26, make }
}

pub(crate) const STRONG: &[Flaw] = &[
    good("all-ports", "64,512 ports, 65,536 IDs, from ChaCha", |seed, n| {
        queries(seed, n, |chance, _, _| (chance.port(true), chance.u16()))
    }),
    good("linux-ports", "28,232 ports, 65,536 IDs, from ChaCha", |seed, n| {
        queries(seed, n, |chance, _, _| (chance.port(false), chance.u16()))
    }),
    good(
        "rfc6056-alg1",
        "RFC 6056 algorithm 1: random, the next one if it is in use",
        |seed, n| {
            let mut recent = std::collections::VecDeque::new();
            queries(seed, n, |chance, _, _| {
                let mut port = chance.port(true);
                while recent.contains(&port) {
                    port = port.checked_add(1).unwrap_or(1024);
                }
                recent.push_back(port);
                if recent.len() > 64 {
                    recent.pop_front();
                }
                (port, chance.u16())
            })
        },
    ),
    good("none-in-flight", "no port and no ID that is in flight", |seed, n| {
        let (mut ports, mut ids) = (vec![false; 1 << 16], vec![false; 1 << 16]);
        let mut recent = std::collections::VecDeque::new();
        queries(seed, n, |chance, _, _| {
            loop {
                let (port, id) = (chance.port(false), chance.u16());
                if ports[usize::from(port)] || ids[usize::from(id)] {
                    continue;
                }
                (ports[usize::from(port)], ids[usize::from(id)]) = (true, true);
                recent.push_back((port, id));
                if recent.len() > 64
                    && let Some((port, id)) = recent.pop_front()
                {
                    (ports[usize::from(port)], ids[usize::from(id)]) = (false, false);
                }
                return (port, id);
            }
        })
    }),
    good("avoids-some", "all ports but a few that others use", |seed, n| {
        queries(seed, n, |chance, _, _| {
            loop {
                let port = chance.port(true);
                if ![4789, 4791, 8472, 11_211].contains(&port) {
                    return (port, chance.u16());
                }
            }
        })
    }),
];
