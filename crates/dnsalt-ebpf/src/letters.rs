//! The case of letters in the packet at hand.

use dnsalt_salt::Tables as _;
use dnsalt_salt::case::{Changed, Nonce, flip};

use crate::maps::{Kernel, work};

/// Changes it, or changes it back; whether that could be done.
#[inline(never)]
pub fn flipped(nonce: u64) -> bool {
    let Some(work) = work() else { return false };
    let Some(kernel) = Kernel::of(work) else { return false };
    work.nonce = nonce;
    let length = usize::from(work.question.length & 0x1ff);
    let key = kernel.config().nonce_key;
    let from = nothing(&mut work.changed);
    work.changed = flip(&mut work.head, &work.dns, length, key, Nonce(nonce), from);
    true
}

/// Nothing changed yet; but numbers of which the verifier knows nothing, as it knows of all that came out of
/// a map. Sums that begin there are alike however often a loop goes round.
#[inline(always)]
fn nothing(place: &mut Changed) -> Changed {
    *place = Changed::default();
    // SAFETY: it was written just now.
    unsafe { core::ptr::from_ref(place).read_volatile() }
}
