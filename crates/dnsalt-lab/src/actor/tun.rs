//! A link whose other end is whoever holds it: IP packets without anything before them, as on PPP and
//! in tunnels.

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use super::frames::readable;
use crate::{Host, LabError};

/// Larger than any packet.
const LARGEST: usize = 1 << 16;

/// The other end of an interface. Dropped, the interface goes.
#[derive(Debug)]
pub struct Tun {
    fd: OwnedFd,
}

impl Tun {
    /// Makes an interface of that name, of fifteen letters at most; it is neither up nor has addresses.
    ///
    /// # Errors
    /// When the kernel has no /dev/net/tun, or the name is taken.
    pub fn new(host: &Host, name: &'static str) -> Result<Self, LabError> {
        host.run(move || make(name)).map(|fd| Tun { fd }).map_err(|cause| LabError::Host {
            host: host.name().to_owned(),
            operation: "making a tun interface",
            cause,
        })
    }

    /// Lets a packet come in on the interface.
    ///
    /// # Errors
    /// When it is not IP, or the interface is not up.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        rustix::io::write(&self.fd, packet)?;
        Ok(())
    }

    /// The next packet that leaves by the interface; none if none does for so long.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn next(&self, patience: Duration) -> io::Result<Option<Vec<u8>>> {
        if !readable(&self.fd, patience)? {
            return Ok(None);
        }
        let mut packet = vec![0; LARGEST];
        let length = rustix::io::read(&self.fd, &mut packet)?;
        packet.truncate(length);
        Ok(Some(packet))
    }
}

fn make(name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = rustix::fs::open("/dev/net/tun", flags, Mode::empty())?;
    // SAFETY: all zero is a value of the structure.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes().take(15)) {
        *place = byte.cast_signed();
    }
    let kind = libc::IFF_TUN | libc::IFF_NO_PI;
    request.ifr_ifru.ifru_flags = i16::try_from(kind).map_err(io::Error::other)?;
    // SAFETY: the kernel reads name and flags within the structure, and writes the name there.
    let made = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
    if made < 0 { Err(io::Error::last_os_error()) } else { Ok(fd) }
}
