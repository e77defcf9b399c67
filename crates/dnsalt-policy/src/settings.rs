//! The keys of a policy, each given or not: what the command line and the file have in common.

use std::str::FromStr;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use crate::salt::{LONGEST_LIFETIME, MOST_IDENTICAL, MOST_UNSOLICITED};
use crate::{
    Case, CaseExempt, Conntrack, Cookies, DEFAULT_AVOID, Family, Fragments, InterfaceName, OnFull,
    OnNearMiss, Policy, PolicyError, PortRange, PortSet, Prefix, Protocol, SaltOptions, Source,
};

/// The documented sample of the file, as `dnsalt config --sample` prints it.
pub const SAMPLE: &str = include_str!("sample.toml");

/// A policy as far as somebody gave it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Source prefixes whose queries are salted; default all.
    #[serde(deserialize_with = "texts", skip_serializing_if = "Option::is_none")]
    pub from: Option<Vec<Prefix>>,
    /// Server prefixes that queries to are salted; default all.
    #[serde(deserialize_with = "texts", skip_serializing_if = "Option::is_none")]
    pub to: Option<Vec<Prefix>>,
    /// Outgoing interfaces; default all but `lo`.
    #[serde(deserialize_with = "texts", skip_serializing_if = "Option::is_none")]
    pub iface: Option<Vec<InterfaceName>>,
    /// Ports that DNS is asked on; default 53.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_port: Option<Vec<u16>>,
    /// Transports; default UDP and TCP.
    #[serde(deserialize_with = "texts", skip_serializing_if = "Option::is_none")]
    pub proto: Option<Vec<Protocol>>,
    /// Ports that queries may leave from; default 1024-65535.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub ports: Option<PortRange>,
    /// Ports of that range that are left out; default [`DEFAULT_AVOID`].
    #[serde(deserialize_with = "port_ranges", skip_serializing_if = "Option::is_none")]
    pub avoid: Option<Vec<PortRange>>,
    /// The address that queries leave from; default masquerade.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Whether each query gets a port of its own; default no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_query: Option<bool>,
    /// Seconds that an unanswered UDP query keeps its port; 0 leaves the kernel's own; default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// Seconds that a query waits for its reply; default 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<u64>,
    /// Identical queries outstanding at a time, at most; 0 for any number; default 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_identical: Option<u64>,
    /// What becomes of a query for which there is no room; default pass.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub on_full: Option<OnFull>,
    /// What becomes of a query after a near miss; default tcp.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub on_near_miss: Option<OnNearMiss>,
    /// Near misses of a server within a second that begin a lockdown; 0 for never; default 64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lockdown_after: Option<u64>,
    /// Replies of a server within a second that no query waits for; more of them begin a lockdown; 0 for
    /// never; default 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lockdown_unsolicited: Option<u64>,
    /// What becomes of replies in fragments; default pass.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub fragments: Option<Fragments>,
    /// Clients that cannot do TCP; default none.
    #[serde(deserialize_with = "texts", skip_serializing_if = "Option::is_none")]
    pub no_tcp: Option<Vec<Prefix>>,
    /// Whether the letters of names get another case; default learn.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub case: Option<Case>,
    /// Servers and domains whose case is left alone; default none.
    #[serde(deserialize_with = "texts", skip_serializing_if = "Option::is_none")]
    pub case_exempt: Option<Vec<CaseExempt>>,
    /// Whether queries get DNS cookies; default off.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub cookies: Option<Cookies>,
    /// Whether conntrack sees salted queries; default on.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub conntrack: Option<Conntrack>,
}

/// What the machine adds to the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// Ports the machine has reserved (`net.ipv4.ip_local_reserved_ports`), left out of the range
    /// unless `avoid` is given.
    pub reserved: Vec<PortRange>,
}

impl Settings {
    /// The keys of the file.
    pub const KEYS: [&'static str; 22] = [
        "from",
        "to",
        "iface",
        "dns-port",
        "proto",
        "ports",
        "avoid",
        "source",
        "per-query",
        "timeout",
        "lifetime",
        "max-identical",
        "on-full",
        "on-near-miss",
        "lockdown-after",
        "lockdown-unsolicited",
        "fragments",
        "no-tcp",
        "case",
        "case-exempt",
        "cookies",
        "conntrack",
    ];

    /// The default of `timeout`, in seconds.
    pub const TIMEOUT: u8 = 2;

    /// These settings, and `below` for every key that they do not give.
    #[must_use]
    pub fn or(self, below: Settings) -> Settings {
        Settings {
            from: self.from.or(below.from),
            to: self.to.or(below.to),
            iface: self.iface.or(below.iface),
            dns_port: self.dns_port.or(below.dns_port),
            proto: self.proto.or(below.proto),
            ports: self.ports.or(below.ports),
            avoid: self.avoid.or(below.avoid),
            source: self.source.or(below.source),
            per_query: self.per_query.or(below.per_query),
            timeout: self.timeout.or(below.timeout),
            lifetime: self.lifetime.or(below.lifetime),
            max_identical: self.max_identical.or(below.max_identical),
            on_full: self.on_full.or(below.on_full),
            on_near_miss: self.on_near_miss.or(below.on_near_miss),
            lockdown_after: self.lockdown_after.or(below.lockdown_after),
            lockdown_unsolicited: self.lockdown_unsolicited.or(below.lockdown_unsolicited),
            fragments: self.fragments.or(below.fragments),
            no_tcp: self.no_tcp.or(below.no_tcp),
            case: self.case.or(below.case),
            case_exempt: self.case_exempt.or(below.case_exempt),
            cookies: self.cookies.or(below.cookies),
            conntrack: self.conntrack.or(below.conntrack),
        }
    }

    /// These settings with what the machine adds to the defaults written out, so that they mean
    /// the same later.
    #[must_use]
    pub fn complete(mut self, defaults: &Defaults) -> Settings {
        self.avoid.get_or_insert_with(|| {
            let known = DEFAULT_AVOID.into_iter().map(PortRange::from);
            known.chain(defaults.reserved.iter().copied()).collect()
        });
        self
    }

    /// The policy that these settings make.
    ///
    /// # Errors
    /// When they contradict each other, or leave nothing to salt or to salt with.
    pub fn resolve(self) -> Result<Policy, PolicyError> {
        let settings = self.complete(&Defaults::default());
        let salt = settings.salt()?;
        let avoid = settings.avoid.unwrap_or_default();
        let policy = Policy {
            from: merged(settings.from.unwrap_or_default()),
            to: merged(settings.to.unwrap_or_default()),
            interfaces: settings.iface.unwrap_or_default(),
            dns_ports: some_of("dns-port", settings.dns_port, || vec![53])?,
            protocols: protocols(settings.proto)?,
            ports: PortSet::new(settings.ports.unwrap_or(PortRange::UNPRIVILEGED), &avoid)?,
            source: settings.source.unwrap_or_default(),
            per_query: settings.per_query.unwrap_or(false),
            timeout: timeout(settings.timeout)?,
            salt,
        };
        check(policy)
    }

    fn salt(&self) -> Result<SaltOptions, PolicyError> {
        let default = SaltOptions::default();
        Ok(SaltOptions {
            lifetime: number("lifetime", self.lifetime, default.lifetime, 1, LONGEST_LIFETIME)?,
            max_identical: number(
                "max-identical",
                self.max_identical,
                default.max_identical,
                0,
                MOST_IDENTICAL,
            )?,
            on_full: self.on_full.unwrap_or(default.on_full),
            on_near_miss: self.on_near_miss.unwrap_or(default.on_near_miss),
            lockdown_after: number(
                "lockdown-after",
                self.lockdown_after,
                default.lockdown_after,
                0,
                u16::MAX,
            )?,
            lockdown_unsolicited: number(
                "lockdown-unsolicited",
                self.lockdown_unsolicited,
                default.lockdown_unsolicited,
                0,
                MOST_UNSOLICITED,
            )?,
            fragments: self.fragments.unwrap_or(default.fragments),
            no_tcp: merged(self.no_tcp.clone().unwrap_or_default()),
            case: self.case.unwrap_or(default.case),
            case_exempt: self.case_exempt.clone().unwrap_or_default(),
            cookies: self.cookies.unwrap_or(default.cookies),
            conntrack: self.conntrack.unwrap_or(default.conntrack),
        })
    }
}

fn check(mut policy: Policy) -> Result<Policy, PolicyError> {
    if policy.dns_ports.contains(&0) {
        return Err(PolicyError::PortZero);
    }
    policy.dns_ports.sort_unstable();
    policy.dns_ports.dedup();
    let families = policy.families();
    if families.is_empty() {
        return Err(PolicyError::NoFamily);
    }
    if let Source::Pool(pool) = &policy.source
        && let Some(address) = pool.stranger(&families)
    {
        return Err(PolicyError::SourceFamily { address, family: Family::of(address) });
    }
    if policy.salt.conntrack == Conntrack::Off && policy.source == Source::Masquerade {
        return Err(PolicyError::UntrackedNeedsSource);
    }
    if policy.salt.cookies == Cookies::On
        && Family::BOTH.into_iter().any(|family| policy.source.bits(family) > 0.0)
    {
        return Err(PolicyError::CookiesAndPool);
    }
    if policy.per_query && !policy.protocols.contains(&Protocol::Udp) {
        return Err(PolicyError::PerQueryNeedsUdp);
    }
    Ok(policy)
}

/// Sorted, and without prefixes that lie in another: a set of nft has no overlaps, and elsewhere
/// they would be rules for nothing.
fn merged(mut prefixes: Vec<Prefix>) -> Vec<Prefix> {
    prefixes.sort_unstable();
    prefixes.dedup();
    let all = prefixes.clone();
    prefixes.retain(|inner| !all.iter().any(|outer| outer != inner && outer.covers(*inner)));
    prefixes
}

fn some_of<T>(
    key: &'static str,
    given: Option<Vec<T>>,
    default: impl FnOnce() -> Vec<T>,
) -> Result<Vec<T>, PolicyError> {
    match given {
        Some(list) if list.is_empty() => Err(PolicyError::EmptyList(key)),
        Some(list) => Ok(list),
        None => Ok(default()),
    }
}

fn protocols(given: Option<Vec<Protocol>>) -> Result<Vec<Protocol>, PolicyError> {
    let both = || vec![Protocol::Udp, Protocol::Tcp];
    let given = some_of("proto", given, both)?;
    Ok(both().into_iter().filter(|protocol| given.contains(protocol)).collect())
}

fn timeout(given: Option<u64>) -> Result<u8, PolicyError> {
    match given {
        None => Ok(Settings::TIMEOUT),
        Some(seconds) => match u8::try_from(seconds) {
            Ok(fits @ 0..=120) => Ok(fits),
            _ => Err(PolicyError::Timeout(seconds)),
        },
    }
}

/// A number within its bounds.
fn number<T: Copy + Into<u64> + TryFrom<u64>>(
    key: &'static str,
    given: Option<u64>,
    default: T,
    low: T,
    high: T,
) -> Result<T, PolicyError> {
    let Some(given) = given else { return Ok(default) };
    let (low, high) = (low.into(), high.into());
    let refused = PolicyError::OutOfRange { key, given, low, high };
    if !(low..=high).contains(&given) {
        return Err(refused);
    }
    T::try_from(given).map_err(|_| refused)
}

/// A value that is written as text in the file and parsed where it stands, so that an error
/// carries its line.
struct Text<T>(T);

impl<'de, T: FromStr<Err = PolicyError>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Text).map_err(D::Error::custom)
    }
}

fn text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = PolicyError>,
{
    Text::deserialize(deserializer).map(|Text(value)| Some(value))
}

fn texts<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = PolicyError>,
{
    let list = Vec::<Text<T>>::deserialize(deserializer)?;
    Ok(Some(list.into_iter().map(|Text(value)| value).collect()))
}

/// A port as a number, or a range as text.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a port like 4789 or a range like \"8000-8100\"")]
enum PortOrRange {
    Port(u16),
    Range(String),
}

fn port_ranges<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<PortRange>>, D::Error> {
    let list = Vec::<PortOrRange>::deserialize(deserializer)?;
    let range = |item| match item {
        PortOrRange::Port(port) => PortRange::new(port, port),
        PortOrRange::Range(text) => text.parse(),
    };
    list.into_iter().map(range).collect::<Result<_, _>>().map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        toml::from_str(text).unwrap()
    }

    fn refused(text: &str) -> String {
        settings(text).resolve().unwrap_err().to_string()
    }

    /// The sample with every `#key = ...` line made real.
    fn uncommented(sample: &str) -> String {
        let key =
            |line: &str| Settings::KEYS.iter().any(|key| line.starts_with(&format!("#{key} =")));
        sample
            .lines()
            .map(|line| if key(line) { &line[1..] } else { line }.to_owned() + "\n")
            .collect()
    }

    #[test]
    fn the_sample_as_it_stands_is_the_default() {
        assert_eq!(settings(SAMPLE), Settings::default());
    }

    #[test]
    fn the_sample_shows_every_key_with_its_default() {
        let text = uncommented(SAMPLE);
        let shown = settings(&text);
        for key in Settings::KEYS {
            assert!(text.lines().any(|line| line.starts_with(&format!("{key} ="))), "{key}");
        }
        let default = Settings::default().resolve().unwrap();
        assert_eq!(shown.resolve().unwrap(), default);
    }

    #[test]
    fn the_upper_settings_win_key_by_key() {
        let upper = settings("ports = '2000-3000'");
        let lower = settings("ports = '4000-5000'\nper-query = true");
        let both = upper.or(lower);
        assert_eq!(both.ports.unwrap().to_string(), "2000-3000");
        assert_eq!(both.per_query, Some(true));
    }

    #[test]
    fn reserved_ports_count_unless_avoid_is_given() {
        let reserved = Defaults { reserved: vec!["30000-30100".parse().unwrap()] };
        let count =
            |text: &str| settings(text).complete(&reserved).resolve().unwrap().ports().count();
        assert_eq!(count(""), 64_508 - 101);
        assert_eq!(count("avoid = [9999, '8000-8009']"), 64_512 - 11);
        assert_eq!(count("avoid = []"), 64_512);
    }

    #[test]
    fn contradictions_are_refused_with_their_mend() {
        assert!(
            refused("from = ['10.0.0.0/8']\nto = ['2001:db8::/32']")
                .contains("no address family in common")
        );
        assert!(refused("from = ['2001:db8::/32']\nsource = '192.0.2.1'").contains("is IPv4"));
        assert!(refused("proto = ['tcp']\nper-query = true").contains("UDP only"));
        assert!(refused("conntrack = 'off'").contains("needs `source`"));
        assert!(refused("cookies = 'on'\nsource = '192.0.2.0/28'").contains("several `source`"));
        assert!(refused("proto = []").contains("`proto` is an empty list"));
        assert!(refused("dns-port = []").contains("`dns-port` is an empty list"));
        assert!(refused("dns-port = [0]").contains("`dns-port` 0"));
        assert!(refused("timeout = 300").contains("1 to 120"));
        assert!(refused("lifetime = 0").contains("1 to 60"));
        assert!(refused("max-identical = 8").contains("0 to 7"));
        assert!(refused("lockdown-after = 70000").contains("0 to 65535"));
        assert!(refused("lockdown-unsolicited = 4294967295").contains("0 to 1000000000"));
        assert!(refused("ports = '4789-4791'\navoid = ['4000-5000']").contains("empty once"));
    }

    #[test]
    fn prefixes_within_others_are_dropped() {
        let policy = settings("from = ['10.1.0.0/16', '10.0.0.0/8', '10.0.0.0/8', '192.0.2.7']");
        let from = policy.resolve().unwrap().from(Family::V4);
        assert_eq!(from, ["10.0.0.0/8", "192.0.2.7"].map(|text| text.parse().unwrap()));
    }

    #[test]
    fn families_follow_the_prefixes() {
        let policy = settings("from = ['10.0.0.0/8', '192.0.2.7']").resolve().unwrap();
        assert_eq!(policy.families(), [Family::V4]);
        assert!(!policy.covers(Family::V6));
        assert_eq!(policy.from(Family::V4).len(), 2);
    }

    #[test]
    fn the_digest_tells_policies_apart() {
        let digest = |text: &str| settings(text).resolve().unwrap().digest();
        assert_eq!(digest(""), digest("per-query = false"));
        assert_ne!(digest(""), digest("per-query = true"));
        assert_eq!(digest("").len(), 16);
    }
}
