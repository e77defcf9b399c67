//! Packets of a live interface.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant, SystemTime};

use crate::filter::PortFilter;
use crate::ring::Ring;
use crate::socket;

/// Packets that are larger are cut: DNS over UDP does not come near it.
const LARGEST: usize = 65_535;

/// What the kernel may keep for us, in bytes.
const BUFFER: i32 = 8 << 20;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// Which way a packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To this machine, or through it.
    Incoming,
    /// From this machine.
    Outgoing,
}

/// A packet as it passed.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// When the kernel saw it.
    pub time: SystemTime,
    /// Which way it went. On `lo`, where every packet does both, it is incoming.
    pub direction: Direction,
    /// From the first byte of the IP header on.
    pub data: &'a [u8],
}

impl<'a> Frame<'a> {
    fn new(time: SystemTime, outgoing: bool, data: &'a [u8]) -> Self {
        let direction = if outgoing { Direction::Outgoing } else { Direction::Incoming };
        Frame { time, direction, data }
    }
}

/// Why an interface cannot be watched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is none of that name.
    #[error("{interface}: no such interface here; `ip link` lists those that there are")]
    NoInterface {
        /// The name.
        interface: String,
    },
    /// Packet sockets need `CAP_NET_RAW`.
    #[error("{interface}: watching packets needs root (CAP_NET_RAW); run it with sudo")]
    Permission {
        /// The interface.
        interface: String,
    },
    /// It is there, but carries nothing.
    #[error("{interface}: the interface is down; `ip link set {interface} up` brings it up")]
    Down {
        /// The interface.
        interface: String,
    },
    /// The system said something else.
    #[error("{interface}: {operation}: {cause}")]
    System {
        /// The interface.
        interface: String,
        /// What was tried.
        operation: &'static str,
        /// What came of it.
        cause: io::Error,
    },
}

/// Why no more packets can be read.
#[derive(Debug, thiserror::Error)]
#[error("{interface}: reading packets: {cause}")]
pub struct ReadError {
    interface: String,
    cause: io::Error,
}

/// An interface that is watched.
///
/// It belongs to the network namespace of the thread that opened it, whichever thread reads it.
pub struct Live {
    interface: String,
    fd: OwnedFd,
    reader: Reader,
    drops: u64,
}

/// How packets come to us.
enum Reader {
    /// One by one, at once.
    Calls { buffer: Vec<u8> },
    /// Many at a time, some milliseconds late.
    Ring(Ring),
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("interface", &self.interface).finish_non_exhaustive()
    }
}

impl Live {
    /// Starts to watch an interface. The filter is in place before the first packet is.
    ///
    /// # Errors
    /// When there is no such interface, or the rights for it are missing.
    pub fn open(interface: &str, filter: &PortFilter) -> Result<Self, OpenError> {
        Self::with_reader(interface, filter, false)
    }

    /// The same for many packets: the kernel writes them to memory that it shares with us, and hands
    /// them over some milliseconds late.
    ///
    /// # Errors
    /// As [`Live::open`].
    pub fn open_ring(interface: &str, filter: &PortFilter) -> Result<Self, OpenError> {
        Self::with_reader(interface, filter, true)
    }

    fn with_reader(interface: &str, filter: &PortFilter, ring: bool) -> Result<Self, OpenError> {
        let failed = |operation| {
            move |cause: io::Error| match cause.kind() {
                io::ErrorKind::PermissionDenied => {
                    OpenError::Permission { interface: interface.to_owned() }
                }
                io::ErrorKind::NetworkDown => OpenError::Down { interface: interface.to_owned() },
                _ => match cause.raw_os_error() {
                    Some(libc::ENODEV | libc::ENXIO) => {
                        OpenError::NoInterface { interface: interface.to_owned() }
                    }
                    _ => OpenError::System { interface: interface.to_owned(), operation, cause },
                },
            }
        };
        let index = socket::interface_index(interface).map_err(failed("looking for it"))?;
        let fd = socket::open().map_err(failed("opening a packet socket"))?;
        socket::attach(&fd, filter.program()).map_err(failed("attaching the filter"))?;
        let reader = if ring {
            Reader::Ring(Ring::new(&fd).map_err(failed("asking for a ring"))?)
        } else {
            socket::stamp(&fd).map_err(failed("asking for time stamps"))?;
            socket::buffer(&fd, BUFFER).map_err(failed("asking for a buffer"))?;
            Reader::Calls { buffer: vec![0; LARGEST] }
        };
        socket::bind(&fd, index).map_err(failed("binding to the interface"))?;
        Ok(Live { interface: interface.to_owned(), fd, reader, drops: 0 })
    }

    /// The next packet of IPv4 or IPv6; none if none came within the time.
    ///
    /// # Errors
    /// When the interface went away, or the system failed otherwise.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Frame<'_>>, ReadError> {
        let failed = |cause| ReadError { interface: self.interface.clone(), cause };
        // None is further away than the clock goes: wait for ever.
        let deadline = Instant::now().checked_add(timeout);
        let left = || deadline.map_or(timeout, |d| d.saturating_duration_since(Instant::now()));
        let wanted = |ethertype: u16, echo: bool| matches!(ethertype, IPV4 | IPV6) && !echo;
        match &mut self.reader {
            Reader::Calls { buffer } => loop {
                let left = left();
                if !socket::wait(&self.fd, left).map_err(failed)? && left.is_zero() {
                    return Ok(None);
                }
                match socket::receive(&self.fd, buffer).map_err(failed)? {
                    Some(received) if wanted(received.ethertype, received.echo) => {
                        let data = &buffer[..received.length];
                        return Ok(Some(Frame::new(received.time, received.outgoing, data)));
                    }
                    _ => {}
                }
            },
            Reader::Ring(ring) => loop {
                let left = left();
                match ring.next(&self.fd, left).map_err(failed)? {
                    Some(packet) if wanted(packet.ethertype, packet.echo) => {
                        let (time, outgoing) = (packet.time, packet.outgoing);
                        return Ok(Some(Frame::new(time, outgoing, ring.bytes(&packet))));
                    }
                    None if left.is_zero() => return Ok(None),
                    _ => {}
                }
            },
        }
    }

    /// Packets that were lost since the start, because we did not read fast enough.
    ///
    /// # Errors
    /// When the system failed.
    pub fn drops(&mut self) -> Result<u64, ReadError> {
        let since = socket::drops(&self.fd)
            .map_err(|cause| ReadError { interface: self.interface.clone(), cause })?;
        self.drops += u64::from(since);
        Ok(self.drops)
    }
}
