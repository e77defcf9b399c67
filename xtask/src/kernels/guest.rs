//! A machine in QEMU: a kernel, an initramfs, and a serial console.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::results::Results;
use super::tool;

/// What boots.
#[derive(Debug)]
pub(crate) struct Guest<'a> {
    pub(crate) kernel: &'a Path,
    pub(crate) initrd: &'a Path,
    pub(crate) accelerated: bool,
}

/// Whether the processor can be lent to a guest, by us. Some machines in the cloud have the device
/// without the processor's part of it, and would emulate that, slowly and not all of it.
pub(crate) fn has_kvm() -> bool {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let can = processor.split_whitespace().any(|flag| flag == "vmx" || flag == "svm");
    can && OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok()
}

impl Guest<'_> {
    /// Runs it to its end, or to the end of its time; passes on what it prints.
    pub(crate) fn run(&self, limit: Duration) -> anyhow::Result<Results> {
        let start = Instant::now();
        let how = if self.accelerated { "with KVM" } else { "emulated" };
        println!("\n== {} in QEMU, {how}", self.kernel.display());
        let mut machine = Machine(self.command()?.spawn().context("could not start QEMU")?);
        let console = machine.0.stdout.take().context("no console to read from")?;
        let errors = machine.0.stderr.take().context("no errors to read from")?;
        let (sender, lines) = mpsc::channel();
        let errors_sender = sender.clone();
        std::thread::spawn(move || pass_on(console, |text| sender.send(Line::Guest(text)).is_ok()));
        std::thread::spawn(move || {
            pass_on(errors, |text| errors_sender.send(Line::Qemu(text)).is_ok());
        });
        let mut results = Results::default();
        loop {
            match lines.recv_timeout(limit.saturating_sub(start.elapsed())) {
                Ok(Line::Guest(line)) => {
                    if results.line(&line) {
                        println!("{line}");
                    }
                }
                Ok(Line::Qemu(line)) => {
                    // It would wait for somebody to look at it.
                    results.broken |= line.starts_with("KVM internal error");
                    if results.broken {
                        break;
                    }
                    eprintln!("{line}");
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    results.timed_out = true;
                    break;
                }
            }
        }
        results.took = start.elapsed();
        Ok(results)
    }

    fn command(&self) -> anyhow::Result<Command> {
        let (program, root) = tool("usr/bin/qemu-system-x86_64", "qemu-system-x86")?;
        let mut command = Command::new(program);
        if let Some(root) = root {
            let libraries = root.join("usr/lib/x86_64-linux-gnu");
            command.env("QEMU_MODULE_DIR", libraries.join("qemu"));
            // Some are in folders of their own.
            let mut path = libraries.clone().into_os_string();
            path.push(":");
            path.push(libraries.join("pulseaudio"));
            command.env("LD_LIBRARY_PATH", path);
            for data in ["seabios", "qemu"] {
                command.arg("-L").arg(root.join("usr/share").join(data));
            }
        }
        let accelerator: &[&str] = if self.accelerated {
            &["-accel", "kvm", "-cpu", "host"]
        } else {
            &["-accel", "tcg,thread=multi", "-cpu", "max"]
        };
        command.args(accelerator);
        command.args([
            "-machine",
            "q35",
            "-m",
            "2G",
            "-smp",
            "2",
            "-nodefaults",
            "-no-user-config",
        ]);
        command.args(["-display", "none", "-serial", "stdio", "-no-reboot"]);
        command.arg("-kernel").arg(self.kernel).arg("-initrd").arg(self.initrd);
        // Its words would stand amid those of the tests; a panic is printed all the same, and ends it.
        command.arg("-append").arg(OsString::from("console=ttyS0 quiet loglevel=1 panic=-1"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }
}

/// Who says something.
enum Line {
    Guest(String),
    Qemu(String),
}

/// Reads to the end, or to where nobody wants it any more.
fn pass_on(from: impl Read, mut to: impl FnMut(String) -> bool) {
    let mut from = BufReader::new(from);
    let mut bytes = Vec::new();
    while from.read_until(b'\n', &mut bytes).is_ok_and(|length| length > 0) {
        if !to(String::from_utf8_lossy(&bytes).trim_end().to_owned()) {
            return;
        }
        bytes.clear();
    }
}

/// Off when dropped.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // That it has ended already is what we want.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
