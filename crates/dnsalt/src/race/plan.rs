//! Which races are run: a few to look at, all combinations, or those of files.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use dnsalt_lab::race::{
    Attack, Engine, Expect, Kind, NetworkOptions, Protection, ROUTED, Scenario, Victim,
    VictimOptions,
};
use dnsalt_policy::{Case, Conntrack, Cookies, OnNearMiss, PortRange, Settings, Source};

/// Ports that scans are shown with: looking at all of them takes half an hour.
const SCANNED: [u16; 2] = [40_000, 40_399];
/// Ports that a NAT is steered among: among all of them the few that are left are still too many for a
/// race that one wants to see the end of.
const STEERED: [u16; 2] = [40_000, 42_047];

macro_rules! scenarios {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../../../dnsalt-lab/scenarios/", $name, ".toml")))),+]
    };
}

/// The scenarios that are part of the program, by the names of their files.
pub(crate) const BUILT_IN: [(&str, &str); 24] = scenarios![
    "bind-fixed",
    "dnsmasq-fixed",
    "legacy",
    "unbound",
    "nat-spray",
    "nat-scan",
    "nat-steer",
    "recipe-scan",
    "recipe-steer",
    "salt-cookies",
    "salt-legacy",
    "salt-scan",
    "salt-spray",
    "measure-nat-256",
    "measure-nat-512",
    "measure-nat-1024",
    "measure-salt-256",
    "measure-salt-512",
    "measure-salt-1024",
    "measure-pool-1024",
    "measure-ids-8192",
    "measure-ids-16384",
    "measure-ids-32768",
    "measure-taint",
];

/// Before and after, in less than three minutes.
const SHORT: [&str; 3] = ["bind-fixed", "nat-spray", "salt-spray"];

/// One of those that are part of the program.
///
/// # Panics
/// When there is none of that name, or it is none; tests read them all.
pub(crate) fn built_in(name: &str) -> Scenario {
    let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name).expect("a name of the list");
    Scenario::parse(text).expect("a scenario that tests read")
}

/// One of a file, or one of those that are part of the program.
pub(crate) fn named(name: &Path) -> anyhow::Result<Scenario> {
    let known = BUILT_IN.iter().find(|(known, _)| Path::new(known) == name);
    let text = match known {
        Some((_, text)) => (*text).to_owned(),
        None => std::fs::read_to_string(name).with_context(|| {
            format!("{}: no such file, and no scenario of that name", name.display())
        })?,
    };
    Scenario::parse(&text).map_err(|why| anyhow::anyhow!("{}: {}", name.display(), one_line(&why)))
}

/// Where it is wrong, and how, without the picture.
fn one_line(why: &toml::de::Error) -> String {
    why.message().trim().replace('\n', "; ")
}

/// The short version.
pub(crate) fn short() -> Vec<Scenario> {
    SHORT.map(built_in).to_vec()
}

/// Every resolver, protection and attack; then what is measured against the formula.
pub(crate) fn full(lasts: Duration) -> Vec<Scenario> {
    let mut all = Vec::new();
    for victim in Victim::ALL {
        for protection in protections() {
            for kind in Kind::ALL {
                all.extend(cell(victim, &protection, kind, lasts));
            }
        }
    }
    all.extend(measures());
    all
}

/// Those that are measured against the formula.
pub(crate) fn measures() -> Vec<Scenario> {
    let all = BUILT_IN.iter().filter(|(name, _)| name.starts_with("measure-"));
    all.map(|(name, _)| built_in(name)).collect()
}

fn protections() -> [Protection; 9] {
    let with = |engine, policy| Protection { engine, policy };
    let plain = Settings::default;
    // What each query has for itself: no limit to guesses.
    let unlimited = |case, cookies, source: Option<Source>| {
        let policy = Settings {
            on_near_miss: Some(OnNearMiss::Drop),
            lockdown_after: Some(0),
            lockdown_unsolicited: Some(0),
            case: Some(case),
            cookies: Some(cookies),
            conntrack: source.is_some().then_some(Conntrack::Off),
            source,
            ..plain()
        };
        with(Engine::Salt, policy)
    };
    [
        with(Engine::None, plain()),
        with(Engine::Recipe, plain()),
        with(Engine::Nat, plain()),
        with(Engine::Nat, Settings { per_query: Some(true), ..plain() }),
        unlimited(Case::Off, Cookies::Off, None),
        unlimited(Case::On, Cookies::Off, None),
        unlimited(Case::On, Cookies::Off, ROUTED.parse().ok()),
        unlimited(Case::On, Cookies::On, None),
        with(Engine::Salt, plain()),
    ]
}

/// One combination; none where it would be another one again.
fn cell(victim: Victim, protection: &Protection, kind: Kind, lasts: Duration) -> Option<Scenario> {
    let mut protection = protection.clone();
    let bare = protection.engine == Engine::None;
    let cookies = protection.policy.cookies == Some(Cookies::On);
    // Who has cookies of its own gets none.
    if bare && kind == Kind::Steer || cookies && victim.has_cookies() {
        return None;
    }
    let fewer = match kind {
        Kind::Scan => Some(SCANNED),
        Kind::Steer => Some(STEERED),
        Kind::KnownPort | Kind::Spray => None,
    };
    let mut ports = 1024..=65535;
    if let Some([low, high]) = fewer {
        ports = low..=high;
        if bare && victim.ports().len() == 1 {
            // As many around the one that there is.
            let middle = *victim.ports().start();
            let half = (high - low) / 2;
            ports = middle - half..=middle + half + 1;
        }
        protection.policy.ports = PortRange::new(low, high).ok();
    }
    let network = NetworkOptions {
        // Else this kernel sends too few errors to one address for any scan.
        icmp_ratelimit: (kind == Kind::Scan).then_some(0),
        cookies,
        ..NetworkOptions::default()
    };
    let poisoned = (protection.engine == Engine::Salt).then_some(false);
    Some(Scenario {
        title: format!("{}, {protection}, {}", victim.title(), kind.title()),
        network,
        victim: VictimOptions { resolver: victim },
        protection,
        attack: Attack {
            kind,
            ports,
            told: None,
            rate: 100_000.0,
            lasts,
            windows: None,
            packets: None,
            goes_on: false,
        },
        expect: Expect { poisoned, ..Expect::default() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_are_part_of_the_program_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dnsalt-lab/scenarios");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), BUILT_IN.len());
        for (name, text) in BUILT_IN {
            let scenario = Scenario::parse(text).unwrap_or_else(|why| panic!("{name}: {why}"));
            scenario.protection.policy.resolve().unwrap();
        }
    }

    #[test]
    fn every_combination_is_there_once() {
        let all = full(Duration::from_secs(10));
        assert_eq!(all.len(), 5 * 31 + 3 * 4 + 11);
        let titles: std::collections::HashSet<_> = all.iter().map(|one| &one.title).collect();
        assert_eq!(titles.len(), all.len());
    }

    #[test]
    fn what_is_wrong_in_a_file_is_said_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        for (text, expected) in [
            (
                "title = 't'\nvictim.resolver = 'bind'\nattack = { kind = 'spray', for = '1s', x = 1 }",
                "unknown field `x`",
            ),
            (
                "title = 't'\nvictim.resolver = 'knot'\nattack = { kind = 'spray', for = '1s' }",
                "unknown variant `knot`",
            ),
            (
                "title = 't'\nvictim.resolver = 'bind'\nattack = { kind = 'spray', for = 'soon' }",
                "is no time",
            ),
            (
                "title = 't'\nvictim.resolver = 'bind'\nnetwork.servers = 5\nattack = { kind = 'spray', for = '1s' }",
                "1 to 4 servers",
            ),
            (
                "title = 't'\nvictim.resolver = 'bind'\nattack = { kind = 'spray', for = '1s', ports = '9-8' }",
                "no range of ports",
            ),
        ] {
            std::fs::write(&file, text).unwrap();
            let said = named(&file).unwrap_err().to_string();
            assert!(said.contains(expected) && !said.contains('\n'), "{said}");
        }
    }
}
