//! Where the agent's words go: to the journal with fields, or to standard error.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// To the journal if systemd started us, else as text.
    Auto,
    /// Lines with `name=value`, on standard error.
    Text,
    /// One JSON object a line, on standard error.
    Json,
    /// The journal's own protocol, with a field `DNSALT_...` for each value.
    Journal,
}

/// From here on, all that is said goes there.
pub(crate) fn init(format: Format) -> anyhow::Result<()> {
    let by_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
    // Libraries tell of every event of a socket below that.
    let registry = tracing_subscriber::registry().with(LevelFilter::INFO);
    match format {
        Format::Journal => registry.with(journal()?).try_init()?,
        Format::Auto if by_systemd && journal().is_ok() => registry.with(journal()?).try_init()?,
        Format::Json => {
            let layer = tracing_subscriber::fmt::layer().json().flatten_event(true);
            registry.with(layer.with_target(false).with_writer(std::io::stderr)).try_init()?;
        }
        Format::Auto | Format::Text => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let layer = tracing_subscriber::fmt::layer().with_ansi(colour).with_target(false);
            registry.with(layer.with_writer(std::io::stderr)).try_init()?;
        }
    }
    Ok(())
}

fn journal() -> std::io::Result<tracing_journald::Layer> {
    Ok(tracing_journald::layer()?.with_field_prefix(Some("DNSALT".to_owned())))
}
