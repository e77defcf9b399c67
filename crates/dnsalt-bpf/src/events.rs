//! What the kernel half tells of: samples of near misses, lockdowns that begin, with their cause.

use std::fmt;
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use aya::maps::{Map, MapData, RingBuf};
use dnsalt_salt::Address;
use dnsalt_salt::layout::{Event, Report};

use crate::object::failed;
use crate::{BpfError, pins_in};

/// An event, and the packet that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What happened.
    pub event: Event,
    /// From the IP header on, at most 512 bytes of it.
    pub packet: Vec<u8>,
}

/// Events as they come; each is read once, by whoever is first.
pub struct Events {
    ring: RingBuf<MapData>,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    /// Of the engine that is installed in this network namespace.
    ///
    /// # Errors
    /// When none is, or the ring cannot be mapped.
    pub fn open(bpffs: &Path) -> Result<Self, BpfError> {
        let pin = pins_in(bpffs)?.path("EVENTS");
        let data = MapData::from_pin(pin).map_err(failed("EVENTS"))?;
        let map = Map::from_map_data(data).map_err(failed("EVENTS"))?;
        Ok(Events { ring: RingBuf::try_from(map).map_err(failed("EVENTS"))? })
    }
}

impl Iterator for Events {
    type Item = Told;

    /// The next event that is there; none if there is none now.
    fn next(&mut self) -> Option<Told> {
        loop {
            let item = self.ring.next()?;
            // One of another size is of another version.
            if let Some(told) = read(&item) {
                return Some(told);
            }
        }
    }
}

impl AsFd for Events {
    /// Readable when there are events.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

/// Reads an entry of the ring, as `dnsalt_salt::layout` has it; none if it is of another length.
pub fn read(bytes: &[u8]) -> Option<Told> {
    let bytes: &[u8; size_of::<Report>()] = bytes.try_into().ok()?;
    let (mut rest, packet) = bytes.split_at(offset_of!(Report, packet));
    let mut take = |length: usize| {
        let (value, behind) = rest.split_at(length);
        rest = behind;
        let mut word = [0; 8];
        word[..length].copy_from_slice(value);
        u64::from_le_bytes(word)
    };
    let time = take(8);
    let client = Address { high: take(8), low: take(8) };
    let server = Address { high: take(8), low: take(8) };
    // Of so many bytes each: nothing is lost.
    let counter = u32::try_from(take(4)).ok()?;
    let mut short = || u16::try_from(take(2)).unwrap_or_default();
    let (port, id, wanted_id, server_port) = (short(), short(), short(), short());
    let cause = u32::try_from(take(4)).ok()?;
    let length = usize::try_from(take(4)).ok()?;
    let packet = packet.get(..length).unwrap_or(packet).to_vec();
    let event = Event { time, client, server, counter, port, id, wanted_id, server_port, cause };
    Some(Told { event, packet })
}

/// Waits until there are events, or the time is over.
///
/// # Errors
/// When the system refuses.
pub fn wait(events: &Events, patience: std::time::Duration) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, poll};
    let timeout = rustix::time::Timespec {
        tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: patience.subsec_nanos().into(),
    };
    let mut fds = [PollFd::new(events, PollFlags::IN)];
    Ok(poll(&mut fds, Some(&timeout))? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[test]
    fn an_event_is_read_field_by_field() {
        let mut bytes = vec![0; size_of::<Report>()];
        bytes[0] = 9;
        bytes[18..24].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 1]);
        bytes[40] = 12;
        bytes[44..56].copy_from_slice(&[1, 2, 3, 4, 5, 6, 53, 0, 9, 0, 0, 0]);
        (bytes[56], bytes[64], bytes[66]) = (3, 0x45, 0x99);
        let Told { event, packet } = read(&bytes).unwrap();
        assert_eq!(packet, [0x45, 0, 0x99]);
        assert_eq!((event.time, event.counter), (9, 12));
        assert_eq!(IpAddr::from(event.client), IpAddr::from([192, 0, 2, 1]));
        assert_eq!((event.port, event.id), (0x0201, 0x0403));
        assert_eq!((event.wanted_id, event.server_port, event.cause), (0x0605, 53, 9));
        assert_eq!(read(&bytes[1..]), None);
    }
}
