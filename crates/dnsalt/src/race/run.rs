//! One race, from the scenario to what came of it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use dnsalt_lab::Host;
use dnsalt_lab::race::{self, Engine, Event, Scenario};
use dnsalt_policy::Settings;
use serde_json::Value;

use super::{Counted, Expectation, Prediction, Race};
use crate::commands::own_program;

/// Where the lab's gateway has a bpffs of its own.
const BPFFS: &str = "/run/bpf";
/// How often the engine is asked what it counted, while it is attacked.
const LOOK: Duration = Duration::from_millis(400);

/// What is seen meanwhile.
pub(crate) enum Meanwhile<'a> {
    /// Network and servers are made, the resolver is started.
    Building,
    /// The engine is installed; what was asked before gets the time to be answered.
    Protecting,
    /// Of the attack.
    Attack(Event<'a>, Option<Counted>),
}

/// Runs it; `tell` hears of it meanwhile.
pub(crate) fn run(scenario: &Scenario, tell: &dyn Fn(Meanwhile<'_>)) -> anyhow::Result<Race> {
    tell(Meanwhile::Building);
    let lab = race::Race::build(scenario.clone()).context("the race could not be built")?;
    tell(Meanwhile::Protecting);
    protect(lab.gateway(), scenario)?;
    let counted = Mutex::new(None);
    let over = AtomicBool::new(false);
    let raced = std::thread::scope(|scope| {
        if matches!(scenario.protection.engine, Engine::Nat | Engine::Salt) {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    if let Ok(now) = count(lab.gateway()) {
                        set(&counted, now);
                    }
                    std::thread::sleep(LOOK);
                }
            });
        }
        let raced = lab.attack(&|event| tell(Meanwhile::Attack(event, get(&counted))));
        over.store(true, Ordering::Relaxed);
        raced
    })?;
    let counted = match scenario.protection.engine {
        Engine::None | Engine::Recipe => None,
        Engine::Nat | Engine::Salt => Some(count(lab.gateway())?),
    };
    let predicted = Prediction::of(scenario, &raced.attacked);
    let ports = &scenario.attack.ports;
    let mut race = Race {
        title: scenario.title.clone(),
        victim: scenario.victim.resolver.title(),
        protection: scenario.protection.to_string(),
        attack: scenario.attack.kind.title(),
        told: scenario.attack.told,
        ports: [*ports.start(), *ports.end()],
        delay: scenario.network.delay.as_secs_f64(),
        servers: scenario.network.servers,
        raced,
        counted,
        predicted,
        expectations: Vec::new(),
    };
    race.expectations = expectations(scenario, &race);
    Ok(race)
}

fn set(counted: &Mutex<Option<Counted>>, now: Counted) {
    if let Ok(mut counted) = counted.lock() {
        *counted = Some(now);
    }
}

fn get(counted: &Mutex<Option<Counted>>) -> Option<Counted> {
    counted.lock().ok().and_then(|counted| *counted)
}

/// Installs what the scenario says, as an administrator would.
fn protect(gateway: &Host, scenario: &Scenario) -> anyhow::Result<()> {
    let policy = &scenario.protection.policy;
    let engine = match scenario.protection.engine {
        Engine::None => return Ok(()),
        Engine::Recipe => {
            gateway.sh(&recipe(policy))?;
            return Ok(());
        }
        Engine::Nat => "nat",
        Engine::Salt => "salt",
    };
    let text = toml::to_string(policy).context("the scenario's policy")?;
    gateway
        .run(move || std::fs::write("/run/dnsalt.toml", text))
        .context("writing the policy on the gateway")?;
    gateway.sh(&format!("mkdir -p {BPFFS} && mount -t bpf bpf {BPFFS}"))?;
    let mut up = gateway.command(own_program()?);
    up = up.args(["up", "--no-health", "--config", "/run/dnsalt.toml", "--engine", engine]);
    if engine == "salt" {
        up = up.args(["--bpffs", BPFFS]);
    }
    let done = up.output()?;
    if !done.status.success() {
        bail!("dnsalt up: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    if engine == "salt" {
        // For so long, replies to what was asked before are let in.
        let lifetime = policy.clone().resolve()?.salt().lifetime;
        std::thread::sleep(Duration::from_secs(u64::from(lifetime)) + Duration::from_millis(300));
    }
    Ok(())
}

/// The rule of 2008 in the words of today, with a range of ports.
fn recipe(policy: &Settings) -> String {
    let ports = policy.ports.map_or("1024-65535".to_owned(), |ports| ports.to_string());
    format!(
        "nft add table ip recipe
        nft add chain ip recipe post '{{ type nat hook postrouting priority srcnat; }}'
        nft add rule ip recipe post udp dport 53 masquerade to :{ports} fully-random"
    )
}

fn count(gateway: &Host) -> anyhow::Result<Counted> {
    let status = gateway.command(own_program()?).args(["status", "--json"]).output()?;
    let status: Value = serde_json::from_slice(&status.stdout).context("dnsalt status")?;
    let queries = status["caught"].as_u64().unwrap_or(0);
    let counters = &status["salt"]["counters"];
    let sum = |names: &[&str]| {
        let all: Option<Vec<u64>> = names.iter().map(|name| counters[*name].as_u64()).collect();
        all.map(|all| all.iter().sum())
    };
    Ok(Counted {
        queries,
        near_misses: sum(&["wrong_id", "wrong_question", "wrong_server"]),
        unsolicited: sum(&["forged"]).or_else(|| status["unsolicited"].as_u64()),
        to_tcp: sum(&["answered_tc", "truncated"]),
        lockdowns: sum(&["lockdowns"]),
    })
}

/// What the scenario expects of it.
fn expectations(scenario: &Scenario, race: &Race) -> Vec<Expectation> {
    let (expect, attacked) = (&scenario.expect, &race.raced.attacked);
    let mut all = Vec::new();
    let mut add = |what: String, seen: String, met: bool| all.push(Expectation { what, seen, met });
    if let Some(expected) = expect.poisoned {
        let what = if expected { "the cache is poisoned" } else { "the cache is not poisoned" };
        let seen = match &attacked.poisoned {
            Some(poisoned) => format!("poisoned after {}", dnsalt_audit::time(poisoned.after)),
            None => format!("not in {} windows", attacked.windows),
        };
        add(what.to_owned(), seen, attacked.poisoned.is_some() == expected);
    }
    if let Some(within) = expect.within {
        let after = attacked.poisoned.as_ref().map(|poisoned| poisoned.after);
        let seen = after.map_or("never".to_owned(), dnsalt_audit::time);
        let met = after.is_some_and(|after| after <= within.as_secs_f64());
        add(format!("within {}", dnsalt_audit::time(within.as_secs_f64())), seen, met);
    }
    if let Some(most) = expect.agrees_within {
        let deviations = race.deviations();
        let p = race.predicted.window;
        let seen = format!(
            "{} of {} windows; {:.1} expected, {deviations:+.1} deviations",
            attacked.hits,
            attacked.windows,
            attacked.windows as f64 * p
        );
        add(format!("agrees with the formula within {most}"), seen, deviations.abs() <= most);
    }
    if let Some(most) = expect.icmp_errors {
        let errors = race.raced.icmp_errors();
        add(format!("at most {most} errors of ICMP"), errors.to_string(), errors <= most);
    }
    if let Some(most) = expect.failures {
        let failures = attacked.failures;
        add(format!("at most {most} names not resolved"), failures.to_string(), failures <= most);
    }
    all
}
