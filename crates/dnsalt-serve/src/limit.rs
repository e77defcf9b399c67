//! Replies to a network, so many a second: what nobody has to fear who is flooded in the name of another.
//!
//! GCRA: for each network there is a time until which its replies are paid for. A table of fixed size, where the
//! one that came last takes the place; a network that is driven out begins anew.

use std::hash::Hasher as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use siphasher::sip::SipHasher13;

/// Networks that are known at a time: 1 MiB.
const PLACES: usize = 1 << 17;
/// Seconds of the rate that may come at once.
const BURST: u64 = 5;
/// Bits of a place that tell networks apart; the others are a time in microseconds.
const TAG: u32 = 20;

/// How many for whom.
#[derive(Debug)]
pub(crate) struct Limit {
    /// Microseconds for each reply; 0 for no limit.
    interval: u64,
    key: [u8; 16],
    places: Box<[AtomicU64]>,
}

impl Limit {
    /// So many replies a second to each network; 0 for no limit.
    pub(crate) fn new(rate: u32, key: [u8; 16]) -> Self {
        let interval = if rate == 0 { 0 } else { (1_000_000 / u64::from(rate)).max(1) };
        let places = if rate == 0 { 0 } else { PLACES };
        Limit { interval, key, places: (0..places).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Whether one more reply may be sent; `now` in microseconds.
    pub(crate) fn allows(&self, address: IpAddr, now: u64) -> bool {
        if self.interval == 0 {
            return true;
        }
        let hash = self.hash(network(address));
        let place = &self.places[hash as usize & (PLACES - 1)];
        let tag = hash >> (64 - TAG);
        let burst = self.interval.max(1) * (BURST * 1_000_000 / self.interval);
        let now = now & (u64::MAX >> TAG);
        let mut known = place.load(Ordering::Relaxed);
        loop {
            let paid = known & (u64::MAX >> TAG);
            // What is paid for beyond that is so by a clock that has gone back since.
            let is_its_own = known >> (64 - TAG) == tag && paid <= now + burst;
            let paid = if is_its_own { paid } else { 0 };
            let next = paid.max(now) + self.interval;
            if next > now + burst {
                return false;
            }
            let wanted = tag << (64 - TAG) | next;
            match place.compare_exchange_weak(known, wanted, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(changed) => known = changed,
            }
        }
    }

    fn hash(&self, network: u64) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write_u64(network);
        hasher.finish()
    }
}

/// A /24 of IPv4 or a /56 of IPv6: what one customer has.
pub(crate) fn network(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => u64::from(u32::from(address) >> 8) << 8 | 1,
        IpAddr::V6(address) => (u128::from(address) >> 72) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn passed(limit: &Limit, address: &str, from: u64, count: u64) -> u64 {
        let address = address.parse().unwrap();
        (0..count).filter(|_| limit.allows(address, from)).count() as u64
    }

    #[test]
    fn a_network_gets_its_rate_and_others_theirs() {
        let limit = Limit::new(100, [1; 16]);
        let start = 1_800_000_000 * SECOND;
        assert_eq!(passed(&limit, "192.0.2.1", start, 2000), 500);
        assert_eq!(passed(&limit, "192.0.2.200", start, 10), 0);
        assert_eq!(passed(&limit, "192.0.3.1", start, 10), 10);
        assert_eq!(passed(&limit, "2001:db8::1", start, 600), 500);
        assert_eq!(passed(&limit, "2001:db8:0:ff::1", start, 10), 0);
        assert_eq!(passed(&limit, "2001:db8:0:100::1", start, 10), 10);
        assert_eq!(passed(&limit, "192.0.2.1", start + SECOND, 2000), 100);
        assert_eq!(passed(&limit, "192.0.2.1", start + 60 * SECOND, 2000), 500);
    }

    #[test]
    fn a_clock_that_goes_back_keeps_nobody_out() {
        let limit = Limit::new(100, [1; 16]);
        let start = 1_800_000_000 * SECOND;
        assert_eq!(passed(&limit, "192.0.2.1", start, 2000), 500);
        assert_eq!(passed(&limit, "192.0.2.1", start - 3600 * SECOND, 2000), 500);
    }

    #[test]
    fn no_limit_is_none() {
        assert_eq!(passed(&Limit::new(0, [1; 16]), "192.0.2.1", 5, 10_000), 10_000);
    }
}
