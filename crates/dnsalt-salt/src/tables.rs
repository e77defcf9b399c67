//! What the engine needs of the world: maps of the kernel there, plain memory in tests.

use crate::Address;
use crate::layout::{
    Config, Cookie, Counter, Event, Habit, PASSED, Range, Recent, Server, Slot, Suffix,
};
use crate::slot::lasts;
use crate::word::Word32;

/// A random number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// 64 bits that nobody can foresee.
    pub random: u64,
    /// Whose turn it is of the slots that the CPU uses first.
    pub near: u32,
}

/// Maps, a clock, random numbers. An index beyond a table's end gives nothing; there is none.
pub trait Tables {
    /// What the engine is to do.
    fn config(&self) -> &Config;
    /// Time since boot in units of 2^[`crate::layout::TIME_SHIFT`] ns.
    fn time(&self) -> u64;
    /// As much of the time as is kept in most places.
    #[inline(always)]
    fn now(&self) -> u32 {
        self.time() as u32
    }
    /// Of [`crate::layout::SLOTS`].
    fn slot(&self, index: u32) -> Option<&Slot>;
    /// Of [`crate::layout::TAKEN`].
    fn taken(&self, index: u32) -> Option<&Word32>;
    /// Of [`crate::layout::RECENT`].
    fn recent(&self, index: u32) -> Option<&Recent>;
    /// Of [`crate::layout::SERVERS`].
    fn server(&self, index: u32) -> Option<&Server>;
    /// Of [`crate::layout::COOKIES`].
    fn cookie(&self, index: u32) -> Option<&Cookie>;
    /// Of [`crate::layout::HABITS`], twice as many.
    fn habit(&self, index: u32) -> Option<&Habit>;
    /// Of [`crate::layout::SUFFIXES`].
    fn suffix(&self, index: u32) -> Option<&Suffix>;
    /// Of [`crate::layout::ADDRESSES`].
    fn address(&self, index: u32) -> Option<&Range>;
    /// Of [`crate::layout::PASSED`]: until when replies to such clients are let through.
    fn passed(&self, index: u32) -> Option<&Word32>;
    /// One of the ports that queries may leave from.
    fn port(&self, index: u32) -> Option<u16>;
    /// A number that nobody can foresee, different each time.
    fn draw(&self) -> Option<Draw>;
    /// Whether a client's queries are salted, where the configuration names some.
    fn has_client(&self, client: Address) -> bool;
    /// Whether queries to a server are, where the configuration names some.
    fn has_server(&self, server: Address) -> bool;
    /// Whether queries may have left with this source address, of those that are drawn.
    fn in_pool(&self, address: Address) -> bool;
    /// Whether queries of this client to this server are salted.
    #[inline(always)]
    fn in_scope(&self, client: Address, server: Address) -> bool {
        self.has_client(client) && self.has_server(server)
    }
    /// Whether queries that were salted are answered by this server to this address.
    #[inline(always)]
    fn expects(&self, address: Address, server: Address) -> bool {
        let ours = if self.config().has_pool_for(server) {
            self.in_pool(address)
        } else {
            self.has_client(address)
        };
        ours && self.has_server(server)
    }
    /// Whether a client is one that cannot do TCP.
    fn without_tcp(&self, client: Address) -> bool;
    /// Whether a server is one whose case is left alone.
    fn without_case(&self, server: Address) -> bool;
    /// Adds one.
    #[inline(always)]
    fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }
    /// Adds more than one.
    fn add(&self, counter: Counter, n: u32);
    /// Tells user space, if it is not told too much already.
    fn tell(&self, event: &Event);
}

impl Config {
    /// Whether DNS is asked on a port.
    #[inline(always)]
    pub fn is_dns_port(&self, port: u16) -> bool {
        port != 0 && self.dns_ports.contains(&port)
    }

    /// Whether a flag is set.
    #[inline(always)]
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

/// Remembers that a query left as it was, so that what comes back is let through.
#[inline(always)]
pub fn pass<T: Tables>(tables: &T, client: Address, port: u16) {
    if let Some(until) = passed(tables, client, port) {
        // 0 means never.
        until.store(tables.now().wrapping_add(tables.config().lifetime) | 1);
    }
}

/// Whether what comes to a port is let through though no query waits there: it may belong to one that
/// left as it was, or before the engine was there.
#[inline(always)]
pub(crate) fn is_let_through<T: Tables>(tables: &T, client: Address, port: u16) -> bool {
    let is_passed = |until: u32| until != 0 && lasts(until, tables.now());
    tables.config().grace_until > tables.time()
        || passed(tables, client, port).is_some_and(|until| is_passed(until.load()))
}

#[inline(always)]
fn passed<T: Tables>(tables: &T, client: Address, port: u16) -> Option<&Word32> {
    let port = Address { high: 0, low: u64::from(port) };
    let place = client.mixed(port, tables.config().key[0]) as u32 & (PASSED - 1);
    tables.passed(place)
}
