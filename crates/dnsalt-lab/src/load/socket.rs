//! Raw sockets that send and receive many packets at a time.
// Sizes of the kernel's structures.
#![allow(clippy::cast_possible_truncation)]

use std::io;
use std::mem::zeroed;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use crate::{Host, LabError};

/// Packets in one call of the kernel.
pub(super) const BATCH: usize = 64;
/// Bytes of a packet that are looked at.
const ROOM: usize = 256;
/// What the kernel keeps for us.
const BUFFER: libc::c_int = 64 << 20;

/// Sends and receives on one interface.
#[derive(Debug)]
pub(super) struct Socket {
    out: OwnedFd,
    inward: OwnedFd,
    room: Box<[[u8; ROOM]; BATCH]>,
    lengths: [usize; BATCH],
}

impl Socket {
    pub(super) fn open(host: &Host, interface: &'static str) -> Result<Self, LabError> {
        let opened = host.run(move || open(interface));
        let (out, inward) = opened.map_err(|cause| LabError::Host {
            host: host.name().to_owned(),
            operation: "opening raw sockets",
            cause,
        })?;
        Ok(Socket { out, inward, room: Box::new([[0; ROOM]; BATCH]), lengths: [0; BATCH] })
    }

    /// Sends packets to where they say, [`BATCH`] at most.
    pub(super) fn send<const N: usize>(&self, packets: &mut [[u8; N]]) -> io::Result<()> {
        // SAFETY: all zero is a value of these structures.
        let mut addresses: [libc::sockaddr_in; BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut vectors: [libc::iovec; BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        let count = packets.len().min(BATCH);
        let rest = addresses.iter_mut().zip(vectors.iter_mut().zip(&mut messages));
        for (packet, (address, (vector, message))) in packets.iter_mut().zip(rest) {
            let to = Ipv4Addr::new(packet[16], packet[17], packet[18], packet[19]);
            address.sin_family = libc::AF_INET as libc::sa_family_t;
            address.sin_addr.s_addr = u32::from(to).to_be();
            (vector.iov_base, vector.iov_len) = (packet.as_mut_ptr().cast(), N);
            message.msg_hdr.msg_name = std::ptr::from_mut(address).cast();
            message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (vector, 1);
        }
        let mut done = 0;
        while done < count {
            let (first, left) = (messages[done..].as_mut_ptr(), (count - done) as libc::c_uint);
            // SAFETY: so many messages point to packets, vectors and addresses that live until it returns.
            let sent = unsafe { libc::sendmmsg(self.out.as_raw_fd(), first, left, 0) };
            done += usize::try_from(sent).map_err(|_| io::Error::last_os_error())?.max(1);
        }
        Ok(())
    }

    /// Receives what there is, or waits for something for a moment; how many packets.
    pub(super) fn receive(&mut self, waits: bool) -> io::Result<usize> {
        // SAFETY: all zero is a value of these structures.
        let mut vectors: [libc::iovec; BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        let places = self.room.iter_mut().zip(vectors.iter_mut().zip(&mut messages));
        for (place, (vector, message)) in places {
            (vector.iov_base, vector.iov_len) = (place.as_mut_ptr().cast(), ROOM);
            (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (vector, 1);
        }
        let flags = if waits { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT };
        let nothing = std::ptr::null_mut();
        let (fd, first) = (self.inward.as_raw_fd(), messages.as_mut_ptr());
        // The flags have another type in musl.
        // SAFETY: the messages point to rooms and vectors that live until it returns.
        let got = unsafe { libc::recvmmsg(fd, first, BATCH as libc::c_uint, flags as _, nothing) };
        if got < 0 {
            let error = io::Error::last_os_error();
            let none = [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted];
            return if none.contains(&error.kind()) { Ok(0) } else { Err(error) };
        }
        for (length, message) in self.lengths.iter_mut().zip(&messages) {
            *length = (message.msg_len as usize).min(ROOM);
        }
        Ok(usize::try_from(got).unwrap_or(0))
    }

    /// One of the packets that were received last.
    pub(super) fn packet(&self, index: usize) -> &[u8] {
        &self.room[index][..self.lengths[index]]
    }
}

fn open(interface: &str) -> io::Result<(OwnedFd, OwnedFd)> {
    let out = socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_RAW)?;
    let protocol = i32::from((libc::ETH_P_IP as u16).to_be());
    let inward = socket(libc::AF_PACKET, libc::SOCK_DGRAM, protocol)?;
    set(&inward, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1)?;
    set(&inward, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &BUFFER)?;
    set(&out, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &BUFFER)?;
    let patience = libc::timeval { tv_sec: 0, tv_usec: 20_000 };
    set(&inward, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &patience)?;
    // SAFETY: all zero is a value of the structure.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_IP as u16).to_be();
    address.sll_ifindex = i32::try_from(rustix::net::netdevice::name_to_index(&out, interface)?)
        .map_err(io::Error::other)?;
    let size = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the address lives until it returns, and has that size.
    let bound = unsafe { libc::bind(inward.as_raw_fd(), (&raw const address).cast(), size) };
    if bound < 0 { Err(io::Error::last_os_error()) } else { Ok((out, inward)) }
}

fn socket(domain: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn set<T>(socket: &OwnedFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let (pointer, size) = (std::ptr::from_ref(value).cast(), size_of::<T>() as libc::socklen_t);
    // SAFETY: the value lives until it returns, and has that size.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, pointer, size) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
