//! A packet in memory, with the kernel's helpers for it (net/core/filter.c).

use core::mem::size_of_val;

use dnsalt_salt::edns::Tail;
use dnsalt_salt::head::{HEAD, Head};

use crate::maps::{self, Work};
use crate::world::world;

/// Bytes of an Ethernet header.
pub const ETHERNET: u32 = 14;
/// `bpf_redirect` says so.
const TC_ACT_REDIRECT: i32 = 7;

/// The packet at hand.
#[derive(Clone, Copy)]
pub struct Skb;

impl Skb {
    pub fn length(self) -> u32 {
        world().with_packet(|packet| packet.len() as u32)
    }

    pub fn link(self) -> u32 {
        1
    }

    pub fn ethertype(self) -> u16 {
        world().with_packet(|packet| match packet.get(12..14) {
            // Below are lengths (`eth_type_trans`).
            Some(two) if two[0] >= 6 => u16::from_be_bytes([two[0], two[1]]),
            _ => 0,
        })
    }

    pub fn is_several(self) -> bool {
        false
    }

    pub fn at<const N: usize>(self, offset: u32) -> Option<[u8; N]> {
        self.copy(offset)
    }

    pub fn copy<const N: usize>(self, offset: u32) -> Option<[u8; N]> {
        let offset = offset as usize;
        world().with_packet(|packet| packet.get(offset..offset + N)?.try_into().ok())
    }

    pub fn read<T>(self, offset: u32, place: &mut T) -> bool {
        let (length, offset) = (size_of_val(place), offset as usize);
        world().with_packet(|packet| match packet.get(offset..offset + length) {
            // SAFETY: there is room for so many, and all that is read so consists of bytes.
            Some(bytes) => unsafe {
                core::ptr::from_mut(place).cast::<u8>().copy_from(bytes.as_ptr(), length);
                true
            },
            None => false,
        })
    }

    pub fn take_up(self, offset: u32) -> Option<&'static mut Work> {
        let work = maps::work()?;
        let length = (self.length() as usize).checked_sub(offset as usize)?.min(HEAD);
        if length < 1 {
            return None;
        }
        // Bytes behind those of the packet stay what they were, as in the kernel.
        world().with_packet(|packet| {
            let head = core::ptr::from_mut::<Head>(&mut work.head).cast::<u8>();
            // SAFETY: a head has room for `HEAD` bytes.
            unsafe { head.copy_from(packet[offset as usize..].as_ptr(), length) };
        });
        work.length = length as u32;
        work.offset = offset;
        work.time = maps::time();
        Some(work)
    }

    pub fn store<T>(self, offset: u32, value: &T) -> bool {
        self.write(offset, bytes_of(value))
    }

    pub fn rewrite<T>(self, offset: u32, value: &T, length: u32) -> bool {
        self.write(offset, &bytes_of(value)[..length as usize])
    }

    pub fn store_tail(self, offset: u32, tail: &Tail, from: usize, length: u32) -> bool {
        self.write(offset, &bytes_of(tail)[from..from + length as usize])
    }

    pub fn store_some(self, offset: u32, word: u64, bytes: usize, _rewrite: bool) -> bool {
        (1..=8).contains(&bytes) && self.write(offset, &word.to_le_bytes()[..bytes])
    }

    fn write(self, offset: u32, bytes: &[u8]) -> bool {
        let offset = offset as usize;
        world().with_packet(|packet| {
            let place = packet.get_mut(offset..offset + bytes.len());
            place.map(|place| place.copy_from_slice(bytes)).is_some()
        })
    }

    /// `bpf_l4_csum_replace` with a difference.
    pub fn mend(self, offset: u32, changed: u64, mangled: bool) -> bool {
        self.sum(offset, |sum, partial| {
            if mangled && sum == 0 || partial {
                return sum;
            }
            mangled_zero(folded(add(changed as u32, u32::from(!sum))), mangled)
        })
    }

    /// The same with `BPF_F_PSEUDO_HDR`.
    pub fn mend_pseudo(self, offset: u32, changed: u64, mangled: bool) -> bool {
        self.sum(offset, |sum, partial| {
            if mangled && sum == 0 {
                return sum;
            }
            let new = if partial {
                !folded(add(changed as u32, u32::from(sum)))
            } else {
                folded(add(changed as u32, u32::from(!sum)))
            };
            mangled_zero(new, mangled)
        })
    }

    /// `bpf_l3_csum_replace` with a difference.
    pub fn mend_header(self, offset: u32, changed: u64) -> bool {
        self.sum(offset, |sum, _| folded(add(changed as u32, u32::from(!sum))))
    }

    /// Numbers as they stand in memory: the difference is made of such, too.
    fn sum(self, offset: u32, change: impl FnOnce(u16, bool) -> u16) -> bool {
        if offset & 1 != 0 || offset > 0xffff {
            return false;
        }
        let partial = world().is_partial();
        let Some(two) = self.copy::<2>(offset) else { return false };
        self.write(offset, &change(u16::from_le_bytes(two), partial).to_le_bytes())
    }

    /// `bpf_skb_change_tail`: new bytes are 0.
    pub fn cut(self, length: u32) -> bool {
        world().with_packet(|packet| packet.resize(length as usize, 0));
        true
    }

    pub fn turn_back(self) -> i32 {
        TC_ACT_REDIRECT
    }
}

fn bytes_of<T: ?Sized>(value: &T) -> &[u8] {
    // SAFETY: whatever is written so has no padding; the kernel gets it as bytes, too.
    unsafe {
        core::slice::from_raw_parts(core::ptr::from_ref(value).cast::<u8>(), size_of_val(value))
    }
}

/// `csum_add`.
fn add(one: u32, other: u32) -> u32 {
    let (sum, carry) = one.overflowing_add(other);
    sum + u32::from(carry)
}

/// `csum_fold`.
fn folded(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}

fn mangled_zero(sum: u16, mangled: bool) -> u16 {
    if mangled && sum == 0 { 0xffff } else { sum }
}
