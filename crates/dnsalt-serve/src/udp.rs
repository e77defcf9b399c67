//! Queries over UDP, many with each call of the kernel.
//!
//! Each thread has a socket of its own at the same address (`SO_REUSEPORT`), and the kernel spreads flows over them:
//! threads share the tests and the counters, and no lock for a packet.
// Sizes of the kernel's structures; calls that take pointers have no safe form.
#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use crate::answer::Answers;
use crate::query::Over;
use crate::server::now;

/// Packets in one call of the kernel.
const BATCH: usize = 64;
/// Bytes of a query that are looked at; a longer one is none that we know.
const ROOM: usize = 1500;
/// What the kernel keeps for us meanwhile.
const BUFFER: usize = 4 << 20;
/// How often it is looked whether the server stops.
const PATIENCE: Duration = Duration::from_millis(200);

/// A socket that others may have at the same address.
pub(crate) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, Some(ipproto::UDP))?;
    sockopt::set_socket_reuseport(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    // The system may allow less.
    let _ = sockopt::set_socket_recv_buffer_size(&socket, BUFFER);
    let _ = sockopt::set_socket_send_buffer_size(&socket, BUFFER);
    rustix::net::bind(&socket, &address)?;
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Room for a batch.
struct Batch {
    rooms: Box<[[u8; ROOM]]>,
    from: Box<[libc::sockaddr_storage; BATCH]>,
    replies: [Vec<u8>; BATCH],
}

/// Answers until it is told to stop.
pub(crate) fn serve(socket: &UdpSocket, answers: &Answers, stop: &Arc<AtomicBool>) {
    let mut batch = Batch {
        rooms: vec![[0; ROOM]; BATCH].into_boxed_slice(),
        // SAFETY: all zero is a value of this structure.
        from: Box::new([unsafe { zeroed() }; BATCH]),
        replies: std::array::from_fn(|_| Vec::with_capacity(ROOM)),
    };
    while !stop.load(Ordering::Relaxed) {
        if let Err(error) = batch.turn(socket, answers) {
            tracing::warn!(%error, "UDP");
            std::thread::sleep(PATIENCE);
        }
    }
}

impl Batch {
    /// Receives what there is, and answers it.
    fn turn(&mut self, socket: &UdpSocket, answers: &Answers) -> io::Result<()> {
        // SAFETY: all zero is a value of these structures.
        let mut vectors: [libc::iovec; BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        for (at, (vector, message)) in vectors.iter_mut().zip(&mut messages).enumerate() {
            (vector.iov_base, vector.iov_len) = (self.rooms[at].as_mut_ptr().cast(), ROOM);
            let header = &mut message.msg_hdr;
            header.msg_name = std::ptr::from_mut(&mut self.from[at]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            (header.msg_iov, header.msg_iovlen) = (vector, 1);
        }
        let (fd, first) = (socket.as_raw_fd(), messages.as_mut_ptr());
        let nothing = std::ptr::null_mut();
        let flags = libc::MSG_WAITFORONE | libc::MSG_TRUNC;
        // SAFETY: so many messages point to rooms, vectors and addresses that live until it returns.
        let got = unsafe { libc::recvmmsg(fd, first, BATCH as libc::c_uint, flags as _, nothing) };
        let Ok(got) = usize::try_from(got) else { return none_or_error() };
        let now = now();
        let mut count = 0;
        for at in 0..got {
            let length = messages[at].msg_len as usize;
            let Some(from) = address(&self.from[at]) else { continue };
            // Longer than there is room: cut off, and no query.
            let Some(query) = self.rooms[at].get(..length) else { continue };
            if answers.answer(query, from, Over::Udp, now, &mut self.replies[count]) {
                self.from.swap(count, at);
                messages[count].msg_hdr.msg_namelen = messages[at].msg_hdr.msg_namelen;
                count += 1;
            }
        }
        self.send(socket, &mut messages, count);
        Ok(())
    }

    fn send(&mut self, socket: &UdpSocket, messages: &mut [libc::mmsghdr; BATCH], count: usize) {
        let mut vectors: [MaybeUninit<libc::iovec>; BATCH] = [MaybeUninit::uninit(); BATCH];
        for at in 0..count {
            let reply = &mut self.replies[at];
            let vector = libc::iovec { iov_base: reply.as_mut_ptr().cast(), iov_len: reply.len() };
            let header = &mut messages[at].msg_hdr;
            header.msg_name = std::ptr::from_mut(&mut self.from[at]).cast();
            header.msg_iov = vectors[at].write(vector);
        }
        let mut done = 0;
        while done < count {
            let (first, left) = (messages[done..].as_mut_ptr(), (count - done) as libc::c_uint);
            // SAFETY: so many messages point to replies, vectors and addresses that live until it returns.
            let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), first, left, 0) };
            // One that cannot be sent, to a port 0 or an address without a route, is no reason to keep the others.
            done += usize::try_from(sent).unwrap_or(1).max(1);
        }
    }
}

fn none_or_error() -> io::Result<()> {
    let error = io::Error::last_os_error();
    let none = [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted];
    if none.contains(&error.kind()) { Ok(()) } else { Err(error) }
}

fn address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let pointer = std::ptr::from_ref(storage);
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that it is one, and the room is large enough.
            let v4 = unsafe { &*pointer.cast::<libc::sockaddr_in>() };
            let address = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::from((address, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*pointer.cast::<libc::sockaddr_in6>() };
            let address = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddr::from((address, u16::from_be(v6.sin6_port))))
        }
        _ => None,
    }
}
