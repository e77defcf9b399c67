//! What aya has no call for: taking a link off at once, reading an array a stretch at a time, showing a
//! packet to a program.
//!
//! A link whose last pin and descriptor are gone is taken off by the kernel when it finds the time, a
//! moment later. Who says `down` expects it to be down. A table of half a million slots, one call for each, takes half a second.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use aya::maps::MapData;

use crate::Ran;

/// Commands of bpf(2).
const PROG_LOAD: libc::c_long = 5;
const OBJ_GET: libc::c_long = 7;
const PROG_TEST_RUN: libc::c_long = 10;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const MAP_LOOKUP_BATCH: libc::c_long = 24;
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
struct GetInfo {
    fd: u32,
    length: u32,
    info: u64,
}

/// `bpf_link_info`, as it is of tcx links.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    padding: u32,
    interface: u32,
    way: u32,
    /// The union is longer for links of other kinds.
    rest: [u64; 8],
}

/// `BPF_LINK_TYPE_TCX`.
const TCX: u32 = 11;

#[repr(C)]
#[derive(Default)]
struct LinkDetach {
    fd: u32,
}

#[repr(C)]
#[derive(Default)]
struct LookupBatch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    kind: u32,
    instructions: u32,
    code: u64,
    license: u64,
    /// No log.
    log: [u64; 2],
}

#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    verdict: u32,
    data_in_size: u32,
    data_out_size: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    took: u32,
    context_sizes: [u32; 2],
    contexts: [u64; 2],
    flags: u32,
    cpu: u32,
    batch: u64,
}

/// `BPF_PROG_TYPE_SCHED_CLS`.
const SCHED_CLS: u32 = 3;
/// Leaves it to the next (`TC_ACT_UNSPEC`): `r0 = -1; exit`.
const NOTHING: [u64; 2] = [0xffff_ffff_0000_00b7, 0x95];
/// Room for a packet.
const LARGEST: usize = 2048;

/// Loads a program that does nothing.
pub(crate) fn load_nothing() -> io::Result<OwnedFd> {
    let license = c"MIT";
    let load = ProgLoad {
        kind: SCHED_CLS,
        instructions: 2,
        code: NOTHING.as_ptr().expose_provenance() as u64,
        license: license.as_ptr().expose_provenance() as u64,
        ..ProgLoad::default()
    };
    let fd = bpf(PROG_LOAD, &load)?;
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Shows a packet to a program of tc, so many times.
pub(crate) fn test_run(program: impl AsFd, packet: &[u8], repeat: u32) -> io::Result<Ran> {
    let mut out = vec![0_u8; LARGEST];
    let mut run = TestRun {
        program: program.as_fd().as_raw_fd().cast_unsigned(),
        data_in_size: u32::try_from(packet.len()).map_err(io::Error::other)?,
        data_out_size: u32::try_from(LARGEST).unwrap_or(0),
        data_in: packet.as_ptr().expose_provenance() as u64,
        data_out: out.as_mut_ptr().expose_provenance() as u64,
        repeat,
        ..TestRun::default()
    };
    bpf_mut(PROG_TEST_RUN, &mut run)?;
    out.truncate(run.data_out_size as usize);
    let took = Duration::from_nanos(run.took.into());
    Ok(Ran { verdict: run.verdict.cast_signed(), packet: out, took })
}

/// An entry of an array, as it lies in the kernel.
pub(crate) type Entry = [u8; 64];

/// Entries that are read by one call.
const STRETCH: usize = 4096;

/// Shows every entry of an array to `each`, in the order of their indices, a stretch at a time (Linux
/// 5.6). Each stretch is a copy; entries that change meanwhile may be torn, but words are whole.
pub(crate) fn scan(map: &MapData, mut each: impl FnMut(u32, &Entry)) -> io::Result<()> {
    let size = map.info().map_err(io::Error::other)?.value_size() as usize;
    if size != size_of::<Entry>() {
        return Err(io::Error::other(format!("entries of {size} bytes")));
    }
    let mut keys = vec![0_u32; STRETCH];
    let mut values = vec![[0; size_of::<Entry>()]; STRETCH];
    let mut last: Option<u32> = None;
    loop {
        let mut next = 0_u32;
        let pointer = |of: *const u32| of.addr() as u64;
        let mut batch = LookupBatch {
            in_batch: last.as_ref().map_or(0, |last| pointer(std::ptr::from_ref(last))),
            out_batch: std::ptr::from_mut(&mut next).expose_provenance() as u64,
            keys: keys.as_mut_ptr().expose_provenance() as u64,
            values: values.as_mut_ptr().expose_provenance() as u64,
            count: u32::try_from(STRETCH).unwrap_or(0),
            map_fd: map.fd().as_fd().as_raw_fd().cast_unsigned(),
            ..LookupBatch::default()
        };
        let done = match bpf_mut(MAP_LOOKUP_BATCH, &mut batch) {
            Ok(_) => false,
            // The end, behind what was read.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) => return Err(error),
        };
        let count = (batch.count as usize).min(STRETCH);
        for (key, value) in keys.iter().zip(&values).take(count) {
            each(*key, value);
        }
        if done || count == 0 {
            return Ok(());
        }
        last = Some(next);
    }
}

fn open(pin: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let get = ObjGet { path: path.as_ptr().addr() as u64, ..ObjGet::default() };
    let fd = bpf(OBJ_GET, &get)?;
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The index of the interface that a pinned tcx link is on; 0 once it was taken off, and for what is none. Of
/// the programs of an interface the kernel tells only who has `CAP_SYS_ADMIN`; of a link, whoever may open its
/// pin.
pub(crate) fn link_interface(pin: &Path) -> io::Result<u32> {
    let link = open(pin)?;
    let mut info = LinkInfo::default();
    let mut get = GetInfo {
        fd: link.as_raw_fd().cast_unsigned(),
        length: u32::try_from(size_of::<LinkInfo>()).unwrap_or(0),
        info: std::ptr::from_mut(&mut info).expose_provenance() as u64,
    };
    bpf_mut(OBJ_GET_INFO_BY_FD, &mut get)?;
    Ok(if info.kind == TCX { info.interface } else { 0 })
}

/// Takes a pinned link off its interface (Linux 5.9). The pin stays.
pub(crate) fn detach(pin: &Path) -> io::Result<()> {
    let link = open(pin)?;
    bpf(LINK_DETACH, &LinkDetach { fd: link.as_raw_fd().cast_unsigned() }).map(drop)
}

fn bpf<T>(command: libc::c_long, arguments: &T) -> io::Result<i32> {
    // SAFETY: the structure is as long as it says; what it points to lives until the call returns.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(arguments), size_of::<T>())
    };
    ended(result)
}

/// The same for a command that writes to its arguments, and to what they point to.
fn bpf_mut<T>(command: libc::c_long, arguments: &mut T) -> io::Result<i32> {
    // SAFETY: as above; and nobody else sees what is written to.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(arguments), size_of::<T>())
    };
    ended(result)
}

fn ended(result: libc::c_long) -> io::Result<i32> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(io::Error::other)
}
