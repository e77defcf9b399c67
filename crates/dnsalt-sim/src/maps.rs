//! The engine's view of the world: what `dnsalt-ebpf/src/maps.rs` is in the kernel.

use dnsalt_salt::case::Changed;
use dnsalt_salt::edns::{Brought, Tail};
use dnsalt_salt::head::{Dns, Head, Ip};
use dnsalt_salt::layout::{
    Config, Cookie, Counter, Event, Habit, NEAR, Range, Recent, Server, Slot, Suffix, flags,
};
use dnsalt_salt::question::Question;
use dnsalt_salt::siphash::draw;
use dnsalt_salt::word::Word32;
use dnsalt_salt::{Address, Draw, Tables};

use crate::world::{has, world};

/// What is known of the packet at hand; see there.
pub struct Work {
    pub head: Head,
    pub length: u32,
    pub offset: u32,
    pub time: u64,
    pub ip: Ip,
    pub dns: Dns,
    pub question: Question,
    pub nonce: u64,
    pub other: Address,
    pub changed: Changed,
    pub cased: bool,
    pub added: u16,
    pub brought: Brought,
    pub strip: u16,
    pub tail: Tail,
}

impl Default for Work {
    fn default() -> Self {
        let nobody = Address::default();
        Work {
            head: Head::default(),
            length: 0,
            offset: 0,
            time: 0,
            ip: Ip {
                v6: false,
                src: nobody,
                dst: nobody,
                protocol: 0,
                transport: 0,
                end: 0,
                later_fragment: false,
                more_fragments: false,
                options: false,
            },
            dns: Dns {
                src_port: 0,
                dst_port: 0,
                id: 0,
                flags: 0,
                questions: 0,
                records: 0,
                message: 0,
                end: 0,
            },
            question: Question::default(),
            nonce: 0,
            other: nobody,
            changed: Changed::default(),
            cased: false,
            added: 0,
            brought: Brought::default(),
            strip: 0,
            tail: Tail::default(),
        }
    }
}

/// The packet at hand.
pub fn work() -> Option<&'static mut Work> {
    // SAFETY: the steps that ask for it are those of the kernel half, one after the other on this thread: while
    // one goes on with what it has, another that it called has ended.
    Some(unsafe { &mut *world().work.get() })
}

/// The maps at one moment.
pub struct Kernel {
    time: u64,
}

impl Kernel {
    pub fn new() -> Option<Self> {
        (world().setting.config.ports != 0).then_some(Kernel { time: 0 })
    }

    pub fn of(work: &Work) -> Option<Self> {
        Some(Kernel { time: work.time })
    }
}

pub fn time() -> u64 {
    world().time.get()
}

impl Tables for Kernel {
    fn config(&self) -> &Config {
        &world().setting.config
    }

    fn time(&self) -> u64 {
        self.time
    }

    fn slot(&self, index: u32) -> Option<&Slot> {
        world().slots.get(index)
    }

    fn taken(&self, index: u32) -> Option<&Word32> {
        world().taken.get(index)
    }

    fn recent(&self, index: u32) -> Option<&Recent> {
        world().recent.get(index)
    }

    fn server(&self, index: u32) -> Option<&Server> {
        world().servers.get(index)
    }

    fn habit(&self, index: u32) -> Option<&Habit> {
        world().habits.get(index)
    }

    fn cookie(&self, index: u32) -> Option<&Cookie> {
        world().cookies.get(index)
    }

    fn suffix(&self, index: u32) -> Option<&Suffix> {
        world().suffixes.get(index as usize)
    }

    fn address(&self, index: u32) -> Option<&Range> {
        world().ranges.get(index as usize)
    }

    fn passed(&self, index: u32) -> Option<&Word32> {
        world().passed.get(index)
    }

    fn port(&self, index: u32) -> Option<u16> {
        world().setting.ports.get(index as usize).copied()
    }

    fn draw(&self) -> Option<Draw> {
        let counter = world().draws.get().wrapping_add(1);
        world().draws.set(counter);
        let turn = counter as u32;
        let key = world().setting.random;
        Some(Draw { random: draw(key, counter), near: turn & (NEAR - 1) })
    }

    fn has_client(&self, client: Address) -> bool {
        !self.config().has(flags::SOME_CLIENTS) || has(&world().setting.from, client)
    }

    fn has_server(&self, server: Address) -> bool {
        !self.config().has(flags::SOME_SERVERS) || has(&world().setting.to, server)
    }

    fn in_pool(&self, address: Address) -> bool {
        has(&world().setting.pool, address)
    }

    fn without_tcp(&self, client: Address) -> bool {
        self.config().has(flags::SOME_WITHOUT_TCP) && has(&world().setting.no_tcp, client)
    }

    fn without_case(&self, server: Address) -> bool {
        self.config().has(flags::SOME_WITHOUT_CASE) && has(&world().setting.no_case, server)
    }

    fn add(&self, counter: Counter, n: u32) {
        let count = &world().counters[counter as usize];
        count.set(count.get() + u64::from(n));
    }

    fn tell(&self, _: &Event) {}
}
