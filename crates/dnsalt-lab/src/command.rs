//! Commands on a host. They end with the lab, whatever happens to it.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use crate::{Host, LabError};

/// How long a command may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(3);

/// A command that will run on a host; as [`std::process::Command`], without standard input.
#[derive(Debug)]
pub struct HostCommand<'a> {
    host: &'a Host,
    command: Command,
}

impl<'a> HostCommand<'a> {
    pub(crate) fn new(host: &'a Host, program: OsString) -> Self {
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        // SAFETY: prctl is safe to call between fork and exec.
        unsafe {
            command.pre_exec(|| {
                // Its parent is the host's thread: it is killed when that ends.
                match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            });
        }
        HostCommand { host, command }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.command.arg(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<std::ffi::OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Where standard output goes.
    #[must_use]
    pub fn stdout(mut self, stdio: Stdio) -> Self {
        self.command.stdout(stdio);
        self
    }

    /// Where standard error goes.
    #[must_use]
    pub fn stderr(mut self, stdio: Stdio) -> Self {
        self.command.stderr(stdio);
        self
    }

    /// Runs it to its end; what it printed.
    ///
    /// # Errors
    /// When it cannot be started. That it fails is no error here.
    pub fn output(mut self) -> Result<Output, LabError> {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = self.start()?;
        child.wait_with_output().map_err(|cause| self.failed(cause))
    }

    /// Runs it to its end with this on its standard input.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn output_with_input(mut self, input: &[u8]) -> Result<Output, LabError> {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.start()?;
        let stdin = child.stdin.take();
        // Beside the reading: a full pipe one way must not stop the other.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // That it does not want all of it is its own affair.
                let _ = stdin.map(|mut stdin| stdin.write_all(input));
            });
            child.wait_with_output()
        })
        .map_err(|cause| self.failed(cause))
    }

    /// Starts it and lets it run.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(mut self) -> Result<Running, LabError> {
        Ok(Running { child: self.start()? })
    }

    /// On the host's thread, so that the child is in the host's namespaces.
    fn start(&mut self) -> Result<Child, LabError> {
        let mut command = std::mem::replace(&mut self.command, Command::new("true"));
        let (command, result) = self.host.run(move || {
            let result = command.spawn();
            (command, result)
        });
        self.command = command;
        result.map_err(|cause| self.failed(cause))
    }

    fn failed(&self, cause: io::Error) -> LabError {
        let mut words = vec![self.command.get_program().to_string_lossy()];
        words.extend(self.command.get_args().map(std::ffi::OsStr::to_string_lossy));
        LabError::Command { host: self.host.name().to_owned(), command: words.join(" "), cause }
    }
}

/// A command that runs. Dropped, it is asked to end, then killed, and waited for.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it prints, if that was piped; once.
    pub fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Kills it at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
    }

    /// Waits for its end; none if it still runs then.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn wait_timeout(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.child.try_wait()? {
                None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                status => return Ok(status),
            }
        }
    }

    /// Asks it to end (SIGTERM), and kills it if it does not.
    pub fn stop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if !matches!(self.wait_timeout(GRACE), Ok(Some(_))) {
            self.kill();
        }
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}
