//! Packets of a live interface into the state of the audit, until the time is up or Ctrl-C.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::Context as _;
use dnsalt_capture::{Live, PortFilter};
use dnsalt_wire::link::LinkType;
use indicatif::ProgressBar;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::read::Reading;
use super::text::number;
use crate::output;

/// How often the time, Ctrl-C and the line of progress are looked at.
const TICK: Duration = Duration::from_millis(200);

/// Watches an interface; returns the packets that the kernel dropped.
///
/// # Errors
/// When the interface cannot be watched, or goes away.
pub(crate) fn watch(
    reading: &mut Reading,
    interface: &str,
    ports: &[u16],
    time: Option<Duration>,
) -> anyhow::Result<u64> {
    let filter = PortFilter::new(ports)?;
    let mut live = Live::open_ring(interface, &filter)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("waiting for Ctrl-C")?;
    }
    let until = match time {
        Some(time) => format!("for {}", humantime::format_duration(time)),
        None => "until Ctrl-C".to_owned(),
    };
    output::say(&format!("Watching {interface} {until}."));
    let counts = if std::io::stderr().is_terminal() {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::hidden()
    };
    let deadline = time.and_then(|time| Instant::now().checked_add(time));
    let (mut next_tick, mut over) = (Instant::now(), false);
    while !over {
        if let Some(frame) = live.next(TICK)? {
            let time = frame.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            let time = u64::try_from(time).unwrap_or(u64::MAX);
            reading.packet(time, LinkType::RAW, frame.data);
        }
        if Instant::now() >= next_tick {
            next_tick = Instant::now() + TICK;
            let dropped = live.drops()?;
            counts.set_message(format!(
                "{} packets, {} queries, {} dropped",
                number(reading.totals.packets),
                number(reading.totals.queries),
                number(dropped)
            ));
            counts.tick();
        }
        let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        over = late || stop.load(Ordering::Relaxed);
    }
    counts.finish_and_clear();
    Ok(live.drops()?)
}
