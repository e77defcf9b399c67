//! Looking for an open port by errors that do not come (SAD DNS, Man and others 2020).
//!
//! A host sends so many errors of ICMP a second to all the world (`icmp_msgs_per_sec`, a burst of 50).
//! Probes of one port with the address of the name server, which alone may reach it, use that up if the
//! port is closed, and do not if it is open. Right after them the attacker probes a closed port from its
//! own address: do errors come back?
//!
//! ```text
//!   attacker  ── 25 probes each of ports p, q, from "10.53.3.53" ──▶ closed: 50 errors, to 10.53.3.53
//!   attacker  ── 20 probes of port 1, from itself ─────────────────▶ none are left: no error comes
//!                                                                    p or q open: errors come
//! ```
//!
//! Since Linux 5.10 each error costs 0, 1 or 2 of the burst, by chance, so that one probe of each port does
//! not tell any more; 25 of each do. Newer kernels (6.12, and those it was carried back to) count what is
//! sent to one address first: there the errors to the name server's address never use up the burst,
//! unless `icmp_ratelimit` is 0.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::client::Client;
use super::flood::{BATCH, Flood};
use super::network::{ATTACKER, Network, servers};
use super::scenario::Scenario;
use super::zones::BANK;
use super::{Event, Tell};
use crate::LabError;

/// Ports that are looked at together.
const TOGETHER: usize = 2;
/// What the kernel lets go at once.
const BURST: usize = 50;
/// Probes from the attacker's own address.
const OWN: usize = 20;
/// So many errors come back, and more, if something was open.
const MANY: usize = 14;
/// In which the burst is there again: 50 errors at 1000 a second, and a little.
const CYCLE: Duration = Duration::from_millis(56);
/// In which errors come back.
const ECHO: Duration = Duration::from_millis(3);
/// How often the resolver is made to ask, so that its port stays open.
const KEEP: Duration = Duration::from_millis(300);
/// Nothing listens there.
const CLOSED: u16 = 1;
/// The header of a reply without anything.
pub(super) const NOTHING: [u8; 12] = [0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// What a scan told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scanned {
    /// Ports that were looked at.
    pub ports: u64,
    /// In so many seconds.
    pub seconds: f64,
    /// Where it ended.
    pub end: ScanEnd,
    /// The port that is open.
    pub port: Option<u16>,
}

/// How a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScanEnd {
    /// It goes on.
    Running,
    /// A port is open.
    Found,
    /// All ports were looked at, or the time was over.
    NotFound,
    /// Errors come, whatever was probed: they tell nothing.
    NoSignal,
    /// Hardly any error comes at all.
    NoErrors,
}

struct Scan<'a> {
    probes: Flood,
    errors: OwnedFd,
    client: &'a mut Client,
    target: Ipv4Addr,
    server: Ipv4Addr,
    asked: Option<Instant>,
    number: u64,
}

/// Looks at all ports that there may be, until one is found or the time is over.
pub(super) fn run(
    network: &Network,
    client: &mut Client,
    target: Ipv4Addr,
    scenario: &Scenario,
    tell: Tell<'_>,
) -> Result<Scanned, LabError> {
    let server = servers(1).next().unwrap_or(ATTACKER);
    let (probes, errors) = (Flood::new(&network.attacker)?, errors_socket(network)?);
    let mut scan = Scan { probes, errors, client, target, server, asked: None, number: 0 };
    let begun = Instant::now();
    let mut done = Scanned { ports: 0, seconds: 0.0, end: ScanEnd::Running, port: None };
    let none = scan.errors_after(&[])? < MANY;
    for _ in 0..2 {
        // What is left of the burst from before is used up.
        scan.errors_after(&[CLOSED])?;
    }
    if none {
        done.end = ScanEnd::NoErrors;
    } else if scan.errors_after(&[CLOSED])? >= MANY && scan.errors_after(&[CLOSED])? >= MANY {
        done.end = ScanEnd::NoSignal;
    }
    let all: Vec<u16> = scenario.attack.ports.clone().collect();
    for ports in all.chunks(TOGETHER) {
        if done.end != ScanEnd::Running || begun.elapsed() > scenario.attack.lasts {
            break;
        }
        if scan.errors_after(ports)? >= MANY {
            done.port = scan.open(ports)?;
        }
        done.ports += ports.len() as u64;
        done.seconds = begun.elapsed().as_secs_f64();
        if done.port.is_some() {
            done.end = ScanEnd::Found;
        }
        tell(Event::Scanning(&done));
    }
    if done.end == ScanEnd::Running {
        done.end = ScanEnd::NotFound;
    }
    Ok(done)
}

impl Scan<'_> {
    /// Which of some ports is open, three times out of three.
    fn open(&mut self, ports: &[u16]) -> Result<Option<u16>, LabError> {
        'ports: for port in ports {
            for _ in 0..3 {
                if self.errors_after(&[*port])? < MANY {
                    continue 'ports;
                }
            }
            return Ok(Some(*port));
        }
        Ok(None)
    }

    /// Probes ports as the name server, a whole burst of them, then a closed one as itself; how many
    /// errors come back.
    fn errors_after(&mut self, ports: &[u16]) -> Result<usize, LabError> {
        self.keep_open()?;
        let begun = Instant::now();
        while self.error()? {}
        if !ports.is_empty() {
            let guesses: Vec<_> = (0..BURST).map(|i| (ports[i % ports.len()], 0)).collect();
            self.probes.load(self.server, self.target, &NOTHING)?;
            self.send(&guesses)?;
        }
        self.probes.load(ATTACKER, self.target, &NOTHING)?;
        self.send(&[(CLOSED, 0); OWN])?;
        std::thread::sleep(ECHO);
        let mut errors = 0;
        while self.error()? {
            errors += 1;
        }
        std::thread::sleep(CYCLE.saturating_sub(begun.elapsed()));
        Ok(errors)
    }

    fn send(&mut self, probes: &[(u16, u16)]) -> Result<(), LabError> {
        for some in probes.chunks(BATCH) {
            self.probes.send(some)?;
        }
        Ok(())
    }

    fn keep_open(&mut self) -> Result<(), LabError> {
        if self.asked.is_none_or(|asked| asked.elapsed() > KEEP) {
            self.number += 1;
            self.client.ask(&format!("keep{}.{BANK}", self.number))?;
            self.asked = Some(Instant::now());
            // So that it is on its way when the first probe comes.
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Whether there is another error "port unreachable".
    fn error(&mut self) -> Result<bool, LabError> {
        let mut packet = [0_u8; 256];
        loop {
            // SAFETY: the kernel writes into the buffer, no more than there is room.
            let got = unsafe {
                libc::recv(
                    self.errors.as_raw_fd(),
                    packet.as_mut_ptr().cast(),
                    packet.len(),
                    libc::MSG_DONTWAIT,
                )
            };
            if got < 0 {
                let cause = io::Error::last_os_error();
                if cause.kind() == io::ErrorKind::WouldBlock {
                    return Ok(false);
                }
                return Err(failed("reading errors of ICMP", cause));
            }
            // Behind an IPv4 header without options: destination unreachable, port.
            if got > 28 && packet[20..22] == [3, 3] {
                return Ok(true);
            }
        }
    }
}

fn errors_socket(network: &Network) -> Result<OwnedFd, LabError> {
    let socket = network.attacker.run(|| {
        let flags = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::socket(libc::AF_INET, flags, libc::IPPROTO_ICMP) };
        // SAFETY: it is open, and nobody else's.
        if fd < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(unsafe { OwnedFd::from_raw_fd(fd) })
        }
    });
    socket.map_err(|cause| failed("opening a socket for errors of ICMP", cause))
}

fn failed(operation: &'static str, cause: io::Error) -> LabError {
    LabError::Host { host: "attacker".to_owned(), operation, cause }
}
