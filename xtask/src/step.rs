//! One step: a command with a header line, run in the root of the repository.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context as _, bail};

/// A command to run, as it is shown and as it is started.
pub(crate) struct Step {
    command: Command,
    shown: String,
}

impl Step {
    /// `cargo` with these arguments: the cargo that runs us, not another on `PATH`.
    pub(crate) fn cargo(args: &[&str]) -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut step = Self::program("cargo", args);
        step.command = Command::new(cargo);
        step.command.args(args).current_dir(root());
        step
    }

    /// A program of `PATH`, or with its path.
    pub(crate) fn program(name: impl AsRef<OsStr>, args: &[&str]) -> Self {
        let mut command = Command::new(&name);
        command.args(args).current_dir(root());
        let shown = [&[&*name.as_ref().to_string_lossy()], args].concat().join(" ");
        Step { command, shown }
    }

    /// Sets a variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self.shown = format!("{name}='{value}' {}", self.shown);
        self
    }

    /// Sets a variable of the environment that is no part of the header line.
    pub(crate) fn hidden_env(mut self, name: &str, value: &OsStr) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it in another folder than the root of the repository.
    pub(crate) fn inside(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Whether it is there and runs; shows nothing.
    pub(crate) fn works(mut self) -> bool {
        let quiet = self.command.stdout(Stdio::null()).stderr(Stdio::null());
        quiet.status().is_ok_and(|status| status.success())
    }

    /// Runs it, with its output as it comes.
    pub(crate) fn run(mut self) -> anyhow::Result<()> {
        self.header();
        let status = self.command.status();
        ended(&self.shown, status.with_context(|| self.not_started())?)
    }

    /// Runs it and passes each line of its standard output to `line` as it comes.
    pub(crate) fn run_lines(mut self, mut line: impl FnMut(&str)) -> anyhow::Result<()> {
        self.header();
        let child = self.command.stdout(Stdio::piped()).spawn();
        let mut child = child.with_context(|| self.not_started())?;
        let mut output = BufReader::new(child.stdout.take().context("no pipe to read from")?);
        let mut bytes = Vec::new();
        while output.read_until(b'\n', &mut bytes)? > 0 {
            line(String::from_utf8_lossy(&bytes).trim_end_matches('\n'));
            bytes.clear();
        }
        ended(&self.shown, child.wait()?)
    }

    /// Runs it and returns what it prints; shows nothing but its errors.
    pub(crate) fn output(mut self) -> anyhow::Result<Vec<u8>> {
        let output = self.command.stderr(Stdio::inherit()).output();
        let output = output.with_context(|| self.not_started())?;
        ended(&self.shown, output.status)?;
        Ok(output.stdout)
    }

    fn header(&self) {
        println!("\n== {}", self.shown);
    }

    fn not_started(&self) -> String {
        format!("could not start `{}`", self.shown)
    }
}

fn ended(shown: &str, status: ExitStatus) -> anyhow::Result<()> {
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// The root of the repository: the parent of this crate.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_one_by_one_and_the_failure_names_the_command() {
        let mut lines = Vec::new();
        let step = Step::program("sh", &["-c", "echo one; printf two; exit 7"]);
        let failure = step.run_lines(|line| lines.push(line.to_owned()));
        assert_eq!(lines, ["one", "two"]);
        let text = failure.unwrap_err().to_string();
        assert!(text.starts_with("`sh -c ") && text.contains('7'), "{text}");
    }

    #[test]
    fn what_is_not_installed_does_not_work() {
        assert!(Step::program("true", &[]).works());
        assert!(!Step::program("false", &[]).works());
        assert!(!Step::program("dnsalt-no-such-program", &[]).works());
    }
}
