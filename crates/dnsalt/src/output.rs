//! Results go to standard output, all else to standard error.

use std::io::{self, IsTerminal as _, Write as _};

/// Prints a result. An error is a broken pipe as a rule; see [`is_broken_pipe`].
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| io::Error::new(error.kind(), format!("standard output: {error}")))
}

/// Prints a result as JSON, indented, with a line end.
pub(crate) fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(print(&text)?)
}

/// Says what is going on, beside the results: into the agent's log where that runs.
pub(crate) fn say(line: &str) {
    if tracing::dispatcher::has_been_set() {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(warning) = line.strip_prefix("warning: ") {
            tracing::warn!("{warning}");
        } else {
            tracing::info!("{line}");
        }
        return;
    }
    let _ = writeln!(io::stderr(), "{line}");
}

/// The one line of a failure.
pub(crate) fn error(message: &str) {
    say(&format!("dnsalt: {message}"));
}

/// Whether the reader of our output went away.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.downcast_ref::<io::Error>().is_some_and(broken)
}

/// How a word is set apart on a terminal; the plain word elsewhere.
#[derive(Clone, Copy)]
pub(crate) enum Tone {
    /// Headings.
    Strong,
    /// As it should be.
    Good,
    /// Weak.
    Bad,
}

/// Colours a result if standard output is a terminal and `NO_COLOR` is not set.
pub(crate) fn paint(tone: Tone, text: &str) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|term| term == "dumb")
        || !io::stdout().is_terminal();
    if plain {
        return text.to_owned();
    }
    let code = match tone {
        Tone::Strong => "1",
        Tone::Good => "32",
        Tone::Bad => "31",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}
