//! Maps, clock and packet of one thread.

use std::cell::{Cell, RefCell, UnsafeCell};

use dnsalt_salt::Address;
use dnsalt_salt::layout::{
    ADDRESSES, COOKIES, COUNTERS, Config, Cookie, Counter, HABITS, Habit, PASSED, RECENT, Range,
    Recent, SERVERS, SLOTS, SUFFIXES, Server, Slot, Suffix, TAKEN,
};
use dnsalt_salt::siphash::Key;
use dnsalt_salt::word::Word32;

use crate::maps::Work;

/// A prefix: so many bits of an address, as the kernel's tries have it.
pub type Prefix = (u32, [u8; 16]);

/// What user space writes into maps.
#[derive(Clone, Debug, Default)]
pub struct Setting {
    /// What to do.
    pub config: Config,
    /// What random numbers come from.
    pub random: Key,
    /// Source ports to draw from.
    pub ports: Vec<u16>,
    /// Clients, servers, clients without TCP, servers without case, and source addresses.
    pub from: Vec<Prefix>,
    /// Servers.
    pub to: Vec<Prefix>,
    /// Clients that cannot do TCP.
    pub no_tcp: Vec<Prefix>,
    /// Servers whose case is left alone.
    pub no_case: Vec<Prefix>,
    /// Where source addresses come from.
    pub pool: Vec<Prefix>,
    /// Domains whose case is left alone.
    pub suffixes: Vec<Suffix>,
    /// Source addresses to draw from: IPv4, then IPv6.
    pub addresses: [Vec<Range>; 2],
}

/// A world: maps that begin empty, and a clock that stands.
pub struct World {
    pub(crate) setting: Setting,
    pub(crate) slots: Table<Slot>,
    pub(crate) taken: Table<Word32>,
    pub(crate) recent: Table<Recent>,
    pub(crate) servers: Table<Server>,
    pub(crate) habits: Table<Habit>,
    pub(crate) cookies: Table<Cookie>,
    pub(crate) passed: Table<Word32>,
    pub(crate) suffixes: Vec<Suffix>,
    pub(crate) ranges: Vec<Range>,
    pub(crate) counters: Vec<Cell<u64>>,
    pub(crate) draws: Cell<u64>,
    pub(crate) time: Cell<u64>,
    pub(crate) work: UnsafeCell<Work>,
    partial: Cell<bool>,
    packet: RefCell<Vec<u8>>,
}

/// A map, and which of its places were asked for.
pub(crate) struct Table<T> {
    places: Vec<T>,
    touched: RefCell<Vec<u32>>,
}

impl<T: Default> Table<T> {
    fn new(places: u32) -> Self {
        let places = (0..places).map(|_| T::default()).collect();
        Table { places, touched: RefCell::default() }
    }

    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        let place = self.places.get(index as usize)?;
        let mut touched = self.touched.borrow_mut();
        if touched.last() != Some(&index) {
            touched.push(index);
        }
        Some(place)
    }

    fn clear(&mut self) {
        for index in self.touched.get_mut().drain(..) {
            self.places[index as usize] = T::default();
        }
    }
}

thread_local! {
    static WORLD: Cell<*const World> = const { Cell::new(core::ptr::null()) };
}

/// That of the packet at hand.
pub(crate) fn world() -> &'static World {
    // SAFETY: `hold` put it there, and it stays for as long as `run` has it borrowed; nothing is kept of it
    // beyond that.
    unsafe { &*WORLD.get() }
}

impl World {
    /// With nothing in its maps but this.
    pub fn new(setting: Setting) -> Box<Self> {
        let mut world = Box::new(World {
            setting: Setting::default(),
            slots: Table::new(SLOTS),
            taken: Table::new(TAKEN),
            recent: Table::new(RECENT),
            servers: Table::new(SERVERS),
            habits: Table::new(2 * HABITS),
            cookies: Table::new(COOKIES),
            passed: Table::new(PASSED),
            suffixes: Vec::new(),
            ranges: Vec::new(),
            counters: (0..COUNTERS).map(|_| Cell::new(0)).collect(),
            draws: Cell::new(0),
            // Some hours after boot.
            time: Cell::new(1 << 20),
            work: UnsafeCell::new(Work::default()),
            partial: Cell::new(false),
            packet: RefCell::default(),
        });
        world.set(setting);
        world
    }

    /// Forgets everything, and does something else from now on.
    pub fn set(&mut self, setting: Setting) {
        self.slots.clear();
        self.taken.clear();
        self.recent.clear();
        self.servers.clear();
        self.habits.clear();
        self.cookies.clear();
        self.passed.clear();
        self.suffixes = setting.suffixes.clone();
        self.suffixes.resize(SUFFIXES as usize, Suffix::default());
        let each = ADDRESSES as usize / 2;
        self.ranges = setting
            .addresses
            .iter()
            .flat_map(|list| {
                let mut list = list.clone();
                list.resize(each, Range::default());
                list
            })
            .collect();
        self.draws.set(0);
        for counter in &self.counters {
            counter.set(0);
        }
        self.setting = setting;
    }

    /// Lets time pass, in its units.
    pub fn wait(&self, units: u64) {
        self.time.set(self.time.get() + units);
    }

    /// Another time, in its units since boot.
    pub fn set_time(&self, time: u64) {
        self.time.set(time);
    }

    /// Since boot, in its units.
    pub fn time(&self) -> u64 {
        self.time.get()
    }

    /// Whether the card is to finish the checksums of UDP.
    pub fn set_partial(&self, partial: bool) {
        self.partial.set(partial);
    }

    /// How often.
    pub fn count(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].get()
    }

    pub(crate) fn is_partial(&self) -> bool {
        self.partial.get()
    }

    pub(crate) fn hold(&self, packet: Vec<u8>) {
        self.packet.replace(packet);
        WORLD.set(core::ptr::from_ref(self));
    }

    pub(crate) fn let_go(&self) -> Vec<u8> {
        WORLD.set(core::ptr::null());
        self.packet.take()
    }

    pub(crate) fn with_packet<T>(&self, look: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        look(&mut self.packet.borrow_mut())
    }
}

/// Whether one of the prefixes has an address.
pub(crate) fn has(prefixes: &[Prefix], address: Address) -> bool {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&address.high.to_le_bytes());
    bytes[8..].copy_from_slice(&address.low.to_le_bytes());
    let address = u128::from_be_bytes(bytes);
    prefixes.iter().any(|(length, prefix)| {
        let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
        (u128::from_be_bytes(*prefix) ^ address) & mask == 0
    })
}
