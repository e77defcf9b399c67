//! A DNS server that answers every question, and remembers who asked from where.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dnsalt_wire::dns::{Message, rrtype};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::{Host, LabError};

/// How often a server looks whether it is to stop.
const TURN: Duration = Duration::from_millis(20);

/// An OPT record of 1232 bytes without options (RFC 6891 section 6.1.2).
const OPT: [u8; 11] = [0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0];

/// A query as the server saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Who asked: the address and port on the wire.
    pub peer: SocketAddr,
    /// Which of the server's addresses was asked.
    pub server: IpAddr,
    /// Whether over TCP.
    pub tcp: bool,
    /// The query ID.
    pub id: u16,
    /// The name, with the dot at its end, as it was written.
    pub name: String,
}

/// What a server replies to a query; none for what is not worth a reply.
pub type Answer = Arc<dyn Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync>;

/// Listens on port 53 of some addresses of a host, UDP and TCP. Stops when it is dropped.
#[derive(Debug)]
pub struct DnsServer {
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl DnsServer {
    /// Starts one on a host that answers `A` with 192.0.2.80, `AAAA` with `2001:db8::80`, and all else
    /// with no records.
    ///
    /// # Errors
    /// When the host has no such address, or the port is taken.
    pub fn start(host: &Host, addresses: &[IpAddr]) -> Result<Self, LabError> {
        let answer: Answer = Arc::new(everything);
        Self::start_with(host, addresses, &answer, Duration::ZERO)
    }

    /// Starts one that answers as it is told, so long after each query.
    ///
    /// # Errors
    /// When the host has no such address, or the port is taken.
    pub fn start_with(
        host: &Host,
        addresses: &[IpAddr],
        answer: &Answer,
        delay: Duration,
    ) -> Result<Self, LabError> {
        let mut server =
            DnsServer { seen: Arc::default(), stop: Arc::default(), threads: Vec::new() };
        for &address in addresses {
            let sockets = host.run(move || Ok((udp(address)?, tcp(address)?)));
            let (udp, tcp) = sockets.map_err(|cause: io::Error| LabError::Host {
                host: host.name().to_owned(),
                operation: "listening on port 53",
                cause,
            })?;
            let udp = Arc::new(udp);
            let (later, due) = mpsc::channel();
            let out = Arc::clone(&udp);
            server.threads.push(std::thread::spawn(move || reply_when_due(&out, &due)));
            let work = server.worker(address, answer);
            server.threads.push(std::thread::spawn(move || work.serve_udp(&udp, delay, &later)));
            let work = server.worker(address, answer);
            server.threads.push(std::thread::spawn(move || work.serve_tcp(&tcp, delay)));
        }
        Ok(server)
    }

    /// What it saw since it was asked last.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn worker(&self, address: IpAddr, answer: &Answer) -> Worker {
        let (seen, stop) = (Arc::clone(&self.seen), Arc::clone(&self.stop));
        Worker { address, answer: Arc::clone(answer), seen, stop }
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A reply, to whom, and when.
type Due = (Instant, SocketAddr, Vec<u8>);

/// All wait equally long: the first is due first.
fn reply_when_due(socket: &UdpSocket, due: &mpsc::Receiver<Due>) {
    for (when, peer, reply) in due {
        std::thread::sleep(when.saturating_duration_since(Instant::now()));
        let _ = socket.send_to(&reply, peer);
    }
}

/// One socket's share of the server.
#[derive(Clone)]
struct Worker {
    address: IpAddr,
    answer: Answer,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Worker {
    fn serve_udp(&self, socket: &UdpSocket, delay: Duration, later: &mpsc::Sender<Due>) {
        let mut buffer = [0; 4096];
        while !self.stop.load(Ordering::Relaxed) {
            let Ok((length, peer)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            let Some(reply) = self.answer(&buffer[..length], peer, false) else { continue };
            if delay.is_zero() {
                let _ = socket.send_to(&reply, peer);
            } else {
                let _ = later.send((Instant::now() + delay, peer, reply));
            }
        }
    }

    fn serve_tcp(&self, listener: &TcpListener, delay: Duration) {
        while !self.stop.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((stream, peer)) => {
                    let worker = self.clone();
                    std::thread::spawn(move || worker.converse(stream, peer, delay));
                }
                Err(_) => std::thread::sleep(TURN),
            }
        }
    }

    /// One query after the other, until the client closes or is silent for two seconds. The client closes
    /// first, so that the server's port is not left in `TIME_WAIT`.
    fn converse(&self, mut stream: TcpStream, peer: SocketAddr, delay: Duration) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        loop {
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut query)?;
            let Some(reply) = self.answer(&query, peer, true) else {
                return Ok(());
            };
            std::thread::sleep(delay);
            let length = u16::try_from(reply.len()).unwrap_or(u16::MAX).to_be_bytes();
            stream.write_all(&[&length, &reply[..]].concat())?;
        }
    }

    /// Remembers a query and has it answered; none for what is no query.
    fn answer(&self, query: &[u8], peer: SocketAddr, tcp: bool) -> Option<Vec<u8>> {
        let message = Message::parse(query).ok().filter(|message| !message.is_response())?;
        let question = message.question().ok()?;
        let seen = Seen {
            peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
            server: self.address,
            tcp,
            id: message.id(),
            name: question.name.to_string(),
        };
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        (self.answer)(query)
    }
}

/// Every name there is has an address.
fn everything(query: &[u8]) -> Option<Vec<u8>> {
    let question = Message::parse(query).ok()?.question().ok()?;
    let record: &[u8] = match question.qtype {
        rrtype::A => &[192, 0, 2, 80],
        rrtype::AAAA => &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80],
        _ => &[],
    };
    let question_end = 12 + question.name.as_wire().len() + 4;
    let mut reply = query.get(..question_end)?.to_vec();
    reply[2] = 0x84 | (query[2] & 0x01); // QR, AA; RD as it was
    reply[3] = 0x80; // RA, NOERROR
    reply[4..12].copy_from_slice(&[0, 1, 0, u8::from(!record.is_empty()), 0, 0, 0, 0]);
    if !record.is_empty() {
        reply.extend_from_slice(&[0xc0, 12]); // the name of the question
        reply.extend_from_slice(&question.qtype.to_be_bytes());
        reply.extend_from_slice(&[0, 1, 0, 0, 0, 60, 0]); // IN, 60 s, the length's upper half
        reply.push(u8::try_from(record.len()).ok()?);
        reply.extend_from_slice(record);
    }
    if query[6..10] == [0; 4] && query[question_end..].starts_with(&OPT[..3]) {
        reply[11] = 1;
        reply.extend_from_slice(&OPT);
    }
    Some(reply)
}

fn udp(address: IpAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((address, 53))?;
    socket.set_read_timeout(Some(TURN))?;
    Ok(socket)
}

fn tcp(address: IpAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddr::new(address, 53))?;
    rustix::net::listen(&socket, 16)?;
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok(listener)
}
