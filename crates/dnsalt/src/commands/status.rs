//! `dnsalt status`: what is installed, and how strong it is.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dnsalt_nat::conntrack::{self, Usage};
use dnsalt_nat::driver::Backend;
use dnsalt_nat::strength::{Strength, most_open};
use dnsalt_policy::{Policy, Settings};
use serde::Serialize;

use super::need_net_admin;
use crate::cli::StatusArgs;
use crate::configuration::Configured;
use crate::engine::{self, Engine, Installed, Nat, Salt, SaltReport};
use crate::exit::{Outcome, Verdict};
use crate::output::{self, Tone, paint};
use crate::state::{State, Store};

pub(super) fn run(args: &StatusArgs, state_dir: &Path) -> Outcome {
    need_net_admin("reading the firewall")?;
    let status = look(&Store::open(state_dir)?)?;
    if args.json {
        output::print_json(&status)?;
    } else {
        output::print(&status.text())?;
    }
    Ok(if status.protected { Verdict::Fine } else { Verdict::Weak })
}

/// The report; renderers show it as text and as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    /// Rules are in the kernel, whole and unchanged.
    pub(super) protected: bool,
    /// What is wrong, in words, with what to do.
    pub(super) problems: Vec<String>,
    pub(super) engine: Option<&'static str>,
    pub(super) backend: Option<String>,
    /// Seconds since 1970.
    pub(super) since: Option<u64>,
    /// What is salted, in words.
    pub(super) scope: Option<String>,
    pub(super) settings: Option<Settings>,
    /// New flows that the rules caught; with per-query ports these are queries.
    pub(super) caught: Option<u64>,
    /// Packets from a server's port that belonged to no query, and were dropped.
    pub(super) unsolicited: Option<u64>,
    /// What this machine could not take of the rules, in words, with what to do.
    pub(super) lacks: Option<String>,
    pub(super) conntrack: Option<Conntrack>,
    pub(super) strength: Option<Bits>,
    /// What the salt engine does, if it is that.
    pub(super) salt: Option<SaltReport>,
    /// Seconds since 1970: when an unconfirmed `up` is undone.
    pub(super) undone_at: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Conntrack {
    /// Entries for DNS within the scope.
    pub(super) dns_entries: usize,
    /// All entries of this network namespace.
    pub(super) entries: u64,
    pub(super) max: u64,
}

/// Effective bits of the source port, of the weakest address family.
#[derive(Debug, Serialize)]
pub(super) struct Bits {
    #[serde(flatten)]
    pub(super) strength: Strength,
    /// Most mappings open now between one socket of a client and one server.
    pub(super) open: usize,
    pub(super) now: f64,
    pub(super) worst: f64,
    /// Queries a second to one server at which ports run out.
    pub(super) cap: Option<u64>,
}

/// What is installed as far as anybody knows: by the state, or else wherever something of ours is.
fn found(
    store: &Store,
    state: Option<&State>,
    policy: Option<&Policy>,
) -> anyhow::Result<(Box<dyn Engine>, Option<Installed>)> {
    if let Some(state) = state {
        let engine = engine::of(&state.current, store.folder());
        let installed = engine.installed(policy)?;
        return Ok((engine, installed));
    }
    let nat: Box<dyn Engine> = Box::new(Nat::new(Backend::Auto, store.folder()));
    let salt = dnsalt_bpf::find_bpffs().map(|bpffs| Box::new(Salt::new(bpffs)) as Box<dyn Engine>);
    for engine in salt.into_iter().chain([nat]) {
        // No state and nobody to ask: nothing of ours is there.
        if let Ok(Some(installed)) = engine.installed(None) {
            return Ok((engine, Some(installed)));
        }
    }
    Ok((Box::new(Nat::new(Backend::Auto, store.folder())), None))
}

/// Puts together what the state says and what the kernel says.
pub(super) fn look(store: &Store) -> anyhow::Result<Status> {
    let state = store.read_settled()?;
    let policy = match &state {
        Some(state) => Some(Configured::new(state.current.settings.clone())?.policy),
        None => None,
    };
    let (engine, installed) = found(store, state.as_ref(), policy.as_ref())?;
    let mut status = Status {
        protected: false,
        problems: problems(state.as_ref(), installed.as_ref()),
        engine: installed.as_ref().map(|_| engine.name()),
        backend: installed.as_ref().map(|_| engine.backend().to_owned()),
        since: None,
        scope: None,
        settings: None,
        caught: installed.as_ref().map(|installed| installed.caught),
        unsolicited: installed.as_ref().and_then(|installed| installed.dropped),
        lacks: installed.as_ref().and_then(|installed| installed.lacks.clone()),
        conntrack: None,
        strength: None,
        salt: None,
        undone_at: None,
    };
    status.protected = installed.is_some() && status.problems.is_empty();
    if let (Some(state), Some(installed), Some(policy)) = (state, installed, policy) {
        if let Some(salt) = &installed.salt {
            status.salt = Some(SaltReport::of(&policy, salt));
        } else {
            let entries = conntrack::entries(&policy)?;
            let usage = conntrack::usage().unwrap_or(Usage { count: 0, max: 0 });
            let (entries_in_all, max) = (usage.count, usage.max);
            status.strength = Some(bits(&policy, most_open(&entries)));
            let dns_entries = entries.len();
            status.conntrack = Some(Conntrack { dns_entries, entries: entries_in_all, max });
        }
        status.since = Some(state.current.since);
        status.scope = Some(engine.scope(&policy));
        status.settings = Some(state.current.settings);
        status.undone_at = state.unconfirmed.map(|unconfirmed| unconfirmed.until);
    }
    Ok(status)
}

fn bits(policy: &Policy, open: usize) -> Bits {
    let strength = Strength::weakest(policy);
    Bits {
        strength,
        open,
        now: strength.bits_with(open as f64),
        // Per query: at the cap every port is open. Per flow: the one port is known.
        worst: 0.0,
        cap: strength.cap(),
    }
}

/// Where the state and the kernel do not agree.
fn problems(state: Option<&State>, installed: Option<&Installed>) -> Vec<String> {
    let mut problems = Vec::new();
    match (state, installed) {
        (Some(state), None) if state.complete.is_some() => problems.push(
            "the rules are gone: something flushed them (a firewall that reloads does); run `dnsalt up` again".to_owned(),
        ),
        (Some(_), None) => problems.push(
            "an `up` was interrupted before its rules were in; run it again, or `dnsalt down`".to_owned(),
        ),
        (Some(state), Some(installed)) => match &state.complete {
            None => problems.push(
                "an `up` was interrupted after its rules were in, unchecked; run it again, or `dnsalt down`".to_owned(),
            ),
            Some(complete) if complete.fingerprint != installed.fingerprint => problems.push(
                "somebody changed our rules since `up`; run it again".to_owned(),
            ),
            Some(_) => {}
        },
        (None, _) => {}
    }
    if let Some(missing) = installed.and_then(|installed| installed.missing.as_ref()) {
        problems.push(format!("missing: {missing}; run `dnsalt up` again"));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if let Some(unconfirmed) = state.and_then(|state| state.unconfirmed.as_ref())
        && unconfirmed.until + 5 < now
    {
        problems
            .push("nobody confirmed in time, and nobody undid it; run `dnsalt down`".to_owned());
    }
    problems
}

impl Status {
    fn text(&self) -> String {
        let mut text = self.headline();
        for problem in &self.problems {
            text += &format!("  - {problem}\n");
        }
        let mut line = |name: &str, value: &str| text += &format!("{name:<10} {value}\n");
        if let (Some(engine), Some(backend)) = (self.engine, &self.backend) {
            let since =
                self.since.map(|since| format!(", since {}", ago(since))).unwrap_or_default();
            line("engine", &format!("{engine}, by {backend}{since}"));
        }
        if let Some(scope) = &self.scope {
            line("salted", scope);
        }
        if let Some(caught) = self.caught {
            let unit = match &self.strength {
                Some(bits) if !bits.strength.per_query => "flows",
                None if self.salt.is_none() => "flows",
                _ => "queries",
            };
            line("caught", &format!("{caught} {unit}"));
        }
        if let Some(unsolicited) = self.unsolicited {
            line("dropped", &format!("{unsolicited} replies that belonged to no query"));
        }
        if let Some(lacks) = &self.lacks {
            line("lacks", lacks);
        }
        if let Some(salt) = &self.salt {
            for (name, value) in salt.lines() {
                line(name, &value);
            }
        }
        if let Some(conntrack) = &self.conntrack {
            let of_all = match conntrack.max {
                0 => String::new(),
                max => format!("; the table holds {} of {max}", conntrack.entries),
            };
            line("conntrack", &format!("{} entries for DNS{of_all}", conntrack.dns_entries));
        }
        if let Some(bits) = &self.strength {
            for (name, value) in bits.lines() {
                line(name, &value);
            }
        }
        if let Some(until) = self.undone_at {
            let at = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(until));
            line("confirm", &format!("undone at {at} unless you say: dnsalt confirm"));
        }
        text
    }

    fn headline(&self) -> String {
        match (self.protected, self.engine) {
            (true, _) if self.settings.is_none() => format!(
                "{} Rules of dnsalt are loaded, but not by `up` since this boot; `dnsalt up` takes them over.\n",
                paint(Tone::Good, "Up.")
            ),
            (true, Some("salt")) => format!(
                "{} DNS queries leave with random ports and IDs.\n",
                paint(Tone::Good, "Up.")
            ),
            (true, _) => {
                format!("{} DNS queries leave from random ports.\n", paint(Tone::Good, "Up."))
            }
            (false, Some(_)) => format!("{}\n", paint(Tone::Bad, "Up, but not as it should be:")),
            (false, None) if self.problems.is_empty() => format!(
                "{} Queries leave from the ports that programs choose. Protect them: dnsalt up\n",
                paint(Tone::Bad, "Not up.")
            ),
            (false, None) => format!("{}\n", paint(Tone::Bad, "Not protected:")),
        }
    }
}

impl Bits {
    /// The strength with its formulae, line by line.
    fn lines(&self) -> Vec<(&'static str, String)> {
        let Strength { choices, lifetime, per_query } = self.strength;
        let fresh = self.strength.fresh_bits();
        let per = if per_query { "query" } else { "flow" };
        let mut lines = vec![
            ("a port", format!("is drawn for each {per}, and open until idle for {lifetime} s")),
            (
                "bits now",
                format!(
                    "{:.1} of {fresh:.1}: log2({choices} ports / {} open to one server at a time)",
                    self.now,
                    self.open.max(1)
                ),
            ),
        ];
        match self.cap {
            None => lines.push((
                "worst case",
                format!(
                    "{:.1}: one socket that asks at least every {lifetime} s stays on one port;\n\
                     {:11}whoever finds that port has only the query ID left to guess.\n\
                     {:11}Against that: dnsalt up --per-query",
                    self.worst, "", ""
                ),
            )),
            Some(cap) => {
                let at =
                    |rate: u64| format!("{:.1} at {rate}/s", self.strength.bits_at(rate as f64));
                let rates: Vec<_> = [1, 10, 100, 1000, 10_000]
                    .into_iter()
                    .filter(|rate| *rate < cap)
                    .map(at)
                    .collect();
                lines.push((
                    "worst case",
                    format!(
                        "log2(ports / (rate * {lifetime} s)), rate of one socket to one server:\n\
                         {:11}{};\n\
                         {:11}{:.1} at {cap}/s, where ports run out and queries get lost",
                        "",
                        rates.join(", "),
                        "",
                        self.worst
                    ),
                ));
            }
        }
        lines
    }
}

/// `2026-02-03T04:05:06Z (2h 5m ago)`.
fn ago(since: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(since);
    let stamp = humantime::format_rfc3339_seconds(time);
    let elapsed = SystemTime::now().duration_since(time).unwrap_or_default().as_secs();
    let rounded = match elapsed {
        0..=119 => elapsed,
        120..=7199 => elapsed / 60 * 60,
        _ => elapsed / 3600 * 3600,
    };
    format!("{stamp} ({} ago)", humantime::format_duration(Duration::from_secs(rounded)))
}
