//! Policies that differ in what the model knows, and the engine of the host with each.

use std::cell::Cell;

use dnsalt_bpf::{Keys, Plan};
use dnsalt_policy::{Policy, Settings};
use dnsalt_sim::{Setting, World};

use crate::play::{Host, Tally};
use crate::script::events;
use crate::{Model, Play, Terms};

const RANDOM: [u64; 2] = [0x6b65_7920_6f66_2061, 0x2077_6f72_6c64_2e20];

/// Keys with which none of the servers shares its place with another.
pub const KEYS: Keys = Keys {
    places: [0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321],
    nonces: [0x0011_2233_4455_6677, 0x8899_aabb_ccdd_eeff],
    random: Some(RANDOM),
};

/// Lockdowns that a few events begin, and queries that a few steps end.
pub const QUICK: &str = "lifetime = 2\nlockdown-after = 5\nlockdown-unsolicited = 40\n";
/// No lockdowns, and queries that wait for as long as a test runs.
pub const LONG: &str = "lifetime = 60\nlockdown-after = 0\nlockdown-unsolicited = 0\n";

const POLICIES: [&str; 8] = [
    "case = 'on'",
    "case = 'off'\nmax-identical = 0",
    "case = 'on'\non-near-miss = 'drop'",
    "case = 'on'\nfragments = 'drop'\nmax-identical = 2",
    "case = 'on'\nno-tcp = ['10.0.1.0/31', '2001:db8:0:1::4/127']",
    "case = 'off'\nfrom = ['10.0.1.0/31', '2001:db8:0:1::/64']\nto = ['10.0.53.0/31', '2001:db8::/32']",
    "case = 'off'\nfragments = 'drop'\non-near-miss = 'drop'\nno-tcp = ['10.0.1.1']",
    "case = 'on'\ndns-port = [53, 5353, 52]\nports = '2000-9999'",
];

/// How many there are.
pub const COUNT: usize = POLICIES.len();

/// One of them, with times: [`QUICK`] or [`LONG`].
///
/// # Panics
/// Never: they are right.
pub fn policy(n: usize, times: &str) -> Policy {
    let settings: Settings =
        toml::from_str(&[times, POLICIES[n % COUNT]].concat()).expect("settings");
    settings.resolve().expect("a policy")
}

/// What goes into the maps for it.
///
/// # Panics
/// Never, likewise.
pub fn setting(policy: &Policy) -> Setting {
    let plan = Plan::of(policy).expect("what the engine can do");
    let mut config = plan.config;
    (config.key, config.nonce_key) = (KEYS.places, KEYS.nonces);
    Setting {
        config,
        random: RANDOM,
        ports: plan.ports,
        from: plan.from,
        to: plan.to,
        no_tcp: plan.no_tcp,
        no_case: plan.no_case,
        pool: plan.pool,
        suffixes: plan.suffixes,
        addresses: plan.addresses,
    }
}

/// The model of a policy, to which nothing has happened.
pub fn model(policy: &Policy) -> Model {
    Model::new(Terms::of(policy), KEYS.places[0])
}

/// Plays a script to the engine of the host, the first byte being the policy. A world is dear to make: each thread
/// keeps its own, and empties it.
///
/// # Errors
/// When the engine does what it must not.
pub fn play(bytes: &[u8]) -> Result<Tally, String> {
    thread_local! {
        static WORLD: Cell<Option<Box<World>>> = const { Cell::new(None) };
        static ALL: Vec<(Setting, Model)> =
            (0..COUNT).map(|n| policy(n, QUICK)).map(|one| (setting(&one), model(&one))).collect();
    }
    let Some((policy, script)) = bytes.split_first() else { return Ok(Tally::default()) };
    let (setting, model) = ALL.with(|all| all[usize::from(*policy) % COUNT].clone());
    let mut world = WORLD.take().unwrap_or_else(|| World::new(Setting::default()));
    world.set(setting);
    // Bits of the policy that are left: whether cards are to finish checksums.
    let partial = (usize::from(*policy) / COUNT) & 1 != 0;
    let mut play = Play::new(Host { world, partial }, model).with_partial(partial);
    let played = play.play(&events(script));
    WORLD.set(Some(play.engine.world));
    played.map(|()| play.tally)
}
