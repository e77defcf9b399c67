//! A packet in the hands of the kernel: what stands in it, and how it is changed.

use core::mem::size_of_val;

use aya_ebpf::bindings::{
    __sk_buff, BPF_F_INGRESS, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, BPF_F_RECOMPUTE_CSUM,
};
use aya_ebpf::check_bounds_signed;
use aya_ebpf::helpers::generated::{
    bpf_l3_csum_replace, bpf_l4_csum_replace, bpf_redirect, bpf_skb_change_tail,
    bpf_skb_load_bytes, bpf_skb_store_bytes,
};
use aya_ebpf::programs::TcContext;
use dnsalt_salt::edns::Tail;
use dnsalt_salt::head::HEAD;

use crate::maps::{self, Work};

/// Bytes of an Ethernet header.
pub const ETHERNET: u32 = 14;

/// A packet.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Skb {
    raw: *mut __sk_buff,
}

impl Skb {
    #[inline(always)]
    pub fn of(context: &TcContext) -> Self {
        Skb { raw: context.skb.skb }
    }

    #[inline(always)]
    pub fn length(self) -> u32 {
        // SAFETY: a field of the context.
        unsafe { (*self.raw).len }
    }

    /// The interface.
    #[inline(always)]
    pub fn link(self) -> u32 {
        // SAFETY: a field of the context.
        unsafe { (*self.raw).ifindex }
    }

    /// The Ethertype behind a tag that the card took off, if it did.
    #[inline(always)]
    pub fn ethertype(self) -> u16 {
        // SAFETY: a field of the context.
        u16::from_be(unsafe { (*self.raw).protocol } as u16)
    }

    /// Whether it holds several datagrams (GSO, GRO).
    #[inline(always)]
    pub fn is_several(self) -> bool {
        // SAFETY: a field of the context.
        unsafe { (*self.raw).gso_segs > 1 }
    }

    /// The bytes at an offset, if they lie where they can be looked at without copying.
    #[inline(always)]
    pub fn at<const N: usize>(self, offset: u32) -> Option<[u8; N]> {
        // SAFETY: fields of the context; the verifier knows them as ends of the packet.
        let (start, end) = unsafe { ((*self.raw).data as usize, (*self.raw).data_end as usize) };
        let start = start + offset as usize;
        if start + N > end {
            return None;
        }
        // SAFETY: the bytes lie before the end.
        Some(unsafe { core::ptr::read_unaligned(start as *const [u8; N]) })
    }

    /// Copies bytes to where they can be looked at.
    #[inline(always)]
    pub fn copy<const N: usize>(self, offset: u32) -> Option<[u8; N]> {
        let mut bytes = [0_u8; N];
        // SAFETY: there is room for so many.
        let failed = unsafe {
            bpf_skb_load_bytes(self.raw.cast(), offset, bytes.as_mut_ptr().cast(), N as u32)
        };
        (failed == 0).then_some(bytes)
    }

    /// The same, to a place that is there.
    #[inline(always)]
    pub fn read<T>(self, offset: u32, place: &mut T) -> bool {
        let length = size_of_val(place) as u32;
        let to = core::ptr::from_mut(place).cast();
        // SAFETY: there is room for so many.
        unsafe { bpf_skb_load_bytes(self.raw.cast(), offset, to, length) == 0 }
    }

    /// Copies the beginning of the packet from an offset on to the work at hand.
    #[inline(always)]
    pub fn take_up(self, offset: u32) -> Option<&'static mut Work> {
        let work = maps::work()?;
        let length = (self.length() as usize).checked_sub(offset as usize)?.min(HEAD);
        // Not `length == 0`, which the compiler turns into a comparison that tells the verifier nothing.
        if !check_bounds_signed(length as i64, 1, HEAD as i64) {
            return None;
        }
        let head = core::ptr::from_mut(&mut work.head).cast();
        // SAFETY: there is room for so many.
        let failed = unsafe { bpf_skb_load_bytes(self.raw.cast(), offset, head, length as u32) };
        if failed != 0 {
            return None;
        }
        work.length = length as u32;
        work.offset = offset;
        work.time = maps::time();
        Some(work)
    }

    /// Writes bytes; sums of the whole packet stay right if those in the headers do.
    #[inline(always)]
    pub fn store<T>(self, offset: u32, value: &T) -> bool {
        self.write(offset, core::ptr::from_ref(value).cast(), size_of_val(value) as u32, 0)
    }

    /// Writes bytes whatever sums there are.
    #[inline(always)]
    pub fn rewrite<T>(self, offset: u32, value: &T, length: u32) -> bool {
        let flags = u64::from(BPF_F_RECOMPUTE_CSUM);
        self.write(offset, core::ptr::from_ref(value).cast(), length, flags)
    }

    /// Writes bytes of a tail, from one of its places on.
    #[inline(always)]
    pub fn store_tail(self, offset: u32, tail: &Tail, from: usize, length: u32) -> bool {
        let bytes = core::ptr::from_ref(tail).cast::<u8>();
        // SAFETY: callers name places within.
        self.write(offset, unsafe { bytes.add(from) }, length, 0)
    }

    /// Writes the first bytes of a word, at most eight.
    #[inline(always)]
    pub fn store_some(self, offset: u32, word: u64, bytes: usize, rewrite: bool) -> bool {
        if !check_bounds_signed(bytes as i64, 1, 8) {
            return false;
        }
        let flags = if rewrite { u64::from(BPF_F_RECOMPUTE_CSUM) } else { 0 };
        self.write(offset, core::ptr::from_ref(&word).cast(), bytes as u32, flags)
    }

    #[inline(always)]
    fn write(self, offset: u32, bytes: *const u8, length: u32, flags: u64) -> bool {
        // SAFETY: callers pass what they have borrowed.
        unsafe { bpf_skb_store_bytes(self.raw.cast(), offset, bytes.cast(), length, flags) == 0 }
    }

    /// Mends a checksum for what changed: new words of 16 bits and the complements of old ones, added up.
    /// `mangled`: 0 stands for none, as in UDP. What the card is still to sum up is left to it.
    #[inline(always)]
    pub fn mend(self, offset: u32, changed: u64, mangled: bool) -> bool {
        let flags = if mangled { u64::from(BPF_F_MARK_MANGLED_0) } else { 0 };
        // SAFETY: numbers.
        unsafe { bpf_l4_csum_replace(self.raw, offset, 0, changed, flags) == 0 }
    }

    /// The same for an address, which the checksum takes in from the IP header; what the card is still to sum
    /// up has it already.
    #[inline(always)]
    pub fn mend_pseudo(self, offset: u32, changed: u64, mangled: bool) -> bool {
        let mangled = if mangled { u64::from(BPF_F_MARK_MANGLED_0) } else { 0 };
        let flags = u64::from(BPF_F_PSEUDO_HDR) | mangled;
        // SAFETY: numbers.
        unsafe { bpf_l4_csum_replace(self.raw, offset, 0, changed, flags) == 0 }
    }

    /// Mends the checksum of an IPv4 header.
    #[inline(always)]
    pub fn mend_header(self, offset: u32, changed: u64) -> bool {
        // SAFETY: numbers.
        unsafe { bpf_l3_csum_replace(self.raw, offset, 0, changed, 0) == 0 }
    }

    /// Cuts the packet, or brings it to a length.
    #[inline(always)]
    pub fn cut(self, length: u32) -> bool {
        // SAFETY: numbers.
        unsafe { bpf_skb_change_tail(self.raw, length, 0) == 0 }
    }

    /// Lets it come in where it was about to leave. Returns what the program has to return.
    #[inline(always)]
    pub fn turn_back(self) -> i32 {
        // SAFETY: numbers.
        unsafe { bpf_redirect(self.link(), u64::from(BPF_F_INGRESS)) as i32 }
    }
}
