//! A race as a file describes it. What it does not say has a default; what it says and is not known is an
//! error.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use dnsalt_policy::{Case, Cookies, OnNearMiss, Settings, Source};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::network::MOST_SERVERS;
use super::victim::Victim;

/// A race: network, victim, protection, attack, and what is expected of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// What it shows, in a line.
    pub title: String,
    /// Between the actors.
    #[serde(default)]
    pub network: NetworkOptions,
    /// Who is attacked.
    pub victim: VictimOptions,
    /// What stands in the way.
    #[serde(default)]
    pub protection: Protection,
    /// What the attacker does.
    pub attack: Attack,
    /// What should come of it.
    #[serde(default)]
    pub expect: Expect,
}

/// Section `network`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct NetworkOptions {
    /// The time that the right reply takes: the attacker's window.
    #[serde(deserialize_with = "duration")]
    pub delay: Duration,
    /// Name servers of the attacked zone, 1 to 4.
    #[serde(deserialize_with = "server_count")]
    pub servers: u8,
    /// Errors of ICMP that resolver and gateway send to one address: one in so many milliseconds after a
    /// burst of six, 0 for any number (`net.ipv4.icmp_ratelimit`); without it, 1000 as usual.
    pub icmp_ratelimit: Option<u32>,
    /// Whether the name servers of the attacked zone have DNS cookies (RFC 7873).
    pub cookies: bool,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        NetworkOptions {
            delay: Duration::from_millis(200),
            servers: 1,
            icmp_ratelimit: None,
            cookies: false,
        }
    }
}

/// Section `victim`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct VictimOptions {
    /// The program.
    pub resolver: Victim,
}

/// Section `protection`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Protection {
    /// What is installed on the gateway.
    pub engine: Engine,
    /// As in `dnsalt.toml`.
    pub policy: Settings,
}

/// What is installed on the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// Nothing.
    #[default]
    None,
    /// The rule of 2008 alone, without dnsalt.
    Recipe,
    /// NAT by the kernel.
    Nat,
    /// The eBPF program.
    Salt,
}

/// What the attacker aims at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The port that its own server saw, with the ID that comes next where they count.
    KnownPort,
    /// All ports that there may be.
    Spray,
    /// The port that a scan finds open by the errors of ICMP that do not come.
    Scan,
    /// Those few ports that it leaves to a NAT, having taken all others by packets of its own.
    Steer,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::KnownPort, Kind::Spray, Kind::Scan, Kind::Steer];

    /// The word for it.
    pub fn title(self) -> &'static str {
        match self {
            Kind::KnownPort => "known port",
            Kind::Spray => "spray",
            Kind::Scan => "port scan",
            Kind::Steer => "steered NAT",
        }
    }
}

/// What the lab gives away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// The port that a query left from.
    Port,
    /// Its query ID.
    Id,
}

/// Section `attack`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Attack {
    /// How.
    pub kind: Kind,
    /// The ports that it takes for possible: `LO-HI`.
    #[serde(default = "all_ports", deserialize_with = "ports")]
    pub ports: RangeInclusive<u16>,
    /// What the lab tells it of each query, so that the rest can be measured by itself.
    #[serde(default)]
    pub told: Option<Told>,
    /// Forged packets a second, at most.
    #[serde(default = "usual_rate")]
    pub rate: f64,
    /// When it gives up.
    #[serde(rename = "for", deserialize_with = "duration")]
    pub lasts: Duration,
    /// Names that it has asked for, at most.
    #[serde(default)]
    pub windows: Option<u64>,
    /// Forged packets for each of them, at most.
    #[serde(default)]
    pub packets: Option<u64>,
    /// Whether it goes on after a success, so that a rate can be measured. Then it forges answers alone,
    /// without the name server that would give it the whole zone.
    #[serde(default)]
    pub goes_on: bool,
}

/// Section `expect`. What is not said is not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Expect {
    /// Whether the cache is poisoned.
    pub poisoned: Option<bool>,
    /// At the latest after this time.
    #[serde(deserialize_with = "some_duration")]
    pub within: Option<Duration>,
    /// The share of windows that were won agrees with the formula, within so many standard deviations.
    pub agrees_within: Option<f64>,
    /// Errors of ICMP that left the gateway or the resolver, at most.
    pub icmp_errors: Option<u64>,
    /// Names that the client did not get resolved, at most.
    pub failures: Option<u64>,
}

impl Scenario {
    /// From the text of a file.
    ///
    /// # Errors
    /// When it is none: with line and key.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}

fn all_ports() -> RangeInclusive<u16> {
    1024..=65535
}

fn usual_rate() -> f64 {
    100_000.0
}

/// `200ms`, `1s`, `2m`.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|why| {
        de::Error::custom(format!("{text:?} is no time ({why}); 200ms, 1s and 2m are"))
    })
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

fn server_count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let count = u8::deserialize(deserializer)?;
    if (1..=MOST_SERVERS).contains(&count) {
        return Ok(count);
    }
    Err(de::Error::custom(format!("there can be 1 to {MOST_SERVERS} servers, not {count}")))
}

fn ports<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RangeInclusive<u16>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parsed = text.split_once('-').and_then(|(low, high)| {
        let (low, high) = (low.parse().ok()?, high.parse().ok()?);
        (low > 0 && low <= high).then_some(low..=high)
    });
    parsed.ok_or_else(|| de::Error::custom(format!("{text:?} is no range of ports; 1024-65535 is")))
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.engine {
            Engine::None => "none",
            Engine::Recipe => "recipe of 2008",
            Engine::Nat => "nat",
            Engine::Salt => "salt",
        })?;
        let policy = &self.policy;
        if policy.per_query == Some(true) {
            f.write_str(", per query")?;
        }
        if policy.on_near_miss == Some(OnNearMiss::Drop) {
            let case = policy.case.unwrap_or(Case::Learn) != Case::Off;
            f.write_str(match (&policy.source, case) {
                (Some(Source::Pool(_)), true) => ", case and address",
                (Some(Source::Pool(_)), false) => ", port, ID, address",
                (_, true) if policy.cookies == Some(Cookies::On) => ", case and cookies",
                (_, true) => ", port, ID and case",
                (_, false) if policy.cookies == Some(Cookies::On) => ", port, ID, cookies",
                (_, false) => ", port and ID only",
            })?;
        }
        Ok(())
    }
}
