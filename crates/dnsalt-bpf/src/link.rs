//! Interfaces: their numbers, names, and what stands before IP on them.
#![allow(unsafe_code)]

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd as _;

use rustix::net::netdevice::{index_to_name, name_to_index};

/// Types of `linux/if_arp.h` whose frames have an Ethernet header.
const ETHERNET: [u16; 2] = [libc::ARPHRD_ETHER, libc::ARPHRD_LOOPBACK];

/// Any socket of this network namespace will do to ask by.
fn socket() -> io::Result<UdpSocket> {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
}

pub(crate) fn index(name: &str) -> io::Result<u32> {
    Ok(name_to_index(socket()?, name)?)
}

pub(crate) fn name(index: u32) -> io::Result<String> {
    Ok(index_to_name(socket()?, index)?)
}

/// What was asked for, none where there is no such interface; that nobody could be asked is another thing.
pub(crate) fn if_there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(cause) if matches!(cause.raw_os_error(), Some(libc::ENODEV | libc::ENXIO)) => Ok(None),
        Err(cause) => Err(cause),
    }
}

/// Whether its packets begin with an Ethernet header; those of tun, `WireGuard` and PPP do not.
pub(crate) fn is_ethernet(name: &str) -> io::Result<bool> {
    let socket = socket()?;
    // SAFETY: all zero is a value of the structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes().take(15)) {
        // Signed or not, as the machine has it.
        *place = libc::c_char::from_ne_bytes([byte]);
    }
    // The number's type is that of the C library.
    // SAFETY: the kernel reads the name, and writes the address, within the structure.
    let got =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFHWADDR as _, &raw mut request) };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it succeeded, so the address is what the kernel wrote.
    let family = unsafe { request.ifr_ifru.ifru_hwaddr.sa_family };
    Ok(ETHERNET.contains(&family))
}
