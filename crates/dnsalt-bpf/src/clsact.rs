//! `clsact`: the queueing discipline that carries filters where the kernel has no tcx. One that we made goes
//! again; one that was there, or has got filters of others meanwhile, stays.
//!
//! What is said to the kernel, as <linux/rtnetlink.h> has it, all in the byte order of the machine:
//!
//! ```text
//!    0         4     6     8          12        16
//!   +---------+-----+-----+----------+---------+
//!   | length  | type|flags| sequence | port    |   struct nlmsghdr
//!   +---------+-----+-----+----------+---------+
//!   | family  | interface | handle   | parent  | info |   struct tcmsg, 20 bytes
//!   +---------+-----------+----------+---------+------+
//!   | 11  | 1 | "clsact\0"  + 1 of padding       |   TCA_KIND
//!   +-----+---+----------------------------------+
//! ```

use std::io;

use aya::programs::TcAttachType;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_GETQDISC: u16 = 38;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const RTM_GETTFILTER: u16 = 46;

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;

const HANDLE: u32 = 0xffff_0000;
const PARENT: u32 = 0xffff_fff1;
/// `ETH_P_ALL`, in the order of the network, as filters have it.
const ANY_PROTOCOL: u16 = 3_u16.to_be();

const KIND: &[u8] = b"\x0b\0\x01\0clsact\0\0";
/// Of the head and `tcmsg` together.
const FIXED: usize = 36;

/// Where filters for one way hang.
fn hook(way: TcAttachType) -> u32 {
    if way == TcAttachType::Egress { 0xffff_fff3 } else { 0xffff_fff2 }
}

/// A filter by what it is known by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filter {
    pub(crate) handle: u32,
    pub(crate) priority: u16,
    pub(crate) way: TcAttachType,
}

impl Filter {
    /// Whether an interface has it. Others may be there as well.
    pub(crate) fn is_on(self, index: u32) -> io::Result<bool> {
        let dump = request(RTM_GETTFILTER, NLM_F_DUMP, index, 0, hook(self.way), 0);
        ask(&dump, |filter| is(filter, self.handle, self.priority))
    }

    /// Takes it off an interface; what is not there need not go.
    pub(crate) fn remove(self, index: u32) -> io::Result<()> {
        let info = u32::from(self.priority) << 16 | u32::from(ANY_PROTOCOL);
        let kind = RTM_DELTFILTER;
        match ask(&request(kind, NLM_F_ACK, index, self.handle, hook(self.way), info), |_| false) {
            Err(error) if self.is_on(index)? => Err(error),
            _ => Ok(()),
        }
    }
}

/// Whether an interface has the discipline.
pub(crate) fn is_there(index: u32) -> io::Result<bool> {
    match ask(&request(RTM_GETQDISC, NLM_F_ACK, index, HANDLE, PARENT, 0), |_| false) {
        Err(error) if is_of_none(&error) => Ok(false),
        done => done.map(|_| true),
    }
}

/// Makes it; whether it was not there.
pub(crate) fn make(index: u32) -> io::Result<bool> {
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    match ask(&request(RTM_NEWQDISC, flags, index, HANDLE, PARENT, 0), |_| false) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        done => done.map(|_| true),
    }
}

/// Removes it, unless others have filters there by now; one that is not there need not go.
pub(crate) fn remove(index: u32) -> io::Result<()> {
    if !is_empty(index)? {
        return Ok(());
    }
    match ask(&request(RTM_DELQDISC, NLM_F_ACK, index, HANDLE, PARENT, 0), |_| false) {
        Err(error) if is_of_none(&error) || error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        done => done.map(drop),
    }
}

/// Whether the kernel says so that there is no such discipline, or another one in its place.
fn is_of_none(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL))
}

fn is_empty(index: u32) -> io::Result<bool> {
    for way in [TcAttachType::Ingress, TcAttachType::Egress] {
        if ask(&request(RTM_GETTFILTER, NLM_F_DUMP, index, 0, hook(way), 0), |_| true)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a filter, from its `tcmsg` on, has this handle and priority.
fn is(filter: &[u8], handle: u32, priority: u16) -> bool {
    let word = |at: usize| Some(u32::from_ne_bytes(*filter.get(at..)?.first_chunk()?));
    // Of `info` the upper half is the priority, the lower one the protocol.
    word(8) == Some(handle) && word(16).is_some_and(|info| info >> 16 == u32::from(priority))
}

fn request(kind: u16, flags: u16, interface: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    // A discipline is asked for by its kind; filters of any.
    let of_filters = [RTM_DELTFILTER, RTM_GETTFILTER].contains(&kind);
    let tail = if of_filters { &[][..] } else { KIND };
    let length = u32::try_from(FIXED + tail.len()).expect("a few bytes");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend([kind, flags | NLM_F_REQUEST].map(u16::to_ne_bytes).as_flattened());
    let words = [1, 0, 0, interface, handle, parent, info];
    bytes.extend(words.map(u32::to_ne_bytes).as_flattened());
    bytes.extend(tail);
    bytes
}

/// Sends it, and reads to the end of the answer; whether that had such a filter in it.
fn ask(request: &[u8], such: impl Fn(&[u8]) -> bool) -> io::Result<bool> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(request, 0)?;
    let mut found = false;
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = &datagram[..];
        while let Some((kind, body, behind)) = message(rest) {
            match kind {
                NLMSG_DONE => return Ok(found),
                NLMSG_ERROR => {
                    return match i32::from_ne_bytes(body.first_chunk().copied().unwrap_or([1; 4])) {
                        0 => Ok(found),
                        error => Err(io::Error::from_raw_os_error(-error)),
                    };
                }
                kind => found |= kind == RTM_NEWTFILTER && such(body),
            }
            rest = behind;
        }
    }
}

/// The first message: its type, what follows its head, and what follows it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let behind = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    Some((kind, bytes.get(16..length)?, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_how_long_it_is() {
        for kind in [RTM_NEWQDISC, RTM_GETTFILTER] {
            let bytes = request(kind, 0, 7, HANDLE, PARENT, 0);
            let (found, body, behind) = message(&bytes).unwrap();
            assert_eq!((found, behind), (kind, &[][..]));
            assert_eq!(body[4..8], 7_u32.to_ne_bytes());
        }
    }

    #[test]
    fn a_filter_is_known_by_handle_and_priority() {
        let mut filter = [0; 20];
        filter[8..12].copy_from_slice(&7_u32.to_ne_bytes());
        filter[16..20].copy_from_slice(&(5_u32 << 16 | 0x0300).to_ne_bytes());
        assert!(is(&filter, 7, 5));
        assert!(!is(&filter, 8, 5) && !is(&filter, 7, 6) && !is(&filter[..19], 7, 5));
    }

    #[test]
    fn what_is_cut_short_is_no_message() {
        let bytes = request(RTM_NEWQDISC, 0, 7, HANDLE, PARENT, 0);
        for length in 0..bytes.len() {
            assert_eq!(message(&bytes[..length]), None);
        }
    }
}
