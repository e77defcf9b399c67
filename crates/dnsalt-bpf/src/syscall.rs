//! The one thing that aya has no call for: taking a link off at once.
//!
//! A link whose last pin and descriptor are gone is taken off by the kernel when it finds the time, a
//! moment later. Who says `down` expects it to be down.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Commands of bpf(2).
const OBJ_GET: libc::c_long = 7;
const LINK_DETACH: libc::c_long = 34;

/// Their arguments, as far as they are used here; what follows is zero.
#[repr(C)]
#[derive(Default)]
struct ObjGet {
    path: u64,
    fd: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct LinkDetach {
    fd: u32,
}

/// Takes a pinned link off its interface (Linux 5.9). The pin stays.
pub(crate) fn detach(pin: &Path) -> io::Result<()> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let get = ObjGet { path: path.as_ptr().addr() as u64, ..ObjGet::default() };
    let fd = bpf(OBJ_GET, &get)?;
    // SAFETY: the kernel has just made it, and nobody else knows it.
    let link = unsafe { OwnedFd::from_raw_fd(fd) };
    bpf(LINK_DETACH, &LinkDetach { fd: link.as_raw_fd().cast_unsigned() }).map(drop)
}

fn bpf<T>(command: libc::c_long, arguments: &T) -> io::Result<i32> {
    // SAFETY: the structure is as long as it says; what it points to lives until the call returns.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(arguments), size_of::<T>())
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(io::Error::other)
}
