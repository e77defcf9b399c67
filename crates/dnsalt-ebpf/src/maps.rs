//! The maps, and the engine's view of them. Their layout stands in `dnsalt_salt::layout`.

use aya_ebpf::helpers::generated::{
    bpf_get_smp_processor_id, bpf_ktime_get_coarse_ns, bpf_ktime_get_ns, bpf_probe_read_kernel,
};
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::{Key, LpmTrie};
use aya_ebpf::maps::{Array, PerCpuArray, RingBuf};
use dnsalt_salt::case::Changed;
use dnsalt_salt::edns::{Brought, Tail};
use dnsalt_salt::head::{Dns, HEAD, Head, Ip};
use dnsalt_salt::layout::{
    self, ADDRESSES as ADDRESS_PLACES, COOKIES as COOKIE_PLACES, COUNTERS as KINDS, Config, Cookie,
    Counter, Event, HABITS as HABIT_PLACES, Habit, NEAR, RECENT as RECENT_PLACES,
    SERVERS as SERVER_PLACES, SLOTS as SLOT_PLACES, SUFFIXES as SUFFIX_PLACES, Server, Slot,
    Suffix, TAKEN as TAKEN_PLACES, TIME_SHIFT, flags,
};
use dnsalt_salt::layout::{PASSED as PASSED_PLACES, Random, Range, Recent, Report, Told};
use dnsalt_salt::question::Question;
use dnsalt_salt::siphash::draw;
use dnsalt_salt::word::Word32;
use dnsalt_salt::{Address, Draw, Tables};

#[map]
static CONFIG: Array<Config> = Array::with_max_entries(1, 0);
#[map]
static PORTS: Array<[u16; 65536]> = Array::with_max_entries(1, 0);
#[map]
static SLOTS: Array<Slot> = Array::with_max_entries(SLOT_PLACES, 0);
#[map]
static TAKEN: Array<Word32> = Array::with_max_entries(TAKEN_PLACES, 0);
#[map]
static RECENT: Array<Recent> = Array::with_max_entries(RECENT_PLACES, 0);
#[map]
static SERVERS: Array<Server> = Array::with_max_entries(SERVER_PLACES, 0);
#[map]
static HABITS: Array<Habit> = Array::with_max_entries(2 * HABIT_PLACES, 0);
#[map]
static COOKIES: Array<Cookie> = Array::with_max_entries(COOKIE_PLACES, 0);
#[map]
static SUFFIXES: Array<Suffix> = Array::with_max_entries(SUFFIX_PLACES, 0);
#[map]
static ADDRESSES: Array<Range> = Array::with_max_entries(ADDRESS_PLACES, 0);
#[map]
static PASSED: Array<Word32> = Array::with_max_entries(PASSED_PLACES, 0);
#[map]
static RANDOM: PerCpuArray<Random> = PerCpuArray::with_max_entries(1, 0);
#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(KINDS, 0);
#[map]
static TOLD: PerCpuArray<Told> = PerCpuArray::with_max_entries(1, 0);
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(layout::EVENTS, 0);
#[map]
static FROM: LpmTrie<[u8; 16], u8> = LpmTrie::with_max_entries(layout::PREFIXES, BPF_F_NO_PREALLOC);
#[map]
static TO: LpmTrie<[u8; 16], u8> = LpmTrie::with_max_entries(layout::PREFIXES, BPF_F_NO_PREALLOC);
#[map]
static NO_TCP: LpmTrie<[u8; 16], u8> =
    LpmTrie::with_max_entries(layout::PREFIXES, BPF_F_NO_PREALLOC);
#[map]
static POOL: LpmTrie<[u8; 16], u8> = LpmTrie::with_max_entries(layout::PREFIXES, BPF_F_NO_PREALLOC);
#[map]
static NO_CASE: LpmTrie<[u8; 16], u8> =
    LpmTrie::with_max_entries(layout::PREFIXES, BPF_F_NO_PREALLOC);

/// The kernel wants it for tries.
const BPF_F_NO_PREALLOC: u32 = 1;

/// What is known of the packet at hand. It goes from step to step through this map: the stack is too
/// small, and the verifier, which does not follow what goes through a map, takes up each step once, not
/// once for each of the ways that lead there.
#[repr(C)]
pub struct Work {
    /// The packet from the IP header on. First, as its words want to be aligned.
    pub head: Head,
    /// Bytes of it that are there.
    pub length: u32,
    /// Where the IP header stands in the packet.
    pub offset: u32,
    /// Time, as [`Tables::time`] has it.
    pub time: u64,
    /// The IP header.
    pub ip: Ip,
    /// The DNS header.
    pub dns: Dns,
    /// What is asked.
    pub question: Question,
    /// What its letters change by; 0 if they do not.
    pub nonce: u64,
    /// What takes the place of the client's address, or what its address stands for. In an error of ICMP
    /// first whom that is for.
    pub other: Address,
    /// What was changed of them.
    pub changed: Changed,
    /// Whether they change.
    pub cased: bool,
    /// What could be added to the query; then, in two bits, what is, or was.
    pub added: u16,
    /// What the end of a reply tells.
    pub brought: Brought,
    /// Bytes at the end of a reply that are not for the client.
    pub strip: u16,
    /// The end of a message: what is added, or what came.
    pub tail: Tail,
}

#[map]
static WORK: PerCpuArray<Work> = PerCpuArray::with_max_entries(1, 0);

/// The packet at hand.
#[inline(always)]
pub fn work() -> Option<&'static mut Work> {
    // SAFETY: it is this CPU's own, and each step asks for it once.
    WORK.get_ptr_mut(0).map(|work| unsafe { &mut *work })
}

/// The maps at one moment.
pub struct Kernel {
    config: &'static Config,
    time: u64,
}

impl Kernel {
    /// None before user space has said what to do.
    #[inline(always)]
    pub fn new() -> Option<Self> {
        let config = CONFIG.get(0)?;
        if config.ports == 0 {
            return None;
        }
        Some(Kernel { config, time: 0 })
    }

    /// At the time of the packet at hand.
    #[inline(always)]
    pub fn of(work: &Work) -> Option<Self> {
        Some(Kernel { config: CONFIG.get(0)?, time: work.time })
    }
}

/// The time.
#[inline(always)]
pub fn time() -> u64 {
    // SAFETY: asks for a number.
    (unsafe { bpf_ktime_get_coarse_ns() }) >> TIME_SHIFT
}

/// Whether one of the prefixes has an address.
#[inline(always)]
fn has(prefixes: &LpmTrie<[u8; 16], u8>, address: Address) -> bool {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&address.high.to_le_bytes());
    bytes[8..].copy_from_slice(&address.low.to_le_bytes());
    prefixes.get(Key::new(128, bytes)).is_some()
}

impl Tables for Kernel {
    #[inline(always)]
    fn config(&self) -> &Config {
        self.config
    }

    #[inline(always)]
    fn time(&self) -> u64 {
        self.time
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> Option<&Slot> {
        SLOTS.get(index)
    }

    #[inline(always)]
    fn taken(&self, index: u32) -> Option<&Word32> {
        TAKEN.get(index)
    }

    #[inline(always)]
    fn recent(&self, index: u32) -> Option<&Recent> {
        RECENT.get(index)
    }

    #[inline(always)]
    fn server(&self, index: u32) -> Option<&Server> {
        SERVERS.get(index)
    }

    #[inline(always)]
    fn habit(&self, index: u32) -> Option<&Habit> {
        HABITS.get(index)
    }

    #[inline(always)]
    fn cookie(&self, index: u32) -> Option<&Cookie> {
        COOKIES.get(index)
    }

    #[inline(always)]
    fn suffix(&self, index: u32) -> Option<&Suffix> {
        SUFFIXES.get(index)
    }

    #[inline(always)]
    fn address(&self, index: u32) -> Option<&Range> {
        ADDRESSES.get(index)
    }

    #[inline(always)]
    fn passed(&self, index: u32) -> Option<&Word32> {
        PASSED.get(index)
    }

    #[inline(always)]
    fn port(&self, index: u32) -> Option<u16> {
        PORTS.get(0).map(|ports| ports[(index & 0xffff) as usize])
    }

    #[inline(always)]
    fn draw(&self) -> Option<Draw> {
        let random = RANDOM.get_ptr_mut(0)?;
        // SAFETY: the pointer is to a value of this CPU. User space may write a new key meanwhile; at
        // worst one draw has half of the old one.
        let random = unsafe { &mut *random };
        random.counter = random.counter.wrapping_add(1);
        // SAFETY: asks for a number.
        let cpu = unsafe { bpf_get_smp_processor_id() };
        let first = (cpu as u32).wrapping_mul(NEAR);
        let turn = random.counter as u32;
        Some(Draw { random: draw(random.key, random.counter), near: first | turn & (NEAR - 1) })
    }

    #[inline(always)]
    fn has_client(&self, client: Address) -> bool {
        !self.config.has(flags::SOME_CLIENTS) || has(&FROM, client)
    }

    #[inline(always)]
    fn has_server(&self, server: Address) -> bool {
        !self.config.has(flags::SOME_SERVERS) || has(&TO, server)
    }

    #[inline(always)]
    fn in_pool(&self, address: Address) -> bool {
        has(&POOL, address)
    }

    #[inline(always)]
    fn without_tcp(&self, client: Address) -> bool {
        self.config.has(flags::SOME_WITHOUT_TCP) && has(&NO_TCP, client)
    }

    #[inline(always)]
    fn without_case(&self, server: Address) -> bool {
        self.config.has(flags::SOME_WITHOUT_CASE) && has(&NO_CASE, server)
    }

    #[inline(always)]
    fn add(&self, counter: Counter, n: u32) {
        if let Some(count) = COUNTERS.get_ptr_mut(counter as u32) {
            // SAFETY: the pointer is to a value of this CPU, which nothing else writes meanwhile.
            unsafe { *count += u64::from(n) };
        }
    }

    #[inline(always)]
    fn tell(&self, event: &Event) {
        let Some(told) = TOLD.get_ptr_mut(0) else { return };
        // SAFETY: as for `count`.
        let told = unsafe { &mut *told };
        let second = self.now() >> layout::SECOND_BITS;
        if told.second != second {
            told.second = second;
            told.events = 0;
        }
        if told.events >= layout::EVENTS_A_SECOND {
            self.count(Counter::EventsLost);
            return;
        }
        told.events += 1;
        if let Some(mut entry) = EVENTS.reserve::<Report>(0) {
            report(entry.as_mut_ptr(), event);
            entry.submit(0);
        } else {
            self.count(Counter::EventsLost);
        }
    }
}

/// Writes an event, and the packet at hand.
#[inline(always)]
fn report(to: *mut Report, event: &Event) {
    // SAFETY: the entry is ours and has room for all of it; the last asks for a number.
    unsafe {
        (&raw mut (*to).event).write(Event { time: bpf_ktime_get_ns(), ..*event });
        (&raw mut (*to).zero).write(0);
        let length = match work() {
            Some(work) => {
                let packet = (&raw mut (*to).packet).cast();
                let head = core::ptr::from_ref(&work.head).cast();
                if bpf_probe_read_kernel(packet, HEAD as u32, head) == 0 { work.length } else { 0 }
            }
            None => 0,
        };
        (&raw mut (*to).length).write(length);
    }
}
