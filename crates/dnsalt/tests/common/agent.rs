//! The agent, as a service manager starts it.

use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use dnsalt_lab::{Host, Running};
use serde_json::Value;

use super::{BIN, dnsalt};

/// Longer than anything takes that should take a moment.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) struct Agent<'a> {
    pub(crate) host: &'a Host,
    pub(crate) running: Running,
    notices: UnixDatagram,
}

impl<'a> Agent<'a> {
    /// Starts it, and waits until it says that it is ready.
    pub(crate) fn start(host: &'a Host, options: &[&str]) -> Self {
        let agent = Self::spawn(host, &[], options);
        agent.hears("READY=1");
        agent
    }

    /// Starts it by way of a program that then is it.
    pub(crate) fn spawn(host: &'a Host, by: &[&str], options: &[&str]) -> Self {
        let notices = host.run(|| {
            let _ = std::fs::remove_file("/run/notify");
            UnixDatagram::bind("/run/notify").unwrap()
        });
        notices.set_read_timeout(Some(PATIENCE)).unwrap();
        let log = host.run(|| std::fs::File::create("/run/agent.log").unwrap());
        let words = [by, &[BIN, "run", "--log", "json"], options].concat();
        let running = host
            .command(words[0])
            .args(&words[1..])
            .env("NOTIFY_SOCKET", "/run/notify")
            .stdout(Stdio::null())
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        Agent { host, running, notices }
    }

    pub(crate) fn hears(&self, what: &str) {
        let mut buffer = [0; 1024];
        loop {
            let got = self.notices.recv(&mut buffer);
            let got = got.unwrap_or_else(|why| panic!("{why}, not {what}; log: {}", self.log()));
            if String::from_utf8_lossy(&buffer[..got]).contains(what) {
                return;
            }
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        self.host.sh(&format!("kill -{name} {}", self.running.pid())).unwrap();
    }

    pub(crate) fn log(&self) -> String {
        self.host.sh("cat /run/agent.log").unwrap()
    }

    /// Lines of the log about such events.
    pub(crate) fn told(&self, event: &str) -> Vec<Value> {
        let log = self.log();
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
        lines.filter(|line| line["event"] == event).collect()
    }

    /// Waits for its end; the code, -1 if it was killed.
    pub(crate) fn ends(&mut self) -> i32 {
        self.code(PATIENCE).unwrap_or_else(|| panic!("it goes on: {}", self.log()))
    }

    /// The same, if that comes soon enough.
    pub(crate) fn code(&mut self, patience: Duration) -> Option<i32> {
        Some(self.running.wait_timeout(patience).unwrap()?.code().unwrap_or(-1))
    }
}

pub(crate) fn status(host: &Host) -> Value {
    let text = dnsalt(host, &["status", "--json"]).stdout;
    serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text}"))
}

pub(crate) fn is_protected(host: &Host) -> bool {
    status(host)["protected"] == true
}
