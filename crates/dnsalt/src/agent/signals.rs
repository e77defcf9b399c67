//! What ends the agent, and what has it read its policy again.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::kernel::Notices;

/// Signals that came.
pub(super) struct Signals {
    ends: Arc<AtomicBool>,
    reloads: Arc<AtomicBool>,
    /// Readable when one came.
    wakes: UnixStream,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        let (ends, reloads) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (wakes, end) = UnixStream::pair()?;
        wakes.set_nonblocking(true)?;
        // First the flag, then the wake: in the order in which they were registered.
        for (signal, flag) in [(SIGTERM, &ends), (SIGINT, &ends), (SIGHUP, &reloads)] {
            signal_hook::flag::register(signal, Arc::clone(flag))?;
            signal_hook::low_level::pipe::register(signal, end.try_clone()?)?;
        }
        Ok(Signals { ends, reloads, wakes })
    }

    /// Whether the agent is to end.
    pub(super) fn ends(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    /// Whether the policy is to be read again; once for each time.
    pub(super) fn take_reload(&self) -> bool {
        self.reloads.swap(false, Ordering::Relaxed)
    }

    /// Waits until something happens, or the time is over; whether the kernel told of a change.
    pub(super) fn wait(
        &self,
        notices: &Notices,
        events: Option<BorrowedFd<'_>>,
        patience: Duration,
    ) -> bool {
        let mut fds = vec![PollFd::new(&self.wakes, PollFlags::IN)];
        fds.extend(notices.fds().into_iter().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let of_kernel = fds.len();
        fds.extend(events.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let patience = Timespec::try_from(patience).ok();
        // Interrupted by a signal is as good as woken.
        let _ = poll(&mut fds, patience.as_ref());
        let told = fds[1..of_kernel].iter().any(|fd| !fd.revents().is_empty());
        while io::Read::read(&mut (&self.wakes), &mut [0; 64]).is_ok_and(|got| got > 0) {}
        told
    }
}
