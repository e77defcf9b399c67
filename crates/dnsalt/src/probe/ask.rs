//! The asking half: one fixed source port for everything.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use dnsalt_wire::dns::Message;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::Plan;
use crate::query::{any_address, query};

/// How long to wait for the answers after the last query.
const PATIENCE: Duration = Duration::from_secs(2);

/// One query that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) server: SocketAddr,
    /// In lower case, without the dot at its end.
    pub(crate) name: String,
    /// The query ID; none over TCP, where it means nothing.
    pub(crate) id: Option<u16>,
    pub(crate) answered: bool,
}

/// Sends the plan's queries, the servers in turn, and waits for the answers.
///
/// # Errors
/// When the fixed port is taken, or a server cannot be reached at all.
pub(crate) fn ask(plan: &Plan) -> io::Result<Vec<Asked>> {
    if plan.tcp { ask_tcp(plan) } else { ask_udp(plan, 0) }
}

/// Once more to each server, over UDP, with names that `round` keeps apart from the earlier ones.
pub(crate) fn ask_again(plan: &Plan, round: u16) -> io::Result<Vec<Asked>> {
    ask_udp(&Plan { count: 1, ..plan.clone() }, round)
}

fn name(plan: &Plan, round: u16, server: usize) -> String {
    format!("{round}-{server}.{}", plan.zone)
}

/// The address to bind for a family: the plan's, or any.
fn local(plan: &Plan, family_of: SocketAddr) -> SocketAddr {
    SocketAddr::new(
        plan.bind
            .filter(|bind| bind.is_ipv4() == family_of.is_ipv4())
            .unwrap_or(any_address(family_of)),
        plan.sport,
    )
}

/// A socket with the fixed port. IPv6 alone where it is IPv6, so that both families fit.
fn socket(kind: SocketType, local: SocketAddr) -> io::Result<OwnedFd> {
    let family = if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if local.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if kind == SocketType::STREAM {
        sockopt::set_socket_reuseaddr(&socket, true)?;
        // An abortive close: no TIME_WAIT that would keep us from the same port a moment later.
        sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    }
    rustix::net::bind(&socket, &local).map_err(|error| {
        let error = io::Error::from(error);
        io::Error::new(
            error.kind(),
            format!("source {local}: {error}; choose another with --sport or --bind"),
        )
    })?;
    Ok(socket)
}

fn ask_udp(plan: &Plan, first_round: u16) -> io::Result<Vec<Asked>> {
    let mut sockets: Vec<UdpSocket> = Vec::new();
    for v4 in [true, false] {
        if let Some(server) = plan.servers.iter().find(|server| server.is_ipv4() == v4) {
            sockets.push(UdpSocket::from(socket(SocketType::DGRAM, local(plan, *server))?));
        }
    }
    let mut waiting = Vec::new();
    let mut asked = Vec::new();
    for round in 0..plan.count {
        let next = Instant::now() + plan.gap;
        for (index, server) in plan.servers.iter().enumerate() {
            let name = name(plan, first_round + round, index);
            let (id, bytes) = query(&name)?;
            let fits = |socket: &&UdpSocket| {
                socket.local_addr().is_ok_and(|a| a.is_ipv4() == server.is_ipv4())
            };
            let Some(socket) = sockets.iter().find(fits) else {
                continue;
            };
            // An ICMP error of an earlier query surfaces here; the query itself was not sent then.
            let sent = socket.send_to(&bytes, server).or_else(|_| socket.send_to(&bytes, server));
            sent.map_err(|error| io::Error::new(error.kind(), format!("{server}: {error}")))?;
            waiting.push((*server, id, asked.len()));
            asked.push(Asked { server: *server, name, id: Some(id), answered: false });
        }
        if round + 1 < plan.count {
            receive(&sockets, &mut waiting, &mut asked, next, false)?;
        }
    }
    receive(&sockets, &mut waiting, &mut asked, Instant::now() + PATIENCE, true)?;
    Ok(asked)
}

/// Takes answers until the deadline, or until none is missing if `all_is_enough`.
fn receive(
    sockets: &[UdpSocket],
    waiting: &mut Vec<(SocketAddr, u16, usize)>,
    asked: &mut [Asked],
    deadline: Instant,
    all_is_enough: bool,
) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let now = Instant::now();
        if now >= deadline || (all_is_enough && waiting.is_empty()) {
            return Ok(());
        }
        // Two sockets at most: taking turns is simpler than polling, and exact enough here.
        let turn = (deadline - now).min(Duration::from_millis(10));
        for socket in sockets {
            socket.set_read_timeout(Some(turn))?;
            let Ok((length, peer)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            let Ok(message) = Message::parse(&buffer[..length]) else {
                continue;
            };
            if !message.is_response() {
                continue;
            }
            if let Some(at) =
                waiting.iter().position(|(server, id, _)| *server == peer && *id == message.id())
            {
                asked[waiting.swap_remove(at).2].answered = true;
            }
        }
    }
}

fn ask_tcp(plan: &Plan) -> io::Result<Vec<Asked>> {
    let mut asked = Vec::new();
    for round in 0..plan.count {
        for (index, server) in plan.servers.iter().enumerate() {
            let name = name(plan, round, index);
            let answered = exchange_tcp(plan, *server, &name).map_err(|error| {
                io::Error::new(error.kind(), format!("{server} over TCP: {error}"))
            })?;
            asked.push(Asked { server: *server, name, id: None, answered });
        }
        std::thread::sleep(plan.gap);
    }
    Ok(asked)
}

/// One connection, one query; whether an answer with its ID came.
fn exchange_tcp(plan: &Plan, server: SocketAddr, name: &str) -> io::Result<bool> {
    let socket = socket(SocketType::STREAM, local(plan, server))?;
    // Bounds the connection as well (RFC 9293 has minutes).
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(PATIENCE))?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
    rustix::net::connect(&socket, &server)?;
    let mut stream = TcpStream::from(socket);
    let (id, bytes) = query(name)?;
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
    stream.write_all(&[&length, &bytes[..]].concat())?;
    let mut header = [0; 4];
    let answered = stream.read_exact(&mut header).is_ok() && header[2..] == id.to_be_bytes();
    Ok(answered)
}
