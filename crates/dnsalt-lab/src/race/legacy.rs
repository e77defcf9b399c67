//! A resolver as they were in 2008: every query from one port, query IDs that count, and it believes all
//! that comes with an answer.
//!
//! It asks the servers that it was told of, keeps what it learns, and goes to TCP when a reply is cut
//! down (TC=1).

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Rtype, ToName as _, Ttl};
use domain::rdata::{A, Ns};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;

use super::network::{ATTACKER, RESOLVER, servers};
use super::zones::{ATTACK, BANK, Labels, name};
use crate::{Host, LabError};

/// The port that it asks from.
pub(super) const PORT: u16 = 33333;
/// How often it looks whether it is to stop.
const TURN: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(1);
const TRIES: u32 = 3;
/// Room for replies that wait to be read, in bytes.
const BUFFER: usize = 8 << 20;

/// Runs until it is dropped.
#[derive(Debug)]
pub(super) struct Legacy {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Legacy {
    /// Starts it, knowing so many servers of the attacked zone.
    pub(super) fn start(host: &Host, count: u8) -> Result<Self, LabError> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        // On the host's own thread, so that the new one is on the host as well: it opens sockets.
        let thread = host.run(move || {
            let clients = UdpSocket::bind((RESOLVER, 53))?;
            let outside = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
            for socket in [&clients, &outside] {
                socket.set_nonblocking(true)?;
                sockopt::set_socket_recv_buffer_size_force(socket, BUFFER)?;
            }
            let resolver = Resolver::new(clients, outside, count);
            std::thread::Builder::new().name("legacy".to_owned()).spawn(move || {
                // It ends when a socket fails, as a program would.
                let _ = resolver.work(&stopped);
            })
        });
        let thread = thread.map_err(|cause| LabError::Host {
            host: host.name().to_owned(),
            operation: "starting the legacy resolver",
            cause,
        })?;
        Ok(Legacy { stop, thread: Some(thread) })
    }
}

impl Drop for Legacy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A query that it waits for.
struct Outstanding {
    id: u16,
    server: Ipv4Addr,
    qname: Labels,
    qtype: Rtype,
    /// The client's query, and where it came from.
    client: (Vec<u8>, SocketAddr),
    sent: Instant,
    tries: u32,
}

struct Resolver {
    clients: UdpSocket,
    outside: UdpSocket,
    /// Servers of zones, as far as they are known.
    zones: HashMap<Labels, Vec<Ipv4Addr>>,
    addresses: HashMap<Labels, Ipv4Addr>,
    outstanding: Vec<Outstanding>,
    next_id: u16,
    tcp: (mpsc::Sender<Vec<u8>>, mpsc::Receiver<Vec<u8>>),
}

impl Resolver {
    fn new(clients: UdpSocket, outside: UdpSocket, count: u8) -> Self {
        let zones = [(name(BANK), servers(count).collect()), (name(ATTACK), vec![ATTACKER])];
        Resolver {
            clients,
            outside,
            zones: HashMap::from(zones),
            addresses: HashMap::new(),
            outstanding: Vec::new(),
            next_id: 4242,
            tcp: mpsc::channel(),
        }
    }

    fn work(mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut buffer = [0; 4096];
        let turn = Timespec::try_from(TURN).map_err(io::Error::other)?;
        while !stop.load(Ordering::Relaxed) {
            let mut ready = [&self.clients, &self.outside]
                .map(|socket| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN));
            poll(&mut ready, Some(&turn))?;
            while let Ok((length, from)) = self.outside.recv_from(&mut buffer) {
                self.reply(&buffer[..length], from);
            }
            while let Ok((length, from)) = self.clients.recv_from(&mut buffer) {
                self.query(buffer[..length].to_vec(), from);
            }
            while let Ok(reply) = self.tcp.1.try_recv() {
                self.believe(&reply);
            }
            self.ask_again();
        }
        Ok(())
    }

    /// A client asks.
    fn query(&mut self, query: Vec<u8>, from: SocketAddr) {
        let Ok(message) = Message::from_octets(&query[..]) else { return };
        let Ok(question) = message.sole_question() else { return };
        let (qname, qtype) = (question.qname().to_vec(), question.qtype());
        if let Some(address) = self.addresses.get(&qname).filter(|_| qtype == Rtype::A) {
            let _ = self.clients.send_to(&answer(&query, Some(*address)), from);
            return;
        }
        let known = self.zones.iter().find(|(zone, _)| qname.ends_with(zone));
        let Some(server) = known.and_then(|(_, all)| {
            // In turn, as all of them are equally good.
            all.get(usize::from(self.next_id) % all.len().max(1)).copied()
        }) else {
            let _ = self.clients.send_to(&answer(&query, None), from);
            return;
        };
        self.next_id = self.next_id.wrapping_add(1);
        let (id, client, sent) = (self.next_id, (query, from), Instant::now());
        let asked = Outstanding { id, server, qname, qtype, client, sent, tries: 1 };
        let _ = self.outside.send_to(&written(&asked), (server, 53));
        self.outstanding.push(asked);
    }

    /// Something came to its port. Most of it is wrong while it is attacked.
    fn reply(&mut self, reply: &[u8], from: SocketAddr) {
        let Some(id) = reply.first_chunk().map(|id| u16::from_be_bytes(*id)) else { return };
        let mut all = self.outstanding.iter();
        let Some(asked) = all.find(|asked| asked.id == id) else { return };
        if from.ip() != IpAddr::V4(asked.server) || from.port() != 53 {
            return;
        }
        let Ok(message) = Message::from_octets(reply) else { return };
        if message.header().tc() {
            let (query, server) = (written(asked), asked.server);
            let sender = self.tcp.0.clone();
            std::thread::spawn(move || {
                if let Ok(reply) = over_tcp(&query, server) {
                    let _ = sender.send(reply);
                }
            });
            return;
        }
        self.believe(reply);
    }

    /// Takes a reply, if it is one to what was asked.
    fn believe(&mut self, reply: &[u8]) {
        let Ok(message) = Message::from_octets(reply) else { return };
        let (Ok(question), id) = (message.sole_question(), message.header().id()) else { return };
        let right = |asked: &Outstanding| {
            asked.id == id && question.qname() == &asked.qname && question.qtype() == asked.qtype
        };
        let Some(place) = self.outstanding.iter().position(right) else { return };
        let asked = self.outstanding.swap_remove(place);
        let address = self.learn(&message, &asked.qname);
        let (query, from) = &asked.client;
        let _ = self.clients.send_to(&answer(query, address), *from);
    }

    /// Keeps whatever there is: addresses, and who serves which zone.
    fn learn(&mut self, message: &Message<&[u8]>, qname: &Labels) -> Option<Ipv4Addr> {
        let (_, answer, authority, additional) = message.sections().ok()?;
        for section in [answer, additional] {
            for record in section.limit_to::<A>().flatten() {
                self.addresses.insert(record.owner().to_vec(), record.data().addr());
            }
        }
        for record in authority.limit_to::<Ns<_>>().flatten() {
            if let Some(address) = self.addresses.get(&record.data().nsdname().to_vec()) {
                self.zones.insert(record.owner().to_vec(), vec![*address]);
            }
        }
        self.addresses.get(qname).copied()
    }

    fn ask_again(&mut self) {
        for asked in &mut self.outstanding {
            if asked.sent.elapsed() > PATIENCE {
                (asked.sent, asked.tries) = (Instant::now(), asked.tries + 1);
                let _ = self.outside.send_to(&written(asked), (asked.server, 53));
            }
        }
        self.outstanding.retain(|asked| asked.tries <= TRIES);
    }
}

/// The query that it sends.
fn written(asked: &Outstanding) -> Vec<u8> {
    let mut question = MessageBuilder::new_vec().question();
    question.header_mut().set_id(asked.id);
    // One question always fits.
    let _ = question.push((&asked.qname, asked.qtype));
    question.finish()
}

/// What a client is told: an address, or that it did not work.
fn answer(query: &[u8], address: Option<Ipv4Addr>) -> Vec<u8> {
    let Ok(query) = Message::from_octets(query) else { return Vec::new() };
    let rcode = if address.is_some() { Rcode::NOERROR } else { Rcode::SERVFAIL };
    let Ok(mut reply) = MessageBuilder::new_vec().start_answer(&query, rcode) else {
        return Vec::new();
    };
    reply.header_mut().set_ra(true);
    if let (Some(address), Ok(question)) = (address, query.sole_question()) {
        let _ = reply.push((question.qname(), Ttl::from_secs(3600), A::new(address)));
    }
    reply.finish()
}

fn over_tcp(query: &[u8], server: Ipv4Addr) -> io::Result<Vec<u8>> {
    let patience = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&(server, 53).into(), patience)?;
    stream.set_read_timeout(Some(patience))?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?.to_be_bytes();
    stream.write_all(&[&length, query].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut reply)?;
    Ok(reply)
}
