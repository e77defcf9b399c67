//! Numbers that several processors read and write: atomics, also where the target has none to offer.
//!
//! Rust's BPF target knows loads and stores only; the machine behind it has had compare-and-swap and
//! exchange since Linux 5.12. There they come from the compiler's intrinsics, here from the standard
//! library. Each operation on memory that changes it and gives the old value is a full barrier; loads
//! and stores order nothing.

pub use imp::{Word16, Word32, Word64};

#[cfg(not(target_arch = "bpf"))]
mod imp {
    use core::sync::atomic::Ordering::{Relaxed, SeqCst};
    use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64};

    macro_rules! word {
        ($name:ident, $atomic:ident, $number:ident) => {
            /// A shared number.
            #[derive(Debug, Default)]
            #[repr(transparent)]
            pub struct $name($atomic);

            impl $name {
                /// What it is.
                #[inline(always)]
                pub fn load(&self) -> $number {
                    self.0.load(Relaxed)
                }

                /// Makes it something else.
                #[inline(always)]
                pub fn store(&self, value: $number) {
                    self.0.store(value, Relaxed);
                }
            }
        };
    }

    word!(Word16, AtomicU16, u16);
    word!(Word32, AtomicU32, u32);
    word!(Word64, AtomicU64, u64);

    impl Word32 {
        /// Adds one; what it was.
        #[inline(always)]
        pub fn increment(&self) -> u32 {
            self.0.fetch_add(1, SeqCst)
        }

        /// Makes it something else; what it was.
        #[inline(always)]
        pub fn swap(&self, value: u32) -> u32 {
            self.0.swap(value, SeqCst)
        }

        /// Makes it something else if it is still what it was; whether it was.
        #[inline(always)]
        pub fn replace(&self, old: u32, new: u32) -> bool {
            self.0.compare_exchange(old, new, SeqCst, SeqCst).is_ok()
        }
    }

    impl Word64 {
        /// Makes it something else; what it was.
        #[inline(always)]
        pub fn swap(&self, value: u64) -> u64 {
            self.0.swap(value, SeqCst)
        }

        /// Makes it something else if it is still what it was; whether it was.
        #[inline(always)]
        pub fn replace(&self, old: u64, new: u64) -> bool {
            self.0.compare_exchange(old, new, SeqCst, SeqCst).is_ok()
        }
    }
}

#[cfg(target_arch = "bpf")]
#[allow(unsafe_code, internal_features)]
mod imp {
    use core::cell::UnsafeCell;
    use core::intrinsics::AtomicOrdering::SeqCst;
    use core::intrinsics::{atomic_cxchg, atomic_xadd, atomic_xchg};

    macro_rules! word {
        ($name:ident, $number:ident) => {
            /// A shared number.
            #[repr(transparent)]
            #[derive(Debug, Default)]
            pub struct $name(UnsafeCell<$number>);

            // SAFETY: single loads and stores of aligned numbers do not tear on any machine that BPF
            // runs on.
            unsafe impl Sync for $name {}

            impl $name {
                /// What it is.
                #[inline(always)]
                pub fn load(&self) -> $number {
                    // SAFETY: it is there, and aligned.
                    unsafe { self.0.get().read_volatile() }
                }

                /// Makes it something else.
                #[inline(always)]
                pub fn store(&self, value: $number) {
                    // SAFETY: it is there, and aligned.
                    unsafe { self.0.get().write_volatile(value) }
                }
            }
        };
    }

    word!(Word16, u16);
    word!(Word32, u32);
    word!(Word64, u64);

    impl Word32 {
        /// Adds one; what it was.
        #[inline(always)]
        pub fn increment(&self) -> u32 {
            // SAFETY: it is there, and aligned.
            unsafe { atomic_xadd::<u32, u32, { SeqCst }>(self.0.get(), 1) }
        }

        /// Makes it something else; what it was.
        #[inline(always)]
        pub fn swap(&self, value: u32) -> u32 {
            // SAFETY: it is there, and aligned.
            unsafe { atomic_xchg::<u32, { SeqCst }>(self.0.get(), value) }
        }

        /// Makes it something else if it is still what it was; whether it was.
        #[inline(always)]
        pub fn replace(&self, old: u32, new: u32) -> bool {
            // SAFETY: it is there, and aligned.
            unsafe { atomic_cxchg::<u32, { SeqCst }, { SeqCst }>(self.0.get(), old, new).1 }
        }
    }

    impl Word64 {
        /// Makes it something else; what it was.
        #[inline(always)]
        pub fn swap(&self, value: u64) -> u64 {
            // SAFETY: it is there, and aligned.
            unsafe { atomic_xchg::<u64, { SeqCst }>(self.0.get(), value) }
        }

        /// Makes it something else if it is still what it was; whether it was.
        #[inline(always)]
        pub fn replace(&self, old: u64, new: u64) -> bool {
            // SAFETY: it is there, and aligned.
            unsafe { atomic_cxchg::<u64, { SeqCst }, { SeqCst }>(self.0.get(), old, new).1 }
        }
    }
}
