//! The source address that a query leaves with, where there is more than one to choose from: more for
//! whoever forges a reply to guess.
//!
//! Which one it is is a keyed function of the slot's generation, so nothing is kept for it. A generation has 28
//! bits, and more than that no prefix adds, however many addresses it has: with port and ID and the case of
//! letters, which is a function of the three, 60 bits in all.

use crate::address::mix;
use crate::layout::{ADDRESSES, Config, Range};
use crate::siphash::draw;
use crate::{Address, Tables};

/// Tells a draw from that for the case of letters, which has the same key.
const FOR_ADDRESSES: u64 = 1 << 63;
/// Places of each family.
const EACH: u32 = ADDRESSES / 2;

impl Config {
    /// Whether queries to a server get another source address.
    #[inline(always)]
    pub fn has_pool_for(&self, server: Address) -> bool {
        // A server of this link does not answer addresses from elsewhere.
        self.addresses[usize::from(server.is_v6())] != 0 && !server.is_link_local()
    }
}

/// The address that a query leaves with.
#[inline(always)]
pub(crate) fn source<T: Tables>(
    tables: &T,
    client: Address,
    server: Address,
    generation: u64,
) -> Address {
    source_of(tables.config(), |index| tables.address(index).copied(), client, server, generation)
}

/// The same, for whoever has configuration and ranges alone.
#[inline(always)]
pub fn source_of(
    config: &Config,
    ranges: impl Fn(u32) -> Option<Range>,
    client: Address,
    server: Address,
    generation: u64,
) -> Address {
    if !config.has_pool_for(server) {
        return client;
    }
    drawn(config, ranges, server.is_v6(), generation).unwrap_or(client)
}

#[inline(always)]
fn drawn(
    config: &Config,
    ranges: impl Fn(u32) -> Option<Range>,
    v6: bool,
    generation: u64,
) -> Option<Address> {
    let random = draw(config.nonce_key, generation | FOR_ADDRESSES);
    // 24 bits are enough for 256 places: none is likelier than another by more than 1 in 65,536.
    let place = ((mix(random) >> 40) * u64::from(config.addresses[usize::from(v6)])) >> 24;
    let Range { first, drawn } = ranges(u32::from(v6) * EACH + (place as u32 & (EACH - 1)))?;
    Some(Address {
        high: first.high | mix(random ^ config.nonce_key[1]) & drawn.high,
        low: first.low | random & drawn.low,
    })
}
