//! IDs that count.

use crate::world::{ids, ports, start};
use crate::{Flaw, Subject};

const fn id(name: &'static str, what: &'static str, samples: usize, make: Make) -> Flaw {
    Flaw { name, what, subject: Subject::Id, samples, make }
}

type Make = fn(u64, usize) -> Vec<crate::Sample>;

pub(crate) const FLAWS: &[Flaw] = &[
    Flaw {
        name: "fixed-port",
        what: "one port for all: BIND with query-source port, netty, evdns, udns, haproxy, nginx",
        subject: Subject::Port,
        samples: 5,
        make: |seed, n| {
            let port = start(seed).port(true);
            ports(seed, n, |_, _, _| port)
        },
    },
    id("constant-id", "one ID for all", 5, |seed, n| {
        let id = start(seed).u16();
        ids(seed, n, |_| id)
    }),
    id(
        "sequential-id",
        "BIND 4, Windows NT, Erlang (CVE-2026-28810), uClibc (CVE-2022-30295), adns",
        10,
        |seed, n| {
            let mut id = start(seed).u16();
            ids(seed, n, |_| {
                id = id.wrapping_add(1);
                id
            })
        },
    ),
    id("sequential-id-65535", "(id + 1) % 65535: dns-socket", 10, |seed, n| {
        let mut id = u32::from(start(seed).u16());
        ids(seed, n, |_| {
            id = (id + 1) % 65_535;
            id as u16
        })
    }),
    id("counter-with-gaps", "a counter that others use too: up by 1 to 200", 26, |seed, n| {
        let mut id = start(seed).u16();
        ids(seed, n, |chance| {
            id = id.wrapping_add(1 + chance.below(200) as u16);
            id
        })
    }),
    id("stride-7727", "up by 7727: iodine", 10, |seed, n| {
        let mut id = start(seed).u16();
        ids(seed, n, |_| {
            id = id.wrapping_add(7727);
            id
        })
    }),
    id("byte-swapped-counter", "a counter without htons()", 26, |seed, n| {
        let mut id = start(seed).u16();
        ids(seed, n, |_| {
            id = id.wrapping_add(1);
            id.swap_bytes()
        })
    }),
    id(
        "ms-dns-client",
        "the Windows DNS client before MS08-020, as Amit Klein published it",
        50,
        |seed, n| {
            let mut chance = start(seed);
            let (mut sum, mut count, clock) = (chance.u16(), chance.u16(), chance.u16());
            let mut ticks = 0_u32;
            ids(seed, n, |chance| {
                // GetTickCount() moves in steps of a few milliseconds.
                ticks = ticks.wrapping_add(10 * (1 + chance.below(3)));
                count = count.wrapping_add(1);
                let w = (ticks as u16).wrapping_add(clock).wrapping_add(count);
                sum = sum.wrapping_add(w % 487).wrapping_add(1);
                sum ^ w
            })
        },
    ),
];
