//! Queries that nobody can have foreseen: by their ID, and by names made up for the purpose.

use std::io;
use std::net::{IpAddr, SocketAddr};

use dnsalt_wire::dns::{self, Query, rrtype};

/// A query for the address of a name, with a random ID; the ID and the bytes.
///
/// # Errors
/// When the name is none.
pub(crate) fn query(name: &str) -> io::Result<(u16, Vec<u8>)> {
    let id = u16::from_be_bytes(random());
    let mut buffer = [0; 512];
    let query = Query { id, recursion_desired: true, name, qtype: rrtype::A };
    let length = dns::write_query(&mut buffer, &query)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, format!("{name}: {error}")))?;
    Ok((id, buffer[..length].to_vec()))
}

/// Any address of this machine, for asking a server of one family.
pub(crate) fn any_address(server: SocketAddr) -> IpAddr {
    if server.is_ipv4() { [0; 4].into() } else { [0; 16].into() }
}

/// Eight hexadecimal digits that nobody has asked for before.
pub(crate) fn random_label() -> String {
    format!("{:08x}", u32::from_be_bytes(random()))
}

/// Random bytes of the kernel.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Cannot fail with these flags once the kernel has booted; short reads only above 256 bytes.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    bytes
}
