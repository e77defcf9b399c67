//! The tables of the engine in plain memory, with a clock that tests set.

#![allow(dead_code, reason = "each of the tests uses some of it")]

use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use dnsalt_salt::case::Nonce;
use dnsalt_salt::cookies;
use dnsalt_salt::edns::{Added, Brought};
use dnsalt_salt::egress::{self, Query, Salt};
use dnsalt_salt::ingress::{self, Origin, Reply};
use dnsalt_salt::layout::{
    COOKIES, COUNTERS, Config, Cookie, Counter, Event, HABITS, Habit, NEAR, PASSED, RECENT, Range,
    Recent, SERVERS, SLOTS, Server, Slot, Suffix, TAKEN,
};
use dnsalt_salt::question::Question;
use dnsalt_salt::siphash::draw;
use dnsalt_salt::word::Word32;
use dnsalt_salt::{Address, Draw, Tables};

pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) time: AtomicU64,
    pub(crate) ports: Vec<u16>,
    pub(crate) addresses: Vec<Range>,
    pub(crate) without_tcp: AtomicBool,
    pub(crate) told: Mutex<Vec<Event>>,
    slots: Vec<Slot>,
    taken: Vec<Word32>,
    recent: Vec<Recent>,
    servers: Vec<Server>,
    habits: Vec<Habit>,
    cookies: Vec<Cookie>,
    passed: Vec<Word32>,
    counters: Vec<AtomicU64>,
    drawn: AtomicU32,
}

fn many<T: Default>(n: u32) -> Vec<T> {
    (0..n).map(|_| T::default()).collect()
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_ports((1024..=65535).collect())
    }

    pub(crate) fn with_ports(ports: Vec<u16>) -> Self {
        let count = u32::try_from(ports.len()).unwrap();
        let config = Config {
            key: [3, 4],
            lifetime: 298,
            lockdown_after: 64,
            lockdown_unsolicited: 1000,
            lockdown: 1788,
            max_identical: 4,
            ports: count,
            ports_rest: u32::try_from((1_u64 << 32) % u64::from(count)).unwrap(),
            dns_ports: [53, 0, 0, 0, 0, 0, 0, 0],
            ..Config::default()
        };
        World {
            config,
            time: AtomicU64::new(1000),
            ports,
            addresses: Vec::new(),
            without_tcp: AtomicBool::new(false),
            told: Mutex::default(),
            slots: many(SLOTS),
            taken: many(TAKEN),
            recent: many(RECENT),
            servers: many(SERVERS),
            habits: many(2 * HABITS),
            cookies: many(COOKIES),
            passed: many(PASSED),
            counters: many(COUNTERS),
            drawn: AtomicU32::new(0),
        }
    }

    pub(crate) fn counted(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].load(Relaxed)
    }

    /// Lets time pass, in units.
    pub(crate) fn wait(&self, units: u64) {
        self.time.fetch_add(units, Relaxed);
    }

    /// Asks.
    pub(crate) fn query(&self, query: &Query) -> egress::Verdict {
        let cased = egress::is_cased(self, query.client, query.server);
        let added = cookies::added(self, query.client, query.server, query.added);
        egress::query(self, &Query { cased, added, ..*query })
    }

    /// Asks, and expects to leave with salt.
    pub(crate) fn salted(&self, query: &Query) -> Salt {
        match self.query(query) {
            egress::Verdict::Salt(salt) => salt,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn reply(&self, reply: &Reply<'_>) -> ingress::Verdict {
        let restore = |nonce: Nonce, case| flipped(reply.question.case, nonce) == case;
        ingress::reply(self, reply, restore)
    }
}

impl Tables for World {
    fn config(&self) -> &Config {
        &self.config
    }
    fn time(&self) -> u64 {
        self.time.load(Relaxed)
    }
    fn slot(&self, index: u32) -> Option<&Slot> {
        self.slots.get(index as usize)
    }
    fn taken(&self, index: u32) -> Option<&Word32> {
        self.taken.get(index as usize)
    }
    fn recent(&self, index: u32) -> Option<&Recent> {
        self.recent.get(index as usize)
    }
    fn server(&self, index: u32) -> Option<&Server> {
        self.servers.get(index as usize)
    }
    fn habit(&self, index: u32) -> Option<&Habit> {
        self.habits.get(index as usize)
    }
    fn cookie(&self, index: u32) -> Option<&Cookie> {
        self.cookies.get(index as usize)
    }
    fn suffix(&self, _: u32) -> Option<&Suffix> {
        None
    }
    fn address(&self, index: u32) -> Option<&Range> {
        self.addresses.get(index as usize)
    }
    fn passed(&self, index: u32) -> Option<&Word32> {
        self.passed.get(index as usize)
    }
    fn port(&self, index: u32) -> Option<u16> {
        self.ports.get(index as usize).copied()
    }
    fn draw(&self) -> Option<Draw> {
        let turn = self.drawn.fetch_add(1, Relaxed);
        Some(Draw { random: draw([1, 2], u64::from(turn)), near: turn & (NEAR - 1) })
    }
    fn has_client(&self, _: Address) -> bool {
        true
    }
    fn has_server(&self, _: Address) -> bool {
        true
    }
    fn in_pool(&self, address: Address) -> bool {
        self.addresses.iter().any(|range| {
            let differs = (address.high ^ range.first.high, address.low ^ range.first.low);
            (differs.0 & !range.drawn.high, differs.1 & !range.drawn.low) == (0, 0)
        })
    }
    fn without_tcp(&self, _: Address) -> bool {
        self.without_tcp.load(Relaxed)
    }
    fn without_case(&self, _: Address) -> bool {
        false
    }
    fn add(&self, counter: Counter, n: u32) {
        self.counters[counter as usize].fetch_add(u64::from(n), Relaxed);
    }
    fn tell(&self, event: &Event) {
        self.told.lock().unwrap().push(*event);
    }
}

/// The case of a question whose letters were changed, or changed back: a number that stands for it.
fn flipped(case: u32, nonce: Nonce) -> u32 {
    case ^ u32::try_from(draw([7, 8], nonce.0) >> 32).unwrap()
}

pub(crate) fn address(text: &str) -> Address {
    text.parse::<IpAddr>().unwrap().into()
}

/// A query for the `n`th name from port 44444.
pub(crate) fn query(n: u64) -> Query {
    Query {
        client: address("192.0.2.1"),
        server: address("198.51.100.53"),
        client_port: 44444,
        server_port: 53,
        id: (n & 0xffff) as u16,
        link: 2,
        question: Question { hash: draw([5, 6], n), case: 7, length: 17 },
        cased: false,
        added: Added::Nothing,
    }
}

/// What a query of [`query`] leaves with that is not salted.
pub(crate) fn unsalted(port: u16, id: u16) -> Salt {
    Salt { port, id, case: None, source: query(0).client, added: Added::Nothing }
}

/// What its right reply brings back.
pub(crate) fn origin(query: &Query) -> Origin {
    let (port, id) = (query.client_port, query.id);
    Origin { client: query.client, port, id, added: query.added }
}

/// What a reply brings that was not looked at.
const NOTHING: Brought = Brought {
    read: false,
    cookie: false,
    server: None,
    record: 0,
    option: 0,
    bad: false,
    refused: false,
    more: false,
};

/// The right reply to a query that left with this salt.
pub(crate) fn right(query: &Query, salt: Salt) -> Reply<'static> {
    let case = salt.case.map_or(query.question.case, |nonce| flipped(query.question.case, nonce));
    Reply {
        server: query.server,
        to: salt.source,
        server_port: query.server_port,
        port: salt.port,
        id: salt.id,
        question: Question { case, ..query.question },
        bare_error: false,
        bare_tc: false,
        fragmented: false,
        brought: &NOTHING,
    }
}
