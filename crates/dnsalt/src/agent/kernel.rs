//! Notices of the kernel: interfaces and addresses that change (rtnetlink), rules that somebody changes
//! (nftables). That something happened is enough; what, is looked at then.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{Socket, SocketAddr};

/// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR` of `linux/rtnetlink.h`.
const ROUTE_GROUPS: u32 = 0x1 | 0x10 | 0x100;
/// `NFNLGRP_NFTABLES` of `linux/netfilter/nfnetlink.h`.
const NFTABLES: u32 = 7;

/// The sockets.
pub(super) struct Notices {
    sockets: Vec<Socket>,
}

impl Notices {
    pub(super) fn open() -> io::Result<Self> {
        let mut route = Socket::new(NETLINK_ROUTE)?;
        route.bind(&SocketAddr::new(0, ROUTE_GROUPS))?;
        let mut sockets = vec![route];
        // A kernel without nftables has nothing to tell of it.
        if let Ok(mut rules) = Socket::new(NETLINK_NETFILTER) {
            rules.bind_auto()?;
            rules.add_membership(NFTABLES)?;
            sockets.push(rules);
        }
        for socket in &sockets {
            socket.set_non_blocking(true)?;
        }
        Ok(Notices { sockets })
    }

    pub(super) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.sockets.iter().map(|socket| socket.as_fd()).collect()
    }

    /// Reads all that there is, and forgets it. That some was lost (`ENOBUFS`) is a notice as well.
    pub(super) fn drain(&self) {
        let mut buffer = Vec::with_capacity(1 << 16);
        for socket in &self.sockets {
            loop {
                buffer.clear();
                match socket.recv(&mut buffer, 0) {
                    Ok(_) => {}
                    Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                    Err(_) => break,
                }
            }
        }
    }
}
