//! Load for measurements: queries as fast as two threads can make and answer them, each answer checked.
//!
//! ```text
//!   Generator, on the client ── raw socket ──▶ gateway ──▶ AF_PACKET ── Responder, on the server
//!            ◀── AF_PACKET ────────────────────────────────── raw socket ──┘
//! ```
//!
//! Neither has sockets of UDP: packets are written from the IP header on, so that a query can have any
//! source port and address, and a server any number of addresses. The hosts' own IP drops what it gets,
//! as the addresses are not theirs.

mod generator;
mod packet;
mod responder;
mod socket;

pub use generator::{Generator, Outcome, Shape};
pub use packet::{QUERY, REPLY, Tag, query, reply, tag};
pub use responder::Responder;

use std::net::Ipv4Addr;

use crate::{Host, LabError, link};

/// Where queries come from, beside the client's own address: [`Shape::Fresh`] uses four of them.
pub const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 54, 8, 1);
/// The first of the servers' addresses; as many as one likes follow.
pub const SERVERS: Ipv4Addr = Ipv4Addr::new(10, 55, 0, 1);
/// The gateway's address towards clients, for programs that forward.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 54, 1, 1);

/// A client, a gateway and a server.
///
/// ```text
///   client eth0 ───── lan0 gateway wan0 ───── eth0 server
///   10.54.1.2     10.54.1.1      10.54.2.1     10.54.2.2
///   and behind it 10.54.8.0/24                 and behind it 10.55.0.0/16
/// ```
#[derive(Debug)]
pub struct Path {
    /// Where the generator is.
    pub client: Host,
    /// What is measured.
    pub gateway: Host,
    /// Where the responder is.
    pub server: Host,
}

impl Path {
    /// Builds it, without any rules.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new() -> Result<Self, LabError> {
        let (client, gateway, server) =
            (Host::new("client")?, Host::new("gateway")?, Host::new("server")?);
        link((&client, "eth0"), (&gateway, "lan0"))?;
        link((&gateway, "wan0"), (&server, "eth0"))?;
        client.address("eth0", "10.54.1.2/24")?;
        gateway.address("lan0", "10.54.1.1/24")?;
        gateway.address("wan0", "10.54.2.1/24")?;
        server.address("eth0", "10.54.2.2/24")?;
        client.route("default", GATEWAY.into())?;
        server.route("default", Ipv4Addr::new(10, 54, 2, 1).into())?;
        gateway.route("10.54.8.0/24", Ipv4Addr::new(10, 54, 1, 2).into())?;
        gateway.route("10.55.0.0/16", Ipv4Addr::new(10, 54, 2, 2).into())?;
        gateway.enable_forwarding()?;
        // Neighbours are known before anybody is in a hurry.
        client.sh("ping -c 1 -W 2 10.54.2.2 > /dev/null || true")?;
        Ok(Path { client, gateway, server })
    }
}
