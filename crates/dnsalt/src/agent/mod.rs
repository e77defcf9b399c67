//! The agent behind `dnsalt run`: keeps the protection up for as long as it runs, and leaves it when it
//! stops.
//!
//! The order of its steps; each needs what the later ones give up:
//!
//! 1. read the policy, look at the machine (nothing is changed)
//! 2. be the only agent of this network namespace
//! 3. install the policy, as `up` does, unless it is there
//! 4. open what tells of changes: rtnetlink, nftables' notices, the engine's events, signals
//! 5. drop capabilities, also from what is started later (the bounding set)
//! 6. landlock: files; seccomp: system calls
//! 7. serve metrics, on sockets that were opened before step 3; tell systemd that we are ready
//! 8. until a signal comes: look whether all is there, put it back if not, renew keys, tell of events
//!
//! ```text
//!   rtnetlink ───┐                       ┌─▶ engine.installed: whole? ── no ──▶ put back, tell
//!   nftables  ───┼─▶ wait, at most TURN ─┼─▶ events of the engine ──▶ journal, --exec-on-alert
//!   events    ───┤                       └─▶ SIGHUP: the new policy, or the old one and why
//!   signals   ───┘
//! ```

mod course;
mod events;
mod forged;
mod keeper;
mod kernel;
mod log;
mod notify;
mod privileges;
mod signals;

use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::exit::{Outcome, Verdict};
use crate::metrics::{Metrics, Server};

pub(crate) use events::Alert;
pub(crate) use forged::Forged;
pub(crate) use keeper::{Keeper, Look};
pub(crate) use log::{Format, init as init_log};

use events::Events;
use kernel::Notices;
use notify::Systemd;
use signals::Signals;

/// How long nothing is looked at, at most: what nobody tells of is seen then.
const TURN: Duration = Duration::from_millis(500);
/// Notices come in crowds: a look after so long sees what all of them were about.
const CROWD: Duration = Duration::from_millis(50);
/// How old the keys of the engine's generator get.
const KEYS: Duration = Duration::from_secs(3600);

/// What the verb was told beyond the policy.
pub(crate) struct Options {
    /// Takes the protection away at the end.
    pub(crate) down_on_exit: bool,
    /// What is started when something needs somebody's attention.
    pub(crate) alert: Option<Alert>,
    /// Where forged packets are kept; open already.
    pub(crate) forged: Option<Forged>,
    /// Where numbers are to be had; open already.
    pub(crate) server: Server,
}

/// Steps 4 to 8.
pub(crate) fn run(mut keeper: Keeper, mut options: Options) -> Outcome {
    let signals = Signals::new().context("catching signals")?;
    let notices = Notices::open().context("listening to the kernel")?;
    let mut events = Events::new(options.alert.clone(), keeper.counters());
    events.follow(&keeper);
    privileges::drop_all(&keeper, &options)?;
    events.keep_in(options.forged.take());
    // Its threads have no more rights than we have now.
    let metrics = Metrics::new(keeper.store().clone(), keeper.counters());
    let server = options.server.run(metrics).context("serving metrics")?;
    let systemd = Systemd::new();
    notify::ready();
    tracing::info!(engine = keeper.engine_name(), "protected");
    let mut keys = Instant::now();
    while !signals.ends() {
        let told = signals.wait(&notices, events.fd(), TURN);
        if told {
            std::thread::sleep(CROWD);
        }
        notices.drain();
        if signals.take_reload() {
            notify::reloading();
            keeper.reload();
            notify::ready();
        }
        match keeper.look() {
            Look::Whole | Look::Broken => {}
            Look::Restored => events.follow(&keeper),
            Look::TakenDown => {
                tracing::info!("`dnsalt down` took the protection away; the agent ends");
                notify::stopping();
                return Ok(Verdict::Fine);
            }
        }
        if keys.elapsed() > KEYS {
            keeper.renew_keys();
            keys = Instant::now();
        }
        events.tell();
        systemd.alive(keeper.is_whole());
    }
    notify::stopping();
    drop(server);
    if options.down_on_exit {
        keeper.take_down()?;
        tracing::info!("the protection was taken away, as --down-on-exit asks for");
    } else {
        tracing::info!("the agent ends; the protection stays: `dnsalt down` takes it away");
    }
    Ok(Verdict::Fine)
}
