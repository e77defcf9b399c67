//! The ring that the kernel writes packets to (`TPACKET_V3`): no call and no copy for each of them.
//!
//! ```text
//!   block: status | packets | offset of the first | ...      status: kernel's ──> ours ──> kernel's
//!     packet: offset of the next | time | captured | ... | offset of the IP header | address | data
//! ```
//!
//! The kernel hands over a block when it is full, or some milliseconds after its first packet.

// Sizes are small, and the kernel takes them as 32 bits.
#![allow(clippy::cast_possible_truncation)]

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use memmap2::{MmapOptions, MmapRaw};

use crate::socket;

/// Small and many: where little comes, each block holds a packet or two, and a reader that gets no
/// processor for [`BLOCKS`] times [`PATIENCE`] loses what comes then.
const BLOCK: usize = 1 << 17;
const BLOCKS: usize = 64;
/// No packet of DNS over UDP comes near it; longer ones are cut.
const FRAME: usize = 1 << 11;
/// Milliseconds after which a block is handed over that is not full.
const PATIENCE: u32 = 20;

/// A ring, and where we are in it.
#[derive(Debug)]
pub(crate) struct Ring {
    map: MmapRaw,
    block: usize,
    /// Offset of the next packet in the block that is ours, and how many are left in it.
    open: Option<(usize, u32)>,
}

/// A packet in the ring.
pub(crate) struct InRing {
    pub(crate) time: SystemTime,
    pub(crate) outgoing: bool,
    /// Whether it is the copy of what `lo` brings in as well.
    pub(crate) echo: bool,
    pub(crate) ethertype: u16,
    /// From the IP header on, as an offset in the ring.
    start: usize,
    length: usize,
}

impl Ring {
    /// Gives a packet socket a ring. It must not be bound yet.
    pub(crate) fn new(fd: &OwnedFd) -> io::Result<Self> {
        let version = libc::tpacket_versions::TPACKET_V3 as i32;
        socket::set(fd, libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
        // SAFETY: all zeroes is a valid tpacket_req3.
        let mut request: libc::tpacket_req3 = unsafe { std::mem::zeroed() };
        request.tp_block_size = BLOCK as u32;
        request.tp_block_nr = BLOCKS as u32;
        request.tp_frame_size = FRAME as u32;
        request.tp_frame_nr = (BLOCK / FRAME * BLOCKS) as u32;
        request.tp_retire_blk_tov = PATIENCE;
        socket::set(fd, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        let map = MmapOptions::new().len(BLOCK * BLOCKS).map_raw(fd.as_raw_fd())?;
        Ok(Ring { map, block: 0, open: None })
    }

    /// The next packet; none if none came within the time.
    pub(crate) fn next(&mut self, fd: &OwnedFd, timeout: Duration) -> io::Result<Option<InRing>> {
        loop {
            match self.open {
                Some((at, left)) if left > 0 => return Ok(Some(self.take(at, left))),
                Some(_) => self.give_back(),
                None => {}
            }
            if !self.is_ours() {
                let ready = socket::wait(fd, timeout)?;
                if !ready && !self.is_ours() {
                    return Ok(None);
                }
                if !self.is_ours() {
                    // Something was ready that is not this block: an error, such as an interface
                    // that went down.
                    socket::pending_error(fd)?;
                    return Ok(None);
                }
            }
            let base = self.block * BLOCK;
            // SAFETY: the block is ours, and starts with its description.
            let head: libc::tpacket_block_desc = unsafe { self.read(base) };
            // SAFETY: version 1 of the description is the only one.
            let head = unsafe { head.hdr.bh1 };
            self.open = Some((base + head.offset_to_first_pkt as usize, head.num_pkts));
        }
    }

    /// The bytes of a packet; until the next call.
    pub(crate) fn bytes(&self, packet: &InRing) -> &[u8] {
        // SAFETY: `take` has checked that these lie in the ring; the block is ours until `give_back`,
        // which takes `&mut self`, so that nobody writes to it while the slice lives.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(packet.start), packet.length) }
    }

    fn take(&mut self, at: usize, left: u32) -> InRing {
        // SAFETY: the kernel has put a packet there, in a block that is ours.
        let head: libc::tpacket3_hdr = unsafe { self.read(at) };
        let address_at = at + size_of::<libc::tpacket3_hdr>().next_multiple_of(16);
        // SAFETY: the address of the packet stands behind its header.
        let address: libc::sockaddr_ll = unsafe { self.read(address_at) };
        self.open = Some((at + head.tp_next_offset as usize, left - 1));
        let start = (at + usize::from(head.tp_net)).min(BLOCK * BLOCKS);
        let outgoing = address.sll_pkttype == libc::PACKET_OUTGOING;
        InRing {
            time: UNIX_EPOCH + Duration::new(head.tp_sec.into(), head.tp_nsec),
            outgoing,
            echo: outgoing && address.sll_hatype == libc::ARPHRD_LOOPBACK,
            ethertype: u16::from_be(address.sll_protocol),
            start,
            length: (head.tp_snaplen as usize).min(BLOCK * BLOCKS - start),
        }
    }

    fn status(&self) -> &AtomicU32 {
        let at = self.block * BLOCK + std::mem::offset_of!(libc::tpacket_block_desc, hdr);
        // SAFETY: the status is the first word of the description, aligned, and shared with the
        // kernel, which reads and writes it as a whole.
        unsafe { AtomicU32::from_ptr(self.map.as_mut_ptr().add(at).cast()) }
    }

    fn is_ours(&self) -> bool {
        self.status().load(Ordering::Acquire) & libc::TP_STATUS_USER != 0
    }

    fn give_back(&mut self) {
        self.status().store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.open = None;
        self.block = (self.block + 1) % BLOCKS;
    }

    /// Reads a struct of the kernel's out of the ring.
    ///
    /// # Safety
    /// The kernel has written one there.
    unsafe fn read<T>(&self, at: usize) -> T {
        let at = at.min(BLOCK * BLOCKS - size_of::<T>());
        // SAFETY: within the ring; and the caller says what it is.
        unsafe { self.map.as_ptr().add(at).cast::<T>().read_unaligned() }
    }
}
