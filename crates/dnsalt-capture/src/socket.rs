//! The system calls of `AF_PACKET`, each wrapped as narrowly as it can be.
// Sizes of structures and constants of the kernel's headers: all small.
#![allow(clippy::cast_possible_truncation)]

use std::ffi::CString;
use std::io;
use std::mem::{size_of, size_of_val, zeroed};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::filter::Instruction;

/// What `recvmsg` gave besides the bytes.
pub(crate) struct Received {
    /// Bytes in the buffer.
    pub(crate) length: usize,
    /// Whether this machine sent it.
    pub(crate) outgoing: bool,
    /// Whether it is the outgoing half of a packet that `lo` shows twice.
    pub(crate) echo: bool,
    /// The type of what the link carried, as on Ethernet.
    pub(crate) ethertype: u16,
    /// When the kernel saw it.
    pub(crate) time: SystemTime,
}

/// Opens a packet socket that receives nothing yet.
pub(crate) fn open() -> io::Result<OwnedFd> {
    // Protocol 0: nothing comes in before the filter is in place and the socket bound.
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The index of an interface of the calling thread's network namespace.
pub(crate) fn interface_index(name: &str) -> io::Result<i32> {
    let name = CString::new(name).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the name is a string with its end, and lives through the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    match i32::try_from(index) {
        Ok(index) if index > 0 => Ok(index),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Binds to one interface and starts to receive what it carries, whatever the protocol.
pub(crate) fn bind(fd: &OwnedFd, interface: i32) -> io::Result<()> {
    // SAFETY: all zeroes is a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = interface;
    // SAFETY: the address lives through the call, and its size is the one passed.
    let result = unsafe {
        libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as u32)
    };
    check(result)?;
    // Binding to an interface that is down succeeds, and says so here alone.
    pending_error(fd)
}

/// Puts a filter in front of the socket; the kernel copies it.
pub(crate) fn attach(fd: &OwnedFd, program: &[Instruction]) -> io::Result<()> {
    let mut program: Vec<libc::sock_filter> = program
        .iter()
        .map(|i| libc::sock_filter { code: i.code, jt: i.if_true, jf: i.if_false, k: i.operand })
        .collect();
    let len = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let bpf = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    set(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &bpf)
}

/// Asks for the kernel's time stamps, in nanoseconds.
pub(crate) fn stamp(fd: &OwnedFd) -> io::Result<()> {
    set(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &1_i32)
}

/// A receive buffer of so many bytes; above the system's limit only with `CAP_NET_ADMIN`.
pub(crate) fn buffer(fd: &OwnedFd, bytes: i32) -> io::Result<()> {
    set(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &bytes)
        .or_else(|_| set(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, &bytes))
}

/// Packets that were dropped since the last call, because the buffer was full.
pub(crate) fn drops(fd: &OwnedFd) -> io::Result<u32> {
    // SAFETY: all zeroes is a valid tpacket_stats.
    let mut stats: libc::tpacket_stats = unsafe { zeroed() };
    let mut size = size_of_val(&stats) as u32;
    // SAFETY: the kernel writes at most `size` bytes to the struct, which lives through the call.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut stats).cast(),
            &raw mut size,
        )
    };
    check(result).map(|()| stats.tp_drops)
}

/// The error that waits at a socket.
pub(crate) fn pending_error(fd: &OwnedFd) -> io::Result<()> {
    let mut error = 0_i32;
    let mut size = size_of_val(&error) as u32;
    // SAFETY: the kernel writes at most `size` bytes to the number, which lives through the call.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            (&raw mut error).cast(),
            &raw mut size,
        )
    };
    check(result)?;
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Waits until there is something to read; whether there is.
pub(crate) fn wait(fd: &OwnedFd, timeout: Duration) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // Rounded up, so that a short wait is no busy loop.
    let milliseconds = i32::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
    // SAFETY: one pollfd is passed, and it lives through the call.
    match unsafe { libc::poll(&raw mut poll, 1, milliseconds) } {
        -1 => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            error => Err(error),
        },
        ready => Ok(ready > 0),
    }
}

/// Reads one packet; none if there is none after all.
pub(crate) fn receive(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<Option<Received>> {
    // SAFETY: all zeroes is valid for both.
    let (mut address, mut header): (libc::sockaddr_ll, libc::msghdr) =
        unsafe { (zeroed(), zeroed()) };
    let mut control = Control([0; 64]);
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    header.msg_name = (&raw mut address).cast();
    header.msg_namelen = size_of::<libc::sockaddr_ll>() as u32;
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len() as _;
    // SAFETY: every pointer in the header leads to memory of the length beside it, alive here.
    let length = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
    let Ok(length) = usize::try_from(length) else {
        return match io::Error::last_os_error() {
            error
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(None)
            }
            error => Err(error),
        };
    };
    let outgoing = address.sll_pkttype == libc::PACKET_OUTGOING;
    Ok(Some(Received {
        length,
        outgoing,
        echo: outgoing && address.sll_hatype == libc::ARPHRD_LOOPBACK,
        ethertype: u16::from_be(address.sll_protocol),
        time: time(&header).unwrap_or_else(SystemTime::now),
    }))
}

/// Room for control messages, aligned as they have to be.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// The time stamp among the control messages.
fn time(header: &libc::msghdr) -> Option<SystemTime> {
    // SAFETY: recvmsg has filled the header, and its control buffer is alive.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return null or a message within the buffer.
    while let Some(control) = unsafe { message.as_ref() } {
        if control.cmsg_level == libc::SOL_SOCKET && control.cmsg_type == libc::SCM_TIMESTAMPNS {
            // SAFETY: a message of this type carries a timespec; it may not be aligned.
            let stamp =
                unsafe { libc::CMSG_DATA(message).cast::<libc::timespec>().read_unaligned() };
            let seconds = u64::try_from(stamp.tv_sec).ok()?;
            return Some(UNIX_EPOCH + Duration::new(seconds, u32::try_from(stamp.tv_nsec).ok()?));
        }
        // SAFETY: as above.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    None
}

pub(crate) fn set<T>(fd: &OwnedFd, level: i32, option: i32, value: &T) -> io::Result<()> {
    // SAFETY: the value lives through the call, and its size is the one passed.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as u32,
        )
    })
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
