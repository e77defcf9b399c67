//! `dnsalt watch`: the protection of this machine, live.

use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use dnsalt_policy::Policy;
use dnsalt_salt::layout::{Counter, SLOTS};
use rustix::thread::CapabilitySet;

use super::{need, need_net_admin};
use crate::cli::WatchArgs;
use crate::clock::since_1970;
use crate::configuration::Configured;
use crate::engine::SaltReport;
use crate::exit::{Failure, Outcome, Verdict};
use crate::interfaces;
use crate::state::Store;
use crate::status::{self, Status};
use crate::watch::{
    Bits, Model, Next, Protection, Room, Screen, Source, Theme, View, Wanted, draw, is_roomy,
};

/// How often samples, keys and signals are looked at.
const PATIENCE: Duration = Duration::from_millis(50);

/// The port that DNS is asked on where no policy says otherwise.
const DNS: u16 = 53;

pub(super) fn run(args: &WatchArgs, state_dir: &Path) -> Outcome {
    need_terminal()?;
    need_net_admin("reading the firewall")?;
    need(CapabilitySet::NET_RAW, "CAP_NET_RAW", "watching the wire")?;
    interfaces::all_exist(&args.iface).map_err(Failure::Usage)?;
    let store = Store::open(state_dir)?;
    let wanted = wanted(args, &store)?;
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut model = Model::new(host, &wanted.interfaces, now(), args.interval.as_secs());
    let look = move || match status::look(&store) {
        Ok(status) => Ok(protection(status)),
        Err(error) => Err(format!("{error:#}")),
    };
    let mut source = Source::start(&wanted, Box::new(look))?;
    let mut screen = Screen::take().context("taking over the terminal")?;
    watch(&mut screen, &mut source, &mut model, args.interval)?;
    Ok(Verdict::Fine)
}

fn need_terminal() -> Result<(), Failure> {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(Failure::Usage(
            "watch draws on a terminal, and this is none; `dnsalt status` prints what is known"
                .to_owned(),
        ));
    }
    if dumb {
        return Err(Failure::Usage(
            "watch needs a terminal that can move its cursor, and TERM says that this one cannot; \
             `dnsalt status` prints what is known"
                .to_owned(),
        ));
    }
    Ok(())
}

/// What to watch: what is given, or else what is installed is for.
fn wanted(args: &WatchArgs, store: &Store) -> anyhow::Result<Wanted> {
    let policy = match store.read()? {
        Some(state) => Some(Configured::new(state.current.settings)?.policy),
        None => None,
    };
    let of_policy = policy.as_ref().map(Policy::interfaces).unwrap_or_default();
    let given = if args.iface.is_empty() { of_policy } else { &args.iface };
    let mut interfaces: Vec<_> = given.iter().map(ToString::to_string).collect();
    if interfaces.is_empty() {
        interfaces = interfaces::outer()?;
    }
    if interfaces.is_empty() {
        anyhow::bail!("no interface is up but lo; bring one up, or name one with --iface");
    }
    interfaces.sort();
    interfaces.dedup();
    let ports = policy.map_or_else(|| vec![DNS], |policy| policy.dns_ports().to_vec());
    Ok(Wanted { interfaces, ports, interval: args.interval })
}

/// Until a key or a signal ends it.
fn watch(
    screen: &mut Screen,
    source: &mut Source,
    model: &mut Model,
    interval: Duration,
) -> anyhow::Result<()> {
    let (mut view, theme) = (View::default(), Theme::of_terminal());
    // The first picture at once, the second as soon as there is something to show.
    let mut due = Instant::now() + PATIENCE * 6;
    let (mut drawn, mut changed) = (screen.size()?, true);
    while !screen.is_over() {
        let size = screen.size()?;
        if changed || size != drawn {
            view.roomy = is_roomy(size);
            screen.draw(|frame| draw(frame, view.of(model), &view, theme))?;
            drawn = size;
        }
        let patience = PATIENCE.min(due.saturating_duration_since(Instant::now()));
        let keys = Screen::keys(patience)?;
        changed = !keys.is_empty();
        for key in keys {
            if view.press(key, model) == Next::Quit {
                return Ok(());
            }
        }
        for sample in source.take(now())? {
            model.feed(sample);
        }
        if Instant::now() >= due {
            // Ticks that were missed while the machine slept are not made up for.
            due = (due + interval).max(Instant::now());
            model.tick(now());
            changed |= !view.is_paused();
        }
    }
    anyhow::ensure!(!Screen::has_panicked(), "watching stopped unexpectedly");
    Ok(())
}

/// Nanoseconds since 1970.
fn now() -> u64 {
    u64::try_from(since_1970().as_nanos()).unwrap_or(u64::MAX)
}

/// What `status` says, as `watch` shows it.
fn protection(status: Status) -> Protection {
    let mut protection = Protection {
        whole: status.protected,
        problems: status.problems,
        engine: status.engine,
        backend: status.backend,
        since: status.since,
        undone_at: status.undone_at,
        scope: status.scope,
        lacks: status.lacks,
        ..Protection::default()
    };
    if let Some(salt) = &status.salt {
        of_salt(&mut protection, salt);
    }
    if let Some(bits) = &status.strength {
        let note = if bits.strength.per_query {
            "the port, drawn for every query"
        } else {
            "the port, drawn for every flow"
        };
        protection.bits = Some(Bits { now: bits.now, worst: bits.worst, note });
    }
    if let Some(unsolicited) = status.unsolicited {
        protection.dropped = vec![(unsolicited, "belonged to no query")];
    }
    if let Some(usage) = status.conntrack.map(|conntrack| conntrack.usage) {
        protection.room = Some(Room::Conntrack { entries: usage.entries, max: usage.max });
    }
    protection
}

fn of_salt(protection: &mut Protection, salt: &SaltReport) {
    let sum = |counters: &[Counter]| counters.iter().map(|c| salt.count(*c)).sum::<u64>();
    let note = if salt.one_guess {
        "after one near miss only over TCP"
    } else {
        "no limit to guesses once the port is known"
    };
    protection.bits = Some(Bits { now: salt.worst, worst: salt.worst, note });
    protection.dropped = vec![
        (sum(&[Counter::Forged]), "forged"),
        (sum(&[Counter::WrongId, Counter::WrongQuestion, Counter::WrongServer]), "near misses"),
        (sum(&[Counter::Late, Counter::Duplicate]), "late or twice"),
    ];
    protection.lockdowns = Some(salt.count(Counter::Lockdowns));
    protection.unsalted = sum(&[Counter::Full, Counter::Unsalted]);
    protection.room = Some(Room::Slots(u64::from(SLOTS)));
    protection.lifetime = Some(u64::from(salt.lifetime));
}
