//! A very small HTTP server: GET and HEAD, a handful of paths, one request for each connection.
//!
//! It is meant for a scraper on the machine or in its management network, and gives nobody else a hold:
//!
//! | limit | |
//! |---|---|
//! | connections at a time | 32; who comes then is answered with 503 |
//! | request line, headers | 4 KiB, 16 KiB |
//! | for the whole request, for the whole response | 5 s each, however they trickle |
//!
//! Threads, not async: there are few connections, and what they ask for is read from the kernel by calls
//! that block.

mod address;
mod connection;
mod listener;
mod request;
mod response;

// Not within `request`, which fuzzers take as well.
#[cfg(test)]
mod request_tests;
#[cfg(test)]
mod tests;

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use super::Source;
use connection::{Stream, serve, turn_away};
use listener::Listener;

pub(crate) use address::Address;

/// Connections at a time, on all addresses together.
const CONNECTIONS: usize = 32;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{address}: cannot be listened on for metrics: {cause}")]
pub(crate) struct ServerError {
    address: Address,
    cause: io::Error,
}

/// Sockets that are open; nobody is answered yet.
#[derive(Debug)]
pub(crate) struct Server {
    listeners: Vec<Listener>,
}

impl Server {
    /// Opens sockets, before rights are given up. All of them, or none.
    ///
    /// # Errors
    /// When an address is taken, or not ours to take.
    pub(crate) fn bind(addresses: &[Address]) -> Result<Self, ServerError> {
        let bind = |address: &Address| {
            let failed = |cause| ServerError { address: address.clone(), cause };
            Listener::bind(address).map_err(failed).transpose()
        };
        let listeners = addresses.iter().filter_map(bind).collect::<Result<_, _>>()?;
        Ok(Server { listeners })
    }

    /// Where it listens, with ports that the system chose.
    #[cfg(test)]
    pub(crate) fn addresses(&self) -> Vec<Address> {
        self.listeners.iter().filter_map(|listener| listener.address().ok()).collect()
    }

    /// Answers from now on, by threads, until what is returned is dropped. They are in the network
    /// namespace of the thread that calls this, and have its rights.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn run(self, source: impl Source + 'static) -> io::Result<Running> {
        let source: Arc<dyn Source> = Arc::new(source);
        let (stop, stopped) = UnixStream::pair()?;
        let mut running = Running { stop: Some(stop), threads: Vec::new() };
        let open = Arc::new(AtomicUsize::new(0));
        for listener in self.listeners {
            let (source, open, stopped) =
                (Arc::clone(&source), Arc::clone(&open), stopped.try_clone()?);
            let thread = thread::Builder::new().name("metrics".to_owned());
            running
                .threads
                .push(thread.spawn(move || accept(&listener, &stopped, &source, &open))?);
        }
        Ok(running)
    }
}

/// A server that answers; dropped, it stops. Responses under way are still sent.
#[derive(Debug)]
pub(crate) struct Running {
    /// Closed, it wakes those who listen.
    stop: Option<UnixStream>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn accept(
    listener: &Listener,
    stopped: &UnixStream,
    source: &Arc<dyn Source>,
    open: &Arc<AtomicUsize>,
) {
    loop {
        let mut fds = [PollFd::new(listener, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        let polled = poll(&mut fds, None).map_err(io::Error::from);
        if !fds[1].revents().is_empty() {
            return;
        }
        match polled.and_then(|_| listener.accept()) {
            Ok(stream) => start(stream, source, open),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // No descriptors left, say: it will be so for a while, and must not keep a CPU busy.
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Serves a connection on a thread of its own, if there is room for it.
fn start(stream: Stream, source: &Arc<dyn Source>, open: &Arc<AtomicUsize>) {
    let Some(place) = Place::take(open) else { return turn_away(stream) };
    let source = Arc::clone(source);
    // If there is no thread to be had, the connection is closed.
    let _ = thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        let _place = place;
        serve(stream, source.as_ref());
    });
}

/// One of the connections; dropped, there is room for another.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Option<Self> {
        let more = |count| (count < CONNECTIONS).then_some(count + 1);
        open.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Place(Arc::clone(open)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
