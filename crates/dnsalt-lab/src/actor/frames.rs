//! Whole frames through an interface, as they are: for what no socket would send, and to see what no
//! socket would show.
// Sizes of structures and constants of the kernel's headers: all small.
#![allow(clippy::cast_possible_truncation)]

use std::io;
use std::mem::{size_of, size_of_val, zeroed};
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{Host, LabError};

/// Room for what comes while nobody reads.
const BUFFER: i32 = 32 << 20;
/// Larger than any frame.
const LARGEST: usize = 1 << 16;
/// Destination and source of an Ethernet frame.
const ADDRESSES: usize = 12;

/// A packet socket on an Ethernet interface.
#[derive(Debug)]
pub struct Frames {
    fd: OwnedFd,
}

impl Frames {
    /// Opens it on an interface of a host, which has to be up.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn open(host: &Host, interface: &'static str) -> Result<Self, LabError> {
        host.run(move || open(interface)).map(|fd| Frames { fd }).map_err(|cause| LabError::Host {
            host: host.name().to_owned(),
            operation: "opening a packet socket",
            cause,
        })
    }

    /// Sends a frame by the interface, past the host's own IP and its filters.
    ///
    /// # Errors
    /// When the interface does not take it.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        rustix::io::write(&self.fd, frame)?;
        Ok(())
    }

    /// The next frame that comes in, tags and all; none if none does for so long.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn next(&self, patience: Duration) -> io::Result<Option<Vec<u8>>> {
        let deadline = Instant::now() + patience;
        loop {
            match receive(&self.fd)? {
                Received::Incoming(frame) => return Ok(Some(frame)),
                Received::Outgoing => {}
                Received::Nothing => {
                    if !readable(&self.fd, deadline.saturating_duration_since(Instant::now()))? {
                        return Ok(None);
                    }
                }
            }
        }
    }
}

/// Waits until there is something to read; whether there is.
pub(super) fn readable(fd: impl AsFd, patience: Duration) -> io::Result<bool> {
    let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
    Ok(poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&patience))? > 0)
}

fn open(interface: &str) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // Protocol 0: nothing comes in before it is bound.
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(libc::AF_PACKET, flags, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    set(&fd, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
    set(&fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, BUFFER)?;
    let index = rustix::net::netdevice::name_to_index(&fd, interface)?;
    // SAFETY: all zero is a value of the structure.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL.cast_unsigned() as u16).to_be();
    address.sll_ifindex = index.cast_signed();
    // SAFETY: the address lives through the call, and its size is the one passed.
    let bound = unsafe {
        libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as u32)
    };
    if bound == 0 { Ok(fd) } else { Err(io::Error::last_os_error()) }
}

fn set(fd: &OwnedFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the value lives through the call, and its size is the one passed.
    let done = unsafe {
        let value = (&raw const value).cast();
        libc::setsockopt(fd.as_raw_fd(), level, option, value, size_of::<i32>() as u32)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Room for control messages, aligned as they have to be.
#[repr(C, align(8))]
struct Control([u8; 128]);

/// What a packet socket shows.
enum Received {
    Incoming(Vec<u8>),
    /// The host itself sent it.
    Outgoing,
    Nothing,
}

/// Reads one frame, if there is one.
fn receive(fd: &OwnedFd) -> io::Result<Received> {
    // SAFETY: all zero is a value of both structures.
    let (mut address, mut header): (libc::sockaddr_ll, libc::msghdr) =
        unsafe { (zeroed(), zeroed()) };
    let mut control = Control([0; 128]);
    let mut buffer = vec![0; LARGEST];
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    header.msg_name = (&raw mut address).cast();
    header.msg_namelen = size_of_val(&address) as u32;
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control.0) as _;
    // SAFETY: every pointer in the header leads to memory of the length beside it, alive here.
    let length = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
    let Ok(length) = usize::try_from(length) else {
        let error = io::Error::last_os_error();
        let none = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
        return if none { Ok(Received::Nothing) } else { Err(error) };
    };
    if address.sll_pkttype == libc::PACKET_OUTGOING {
        return Ok(Received::Outgoing);
    }
    buffer.truncate(length);
    // The kernel takes the outermost tag out of what comes in, and tells of it beside.
    if let Some(tag) = tag(&header) {
        buffer.splice(ADDRESSES..ADDRESSES, tag);
    }
    Ok(Received::Incoming(buffer))
}

/// The tag of a VLAN that was taken out (IEEE 802.1Q): its type and number.
fn tag(header: &libc::msghdr) -> Option<[u8; 4]> {
    // SAFETY: recvmsg has filled the header, and its control buffer is alive.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return null or a message within the buffer.
    while let Some(control) = unsafe { message.as_ref() } {
        if control.cmsg_level == libc::SOL_PACKET && control.cmsg_type == libc::PACKET_AUXDATA {
            // SAFETY: a message of this type carries the structure; it may not be aligned.
            let beside = unsafe {
                libc::CMSG_DATA(message).cast::<libc::tpacket_auxdata>().read_unaligned()
            };
            let has = |bit| beside.tp_status & bit != 0;
            if !has(libc::TP_STATUS_VLAN_VALID) {
                return None;
            }
            let told = has(libc::TP_STATUS_VLAN_TPID_VALID);
            let kind = if told { beside.tp_vlan_tpid } else { 0x8100 };
            let ([a, b], [c, d]) = (kind.to_be_bytes(), beside.tp_vlan_tci.to_be_bytes());
            return Some([a, b, c, d]);
        }
        // SAFETY: as above.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    None
}
