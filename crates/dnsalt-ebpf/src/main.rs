//! The kernel half of the `salt` engine: classifiers for what leaves and for what comes in, on
//! interfaces with Ethernet headers and on those without.
//!
//! Thin by intent: what is decided stands in `dnsalt-salt`, where tests on the host run it as well.
//! Here packets are looked at (`filter`, `skb`), changed (`write`), and maps are at hand (`maps`).
#![no_std]
#![no_main]
#![allow(clippy::too_many_arguments)] // everything is inlined

mod filter;
mod inward;
mod letters;
mod maps;
mod out;
mod skb;
mod write;

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;

use filter::Link;
use skb::Skb;

/// What leaves by Ethernet.
#[classifier]
pub fn salt_out_ether(context: TcContext) -> i32 {
    out::packet(Skb::of(&context), Link::Ethernet)
}

/// What leaves without a link header.
#[classifier]
pub fn salt_out_raw(context: TcContext) -> i32 {
    out::packet(Skb::of(&context), Link::Raw)
}

/// What comes in by Ethernet.
#[classifier]
pub fn salt_in_ether(context: TcContext) -> i32 {
    inward::packet(Skb::of(&context), Link::Ethernet)
}

/// What comes in without a link header.
#[classifier]
pub fn salt_in_raw(context: TcContext) -> i32 {
    inward::packet(Skb::of(&context), Link::Raw)
}

/// The verifier takes no program that could get here.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// What the kernel asks for before it lets a program call most of its helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
