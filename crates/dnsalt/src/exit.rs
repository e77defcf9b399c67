//! How the program ends: exit codes, and one clear line when something is wrong.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::{cli, commands, output};

/// What a verb found, when it could do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Exit code 0.
    Fine,
    /// Exit code 1: a weakness was found, or an expectation was not met.
    Weak,
}

/// Why a verb could not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Exit code 2: what was asked for makes no sense; nothing was changed.
    Usage(String),
    /// Exit code 3: it makes sense, but could not be done; what was begun was undone.
    CouldNot(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::CouldNot(error.into())
    }
}

/// The end of every verb.
pub(crate) type Outcome = Result<Verdict, Failure>;

/// Reads the command line, runs the verb, and turns its end into an exit code.
pub fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match commands::run(cli) {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::Weak) => ExitCode::from(1),
        Err(Failure::Usage(message)) => {
            output::error(&message);
            ExitCode::from(2)
        }
        // Whoever read our output has seen enough: that is no failure.
        Err(Failure::CouldNot(error)) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(Failure::CouldNot(error)) => {
            output::error(&format!("{error:#}"));
            ExitCode::from(3)
        }
    }
}

/// Help and version as clap prints them; every mistake as one line.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(2);
    }
    let text = error.render().to_string();
    let first = text.lines().next().unwrap_or_default();
    let mut line = first.strip_prefix("error: ").unwrap_or(first).to_owned();
    if error.kind() == ErrorKind::MissingRequiredArgument {
        let missing: Vec<_> =
            text.lines().skip(1).take_while(|l| !l.is_empty()).map(str::trim).collect();
        line = format!("{line} {}", missing.join(", "));
    }
    for kind in
        [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue]
    {
        match error.get(kind) {
            Some(ContextValue::String(name)) => line += &format!("; did you mean `{name}`?"),
            Some(ContextValue::Strings(names)) if !names.is_empty() => {
                line += &format!("; did you mean `{}`?", names[0]);
            }
            _ => {}
        }
    }
    if let Some(ContextValue::Strings(valid)) = error.get(ContextKind::ValidValue)
        && !valid.is_empty()
    {
        line += &format!("; use {}", valid.join(", "));
    }
    output::error(&line);
    ExitCode::from(2)
}
