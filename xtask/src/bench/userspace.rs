//! The peer class "user space": a program that gives each query a random port and ID, and each reply its
//! own again, by NFQUEUE. As little as that can be: no timers, no attackers, IPv4.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;

use anyhow::Context as _;
use nfq::{Queue, Verdict};

/// The number of its queue.
pub(super) const QUEUE: u16 = 53;

/// Queries that it remembers; the oldest is forgotten.
const MOST: usize = 65_536;

/// What a reply comes back to, and from whom: server, port, ID.
type Salted = (Ipv4Addr, u16, u16);

/// Rewrites what the rules of the network it runs in send to its queue, until it is ended.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut queue = Queue::open().context("opening the queue")?;
    queue.bind(QUEUE).context("binding the queue")?;
    queue.set_queue_max_len(QUEUE, 65_536)?;
    queue.set_recv_enobufs(false)?;
    let mut rewriter = Rewriter::default();
    loop {
        let mut message = queue.recv().context("waiting for packets")?;
        let known = rewriter.rewrite(message.get_payload_mut());
        message.set_verdict(if known.is_some() { Verdict::Accept } else { Verdict::Drop });
        queue.verdict(message).context("sending packets on")?;
    }
}

/// What it knows of the queries that it sent.
#[derive(Default)]
struct Rewriter {
    queries: HashMap<Salted, (u16, u16)>,
    order: VecDeque<Salted>,
}

impl Rewriter {
    /// Rewrites a packet; none if it is no DNS, or a reply that nobody waits for.
    fn rewrite(&mut self, packet: &mut [u8]) -> Option<()> {
        let header = usize::from(packet.first()? & 15) * 4;
        let address = |at: usize| {
            packet
                .get(at..at + 4)
                .and_then(|bytes| <[u8; 4]>::try_from(bytes).ok())
                .map(Ipv4Addr::from)
        };
        let (from, to) = (address(12)?, address(16)?);
        let datagram = packet.get_mut(header..).filter(|datagram| datagram.len() >= 20)?;
        let (source, target, id) = (word(datagram, 0), word(datagram, 2), word(datagram, 8));
        if target == 53 {
            let salted = self.unused(to);
            self.queries.insert(salted, (source, id));
            self.order.push_back(salted);
            if self.order.len() > MOST {
                self.order.pop_front().and_then(|oldest| self.queries.remove(&oldest));
            }
            replace(datagram, 0, salted.1);
            replace(datagram, 8, salted.2);
        } else {
            let (port, id) = self.queries.remove(&(from, target, id))?;
            replace(datagram, 2, port);
            replace(datagram, 8, id);
        }
        Some(())
    }

    fn unused(&self, server: Ipv4Addr) -> Salted {
        loop {
            let salted = (server, fastrand::u16(1024..), fastrand::u16(..));
            if !self.queries.contains_key(&salted) {
                return salted;
            }
        }
    }
}

fn word(datagram: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([datagram[at], datagram[at + 1]])
}

/// Puts a word there, and corrects the checksum as RFC 1624 says; with zero there is none.
fn replace(datagram: &mut [u8], at: usize, new: u16) {
    let (old, sum) = (word(datagram, at), word(datagram, 6));
    datagram[at..at + 2].copy_from_slice(&new.to_be_bytes());
    if sum != 0 {
        let total = u32::from(!sum) + u32::from(!old) + u32::from(new);
        let folded = (total & 0xffff) + (total >> 16);
        let folded = (folded & 0xffff) + (folded >> 16);
        let sum = !u16::try_from(folded).unwrap_or(0);
        datagram[6..8].copy_from_slice(&(if sum == 0 { 0xffff } else { sum }).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A query from 10.0.0.1, port 44444, with ID 7, to 10.0.0.2; its checksum counts ones from 53 on.
    fn query() -> Vec<u8> {
        let mut packet = vec![0; 40];
        packet[0] = 0x45;
        packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        packet[20..28].copy_from_slice(&[0xad, 0x9c, 0, 53, 0, 20, 0, 0]);
        packet[29] = 7;
        let sum = !sum(&packet[12..]);
        packet[26..28].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    fn sum(bytes: &[u8]) -> u16 {
        let total: u32 = (0..bytes.len()).step_by(2).map(|at| u32::from(word(bytes, at))).sum();
        let folded = (total & 0xffff) + (total >> 16);
        u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap()
    }

    #[test]
    fn a_reply_comes_back_to_what_was_asked_and_only_once() {
        let mut rewriter = Rewriter::default();
        let mut packet = query();
        rewriter.rewrite(&mut packet).unwrap();
        assert_ne!(packet, query());
        assert_eq!(sum(&packet[12..]), 0xffff, "{packet:?}");
        // The server turns addresses and ports round, which leaves the sum as it is.
        let (front, back) = packet.split_at_mut(16);
        front[12..].swap_with_slice(&mut back[..4]);
        packet[20..24].rotate_left(2);
        let mut again = packet.clone();
        rewriter.rewrite(&mut packet).unwrap();
        assert_eq!((&packet[22..24], &packet[28..30]), (&query()[20..22], &query()[28..30]));
        assert_eq!(sum(&packet[12..]), 0xffff, "{packet:?}");
        assert!(rewriter.rewrite(&mut again).is_none());
    }

    #[test]
    fn bytes_that_are_no_query_are_refused() {
        for length in 0..40 {
            assert!(Rewriter::default().rewrite(&mut query()[..length]).is_none(), "{length}");
        }
    }
}
