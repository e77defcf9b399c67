//! Whoever asks the resolver: in the race, what the attacker makes it ask. A web page that names a
//! picture is enough for that.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use dnsalt_wire::dns::{Query, rrtype, write_query};
use domain::base::Message;
use domain::rdata::A;

use super::network::RESOLVER;
use crate::{Host, LabError};

/// How long it waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A client of the resolver.
#[derive(Debug)]
pub(super) struct Client {
    socket: UdpSocket,
    /// Changes with every query, so that late answers are told from new ones.
    id: u16,
}

impl Client {
    pub(super) fn new(host: &Host) -> Result<Self, LabError> {
        let socket = host.run(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect((RESOLVER, 53))?;
            Ok(socket)
        });
        let socket = socket.map_err(|cause: io::Error| LabError::Host {
            host: host.name().to_owned(),
            operation: "opening the client's socket",
            cause,
        })?;
        Ok(Client { socket, id: 0 })
    }

    /// Asks for the address of a name, and does not wait.
    pub(super) fn ask(&mut self, name: &str) -> Result<(), LabError> {
        self.id = self.id.wrapping_add(1);
        let query = Query { id: self.id, recursion_desired: true, name, qtype: rrtype::A };
        let mut buffer = [0; 512];
        let length =
            write_query(&mut buffer, &query).map_err(|why| failed(io::Error::other(why)))?;
        match self.socket.send(&buffer[..length]) {
            // The resolver does not listen yet, or not any more.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            result => result.map(drop).map_err(failed),
        }
    }

    /// The answer to what was asked last, if it is there within this time.
    pub(super) fn answer(&mut self, patience: Duration) -> Option<Answered> {
        let deadline = Instant::now() + patience;
        let mut buffer = [0; 4096];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let got = if left.is_zero() {
                self.socket.set_nonblocking(true).ok()?;
                let got = self.socket.recv(&mut buffer);
                self.socket.set_nonblocking(false).ok()?;
                got.ok()?
            } else {
                self.socket.set_read_timeout(Some(left)).ok()?;
                // Where nobody listens there is no answer to wait for, either.
                self.socket.recv(&mut buffer).ok()?
            };
            let Ok(message) = Message::from_octets(&buffer[..got]) else { continue };
            if message.header().id() != self.id {
                continue;
            }
            let first = message.answer().ok()?.limit_to::<A>().flatten().next();
            return Some(Answered { address: first.map(|record| record.data().addr()) });
        }
    }

    /// Asks and waits: the address, if there is one.
    pub(super) fn asks(&mut self, name: &str) -> Result<Option<Ipv4Addr>, LabError> {
        let begun = Instant::now();
        self.ask(name)?;
        let address = self.answer(PATIENCE).and_then(|answered| answered.address);
        if address.is_none() {
            // Who waits for a resolver asks often; not all the time.
            std::thread::sleep(Duration::from_millis(50).saturating_sub(begun.elapsed()));
        }
        Ok(address)
    }
}

/// A resolver's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    /// None when it could not resolve the name.
    pub(super) address: Option<Ipv4Addr>,
}

fn failed(cause: io::Error) -> LabError {
    LabError::Host { host: "client".to_owned(), operation: "asking the resolver", cause }
}
