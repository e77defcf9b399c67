//! Running the firewall's own commands.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A command of the firewall that could not be run, or that refused.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It is not installed, or not in `PATH`.
    #[error("{command}: not found; install it (Debian, Ubuntu: apt install {package})")]
    Missing {
        /// The command.
        command: String,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// It could not be started or talked to.
    #[error("{command}: {cause}")]
    Io {
        /// The command with its arguments.
        command: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// It ran, and said no.
    #[error("{command} failed: {stderr}")]
    Failed {
        /// The command with its arguments.
        command: String,
        /// What it said, on one line.
        stderr: String,
    },
}

impl CommandError {
    /// What the command itself said; empty where it did not get that far.
    pub fn stderr(&self) -> &str {
        match self {
            CommandError::Failed { stderr, .. } => stderr,
            CommandError::Missing { .. } | CommandError::Io { .. } => "",
        }
    }
}

/// Runs a command to its end and returns what it printed.
///
/// It runs in a process group of its own: Ctrl-C on the terminal ends us, not a transaction that
/// is under way. It is found by its whole path, and has nothing of our environment.
pub(crate) fn run(
    program: &str,
    args: &[&str],
    input: Option<&str>,
) -> Result<String, CommandError> {
    use std::os::unix::process::CommandExt as _;

    let described = || [&[program], args].concat().join(" ");
    let io = |cause| CommandError::Io { command: described(), cause };
    let mut command = Command::new(found(program)?);
    command
        .args(args)
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = command.spawn().map_err(|cause| match cause.kind() {
        std::io::ErrorKind::NotFound => missing(program),
        _ => io(cause),
    })?;
    if let Some(input) = input
        && let Some(mut stdin) = child.stdin.take()
    {
        // A command that refuses early closes the pipe; what it says about it counts, not that.
        let _ = stdin.write_all(input.as_bytes());
    }
    let Output { status, stdout, stderr } = child.wait_with_output().map_err(io)?;
    if status.success() {
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    } else {
        let stderr = String::from_utf8_lossy(&stderr);
        Err(CommandError::Failed { command: described(), stderr: one_line(&stderr) })
    }
}

/// Whether a command is in `PATH`.
pub(crate) fn exists(program: &str) -> bool {
    found(program).is_ok()
}

/// Where a command is. Folders that depend on where we were started are not looked into.
pub(crate) fn found(program: &str) -> Result<PathBuf, CommandError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let absolute = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
    let found = absolute.map(|folder| folder.join(program)).find(|path| path.is_file());
    found.ok_or_else(|| missing(program))
}

fn missing(program: &str) -> CommandError {
    CommandError::Missing { command: program.to_owned(), package: package(program) }
}

fn package(program: &str) -> &'static str {
    if program.starts_with("nft") { "nftables" } else { "iptables" }
}

fn one_line(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}
