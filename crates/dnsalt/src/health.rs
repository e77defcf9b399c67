//! Does a name still resolve? Asked before rules go in and after.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use dnsalt_wire::dns::Message;

use crate::query::{any_address, query, random_label};
use crate::resolv_conf;

/// Nothing is signed there, so no resolver can make up the answer from what it remembers: a new
/// name under it has to be asked for.
const DEFAULT_ZONE: &str = "root-servers.net";

/// How long one server may take; the whole check takes at most that for each server.
const PATIENCE: Duration = Duration::from_secs(3);

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// A name resolved, through this server.
    Resolves(IpAddr),
    /// It did not; in words, why.
    Fails(String),
    /// There is nobody to ask.
    NoServer,
}

/// Asks the servers of resolv.conf in turn, until one gives a good answer.
///
/// With a `name` given the answer must be NOERROR; else a new name is made up, and that it does
/// not exist is an answer too.
pub(crate) fn check(name: Option<&str>) -> Health {
    let servers = resolv_conf::first_hop();
    let mut failures = Vec::new();
    for server in &servers {
        match ask(*server, name) {
            Ok(()) => return Health::Resolves(*server),
            Err(failure) => failures.push(format!("{server}: {failure}")),
        }
    }
    if servers.is_empty() { Health::NoServer } else { Health::Fails(failures.join("; ")) }
}

fn ask(server: IpAddr, name: Option<&str>) -> Result<(), String> {
    let asked = name.map_or_else(|| format!("{}.{DEFAULT_ZONE}", random_label()), str::to_owned);
    let rcode =
        exchange(SocketAddr::new(server, 53), &asked).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                format!("no answer for {asked} in {} s", PATIENCE.as_secs())
            }
            _ => error.to_string(),
        })?;
    match rcode {
        0 => Ok(()),
        3 if name.is_none() => Ok(()),
        rcode => Err(format!("answered {} for {asked}", rcode_name(rcode))),
    }
}

/// One question and the response code of its answer. Asks twice, as a stub resolver does.
fn exchange(server: SocketAddr, name: &str) -> io::Result<u8> {
    let socket = UdpSocket::bind((any_address(server), 0))?;
    socket.connect(server)?;
    let (id, query) = query(name)?;
    let mut result = Err(io::ErrorKind::TimedOut.into());
    for _ in 0..2 {
        socket.send(&query)?;
        result = answer(&socket, id, Instant::now() + PATIENCE / 2);
        if result.is_ok() {
            break;
        }
    }
    result
}

/// Waits for the answer with this ID; what else comes is passed over.
fn answer(socket: &UdpSocket, id: u16, deadline: Instant) -> io::Result<u8> {
    let mut buffer = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = socket.recv(&mut buffer)?;
        if let Ok(message) = Message::parse(&buffer[..length])
            && message.is_response()
            && message.id() == id
        {
            return Ok(message.rcode());
        }
    }
}

fn rcode_name(rcode: u8) -> String {
    match rcode {
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        3 => "NXDOMAIN".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        other => format!("RCODE {other}"),
    }
}
