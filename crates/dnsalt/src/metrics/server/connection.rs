//! One connection: a request, a response, the end.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::request::{Head, Refusal, Request};
use super::response::Response;
use crate::metrics::Source;

/// For the whole request, however it trickles in; and for the whole response.
const TIMEOUT: Duration = Duration::from_secs(5);
/// For what a client still sends that was answered already.
const LINGER: Duration = Duration::from_millis(500);

/// A stream of either kind.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn set_timeouts(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => {
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))
            }
            Stream::Unix(stream) => {
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))
            }
        }
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_nonblocking(true),
            Stream::Unix(stream) => stream.set_nonblocking(true),
        }
    }

    fn end_writing(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    /// Reads what there is, before a deadline; 0 bytes are the end.
    fn read_before(&mut self, deadline: Instant, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.set_timeouts(left(deadline)?)?;
            let read = match self {
                Stream::Tcp(stream) => stream.read(buffer),
                Stream::Unix(stream) => stream.read(buffer),
            };
            match read {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn write_before(&mut self, deadline: Instant, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.set_timeouts(left(deadline)?)?;
            let written = match self {
                Stream::Tcp(stream) => stream.write(bytes),
                Stream::Unix(stream) => stream.write(bytes),
            };
            match written {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What is left until a deadline. A timeout of 0 would be none.
fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(ErrorKind::TimedOut.into()),
        left => Ok(left.max(Duration::from_millis(1))),
    }
}

/// Serves it to its end. What goes wrong with it is the client's business alone.
pub(super) fn serve(mut stream: Stream, source: &dyn Source) {
    let response = match request(&mut stream) {
        Ok(Ok(request)) => Response::to(&request, source),
        Ok(Err(refusal)) => Response::refusing(refusal),
        // Nobody is there any more.
        Err(_) => return,
    };
    let _ = respond(&mut stream, &response);
}

/// Tells a client that it comes at a bad time, without waiting for anything.
pub(super) fn turn_away(mut stream: Stream) {
    let bytes = Response::busy().bytes();
    if stream.set_nonblocking().is_ok() {
        let _ = match &mut stream {
            Stream::Tcp(stream) => stream.write(&bytes),
            Stream::Unix(stream) => stream.write(&bytes),
        };
    }
}

fn request(stream: &mut Stream) -> io::Result<Result<Request, Refusal>> {
    let deadline = Instant::now() + TIMEOUT;
    let mut head = Head::default();
    let mut buffer = [0; 2048];
    loop {
        let count = match stream.read_before(deadline, &mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(Err(Refusal::Slow));
            }
            Err(error) => return Err(error),
        };
        match head.take(buffer.get(..count).unwrap_or_default()) {
            Ok(false) => {}
            Ok(true) => return Ok(head.parse()),
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
}

fn respond(stream: &mut Stream, response: &Response) -> io::Result<()> {
    stream.write_before(Instant::now() + TIMEOUT, &response.bytes())?;
    stream.end_writing()?;
    // Closed with something unread, the connection would be reset, and the response with it.
    let deadline = Instant::now() + LINGER;
    let mut buffer = [0; 2048];
    while stream.read_before(deadline, &mut buffer)? > 0 {}
    Ok(())
}
