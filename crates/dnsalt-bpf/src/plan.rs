//! A policy in the terms of the kernel half.

use dnsalt_policy::{
    Case, CaseExempt, Conntrack, Cookies, Family, Fragments, OnFull, OnNearMiss, Policy, Prefix,
    Protocol,
};
use dnsalt_salt::Address;
use dnsalt_salt::layout::{
    Config, DNS_PORTS, PREFIXES, Range, SUFFIXES, Suffix, TIME_SHIFT, flags,
};

use crate::BpfError;

/// Seconds that a lockdown lasts.
const LOCKDOWN: u64 = 30;

/// Prefixes as the tries have them: lengths and addresses.
pub type Prefixes = Vec<(u32, [u8; 16])>;

/// What goes into the maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Without keys and grace.
    pub config: Config,
    /// Source ports to draw from.
    pub ports: Vec<u16>,
    /// Clients.
    pub from: Prefixes,
    /// Servers.
    pub to: Prefixes,
    /// Clients that cannot do TCP.
    pub no_tcp: Prefixes,
    /// Servers whose case is left alone.
    pub no_case: Prefixes,
    /// Where source addresses come from.
    pub pool: Prefixes,
    /// Domains whose case is left alone.
    pub suffixes: Vec<Suffix>,
    /// Source addresses to draw from: of IPv4, and of IPv6.
    pub addresses: [Vec<Range>; 2],
}

impl Plan {
    /// Of a policy.
    ///
    /// # Errors
    /// When only the `nat` engine can do what it asks for.
    pub fn of(policy: &Policy) -> Result<Self, BpfError> {
        if !policy.protocols().contains(&Protocol::Udp) {
            return Err(BpfError::Unsupported("salt for TCP alone"));
        }
        if policy.per_query() {
            return Err(BpfError::Unsupported(
                "--per-query: every query has salt of its own there",
            ));
        }
        let mut dns_ports = [0; DNS_PORTS];
        if policy.dns_ports().len() > DNS_PORTS {
            return Err(BpfError::Unsupported("more than 8 ports to ask on (--dns-port)"));
        }
        for (place, port) in dns_ports.iter_mut().zip(policy.dns_ports()) {
            *place = *port;
        }
        let ports: Vec<u16> =
            policy.ports().ranges().iter().flat_map(|range| range.low()..=range.high()).collect();
        let both = |list: fn(&Policy, Family) -> Vec<Prefix>| {
            Family::BOTH.into_iter().flat_map(|family| list(policy, family)).collect::<Vec<_>>()
        };
        let options = policy.salt();
        let count = u32::try_from(ports.len()).unwrap_or(u32::MAX);
        let (from, to) = (keys(&both(Policy::from)), keys(&both(Policy::to)));
        let no_tcp = keys(&options.no_tcp);
        let (no_case, suffixes) = exempt(&options.case_exempt)?;
        let addresses = Family::BOTH.map(|family| policy.source().choices(family));
        let pool = keys(&addresses.concat());
        if [&from, &to, &no_tcp, &no_case].iter().any(|list| list.len() > PREFIXES as usize) {
            return Err(BpfError::Unsupported("room for more than 1024 prefixes"));
        }
        let untracked = options.conntrack == Conntrack::Off && !pool.is_empty();
        let set = |on: bool, flag: u32| if on { flag } else { 0 };
        let config = Config {
            key: [0, 0],
            nonce_key: [0, 0],
            lifetime: units(u64::from(options.lifetime)),
            grace_until: 0,
            lockdown_after: u32::from(options.lockdown_after),
            lockdown: units(LOCKDOWN),
            max_identical: u32::from(options.max_identical),
            ports: count,
            ports_rest: u32::try_from((1_u64 << 32) % u64::from(count)).unwrap_or(0),
            // Nobody else would give it an address that its reply finds.
            flags: set(options.on_full == OnFull::Drop || untracked, flags::DROP_WHEN_FULL)
                | set(options.on_near_miss == OnNearMiss::Drop, flags::BELIEVE_AFTER_MISS)
                // All but the first fragment would not find the client.
                | set(options.fragments == Fragments::Drop || !pool.is_empty(), flags::NO_FRAGMENTS)
                | set(!from.is_empty(), flags::SOME_CLIENTS)
                | set(!to.is_empty(), flags::SOME_SERVERS)
                | set(!no_tcp.is_empty(), flags::SOME_WITHOUT_TCP)
                | set(options.case != Case::Off, flags::CASE)
                | set(options.case == Case::Learn, flags::LEARN_CASE)
                | set(!no_case.is_empty(), flags::SOME_WITHOUT_CASE)
                | set(options.cookies == Cookies::On, flags::COOKIES),
            dns_ports,
            lockdown_unsolicited: options.lockdown_unsolicited,
            suffixes: u32::try_from(suffixes.len()).unwrap_or(0),
            addresses: addresses.each_ref().map(|list| u32::try_from(list.len()).unwrap_or(0)),
            zero: 0,
        };
        let addresses = addresses.map(|list| list.into_iter().map(range).collect());
        Ok(Plan { config, ports, from, to, no_tcp, no_case, pool, suffixes, addresses })
    }
}

/// Prefixes of servers and ends of names whose case is left alone.
fn exempt(list: &[CaseExempt]) -> Result<(Prefixes, Vec<Suffix>), BpfError> {
    let (mut servers, mut suffixes) = (Vec::new(), Vec::new());
    for one in list {
        match one {
            CaseExempt::Servers(prefix) => servers.push(*prefix),
            CaseExempt::Domain(domain) => suffixes.push(suffix(&domain.wire())),
        }
    }
    if suffixes.len() > SUFFIXES as usize {
        return Err(BpfError::Unsupported("room for more than 16 domains in case-exempt"));
    }
    Ok((keys(&servers), suffixes))
}

/// What is drawn of a prefix: all bits that are not its own.
fn range(prefix: Prefix) -> Range {
    let own = match prefix.family() {
        Family::V4 => 96 + u32::from(prefix.length()),
        Family::V6 => u32::from(prefix.length()),
    };
    let drawn = u128::MAX.checked_shr(own).unwrap_or(0);
    Range {
        first: Address::from(prefix.address()),
        // Not as an IPv4 address, whatever they look like.
        drawn: Address::from_bytes(drawn.to_be_bytes()),
    }
}

fn suffix(wire: &[u8]) -> Suffix {
    let mut suffix = Suffix { length: wire.len() as u64, ..Suffix::default() };
    let places = suffix.words.iter_mut().zip(&mut suffix.masks);
    for ((word, mask), bytes) in places.zip(wire.chunks(8)) {
        *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        *mask = u64::MAX >> (64 - 8 * bytes.len());
    }
    suffix
}

/// Seconds in units of time, rounded up.
pub(crate) fn units(seconds: u64) -> u32 {
    u32::try_from((seconds * 1_000_000_000).div_ceil(1 << TIME_SHIFT)).unwrap_or(u32::MAX)
}

/// The end of a grace in which replies to what was asked before are let in.
pub(crate) fn soon(lifetime: u32) -> u64 {
    now() + u64::from(lifetime)
}

/// A grace without end, for as long as programs are put in their places.
pub(crate) const ENDLESS: u64 = u64::MAX;

/// Now, as the kernel half has it.
pub(crate) fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let nanos = u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000
        + u64::try_from(now.tv_nsec).unwrap_or(0);
    nanos >> TIME_SHIFT
}

fn keys(prefixes: &[Prefix]) -> Prefixes {
    let key = |prefix: &Prefix| {
        let address = Address::from(prefix.address());
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&address.high.to_le_bytes());
        bytes[8..].copy_from_slice(&address.low.to_le_bytes());
        // IPv4 lies behind 96 bits of its own.
        let before = if prefix.address().is_ipv4() { 96 } else { 0 };
        (before + u32::from(prefix.length()), bytes)
    };
    prefixes.iter().map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dnsalt_policy::Settings;

    fn plan(settings: Settings) -> Result<Plan, BpfError> {
        Plan::of(&settings.resolve().unwrap())
    }

    #[test]
    fn the_default() {
        let plan = plan(Settings::default()).unwrap();
        assert_eq!(plan.ports.len(), 64_508);
        assert_eq!(plan.config.ports, 64_508);
        assert_eq!(plan.config.ports_rest, u32::try_from((1_u64 << 32) % 64_508).unwrap());
        assert_eq!(plan.config.lifetime, 299);
        assert_eq!(plan.config.flags, flags::CASE | flags::LEARN_CASE);
        assert_eq!(plan.config.dns_ports, [53, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!((plan.config.lockdown_after, plan.config.lockdown_unsolicited), (64, 1000));
        assert!(!plan.ports.contains(&4789) && plan.ports.contains(&4790));
    }

    #[test]
    fn prefixes_of_both_families() {
        let settings = Settings {
            from: Some(vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()]),
            case: Some(Case::Off),
            ..Settings::default()
        };
        let plan = plan(settings).unwrap();
        assert_eq!(plan.config.flags, flags::SOME_CLIENTS);
        let [(v4, a), (v6, b)] = plan.from[..] else { panic!() };
        assert_eq!((v4, &a[10..14]), (104, &[0xff, 0xff, 10, 0][..]));
        assert_eq!((v6, &b[..4]), (32, &[0x20, 0x01, 0x0d, 0xb8][..]));
    }

    #[test]
    fn whose_case_is_left_alone() {
        let list = ["192.0.2.0/24", "Example.test."].map(|text| text.parse().unwrap());
        let exempt = |list: Vec<CaseExempt>| Settings {
            case: Some(Case::On),
            case_exempt: Some(list),
            ..Settings::default()
        };
        let done = plan(exempt(list.into())).unwrap();
        assert_eq!(done.config.flags, flags::CASE | flags::SOME_WITHOUT_CASE);
        assert_eq!((done.no_case.len(), done.config.suffixes), (1, 1));
        assert_eq!(done.suffixes[0].length, 14);
        assert_eq!(done.suffixes[0].words[0].to_le_bytes(), *b"\x07example");
        assert_eq!(done.suffixes[0].words[1].to_le_bytes(), *b"\x04test\0\0\0");
        assert_eq!(done.suffixes[0].masks[..3], [u64::MAX, (1 << 48) - 1, 0]);
        let many = (0..17).map(|n| format!("zone{n}.test").parse().unwrap()).collect();
        assert!(plan(exempt(many)).unwrap_err().to_string().contains("16 domains"));
    }

    #[test]
    fn of_addresses_and_prefixes_all_other_bits_are_drawn() {
        let source = "192.0.2.16/28,198.51.100.7,2001:db8::/64".parse().unwrap();
        let plan = plan(Settings { source: Some(source), ..Settings::default() }).unwrap();
        let shown = |range: &Range| {
            let last = Address {
                high: range.first.high | range.drawn.high,
                low: range.first.low | range.drawn.low,
            };
            format!("{} {}", std::net::IpAddr::from(range.first), std::net::IpAddr::from(last))
        };
        let [v4, v6] =
            plan.addresses.each_ref().map(|all| all.iter().map(shown).collect::<Vec<_>>());
        assert_eq!(v4, ["198.51.100.7 198.51.100.7", "192.0.2.16 192.0.2.31"]);
        assert_eq!(v6, ["2001:db8:: 2001:db8::ffff:ffff:ffff:ffff"]);
        assert_eq!((plan.config.addresses, plan.pool.len()), ([2, 1], 3));
        assert!(plan.config.has(flags::NO_FRAGMENTS));
    }

    #[test]
    fn what_only_nat_can_do_is_refused() {
        for settings in [
            Settings { per_query: Some(true), ..Settings::default() },
            Settings { proto: Some(vec![Protocol::Tcp]), ..Settings::default() },
            Settings { dns_port: Some((1..10).collect()), ..Settings::default() },
        ] {
            let refused = plan(settings).unwrap_err().to_string();
            assert!(refused.contains("--engine nat"), "{refused}");
        }
    }
}
