//! The watching half: what passes an interface, as it is on the wire.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::anyhow;
use dnsalt_capture::{Direction, Live};
use dnsalt_wire::dns::{self, Message};
use dnsalt_wire::ip::{Packet, TCP, UDP};
use dnsalt_wire::tcp::Tcp;
use dnsalt_wire::udp::Udp;

/// A DNS message of ours, as it passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sighting {
    pub(crate) time: SystemTime,
    pub(crate) interface: String,
    pub(crate) outgoing: bool,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) tcp: bool,
    pub(crate) id: u16,
    pub(crate) response: bool,
    pub(crate) rcode: u8,
    /// In lower case, without the dot at its end.
    pub(crate) name: String,
}

/// Watches interfaces until it is stopped.
pub(crate) struct Wire {
    threads: Vec<JoinHandle<anyhow::Result<Vec<Sighting>>>>,
    stop: Arc<AtomicBool>,
}

impl Wire {
    /// Starts to collect what lies under `zone` on each of the named captures.
    pub(crate) fn watch(captures: Vec<(String, Live)>, zone: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let suffix = format!(".{zone}");
        let threads = captures
            .into_iter()
            .map(|(interface, live)| {
                let (stop, suffix) = (Arc::clone(&stop), suffix.clone());
                std::thread::spawn(move || collect(live, &interface, &suffix, &stop))
            })
            .collect();
        Wire { threads, stop }
    }

    /// Ends it; what was seen, in the order of time.
    pub(crate) fn stop(mut self) -> anyhow::Result<Vec<Sighting>> {
        // What was sent just now may still be on its way to us.
        std::thread::sleep(Duration::from_millis(50));
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for thread in self.threads.drain(..) {
            all.extend(thread.join().map_err(|_| anyhow!("the capture stopped unexpectedly"))??);
        }
        all.sort_by_key(|sighting| sighting.time);
        Ok(all)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn collect(
    mut live: Live,
    interface: &str,
    suffix: &str,
    stop: &AtomicBool,
) -> anyhow::Result<Vec<Sighting>> {
    let mut seen = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        while let Some(frame) = live.next(Duration::from_millis(20))? {
            let outgoing = frame.direction == Direction::Outgoing;
            let Some(mut sighting) = read(frame.data) else {
                continue;
            };
            if sighting.name.ends_with(suffix) {
                sighting.time = frame.time;
                sighting.outgoing = outgoing;
                interface.clone_into(&mut sighting.interface);
                seen.push(sighting);
            }
        }
    }
    Ok(seen)
}

/// The DNS message of a packet, if it is one; time, direction and interface are the caller's.
fn read(packet: &[u8]) -> Option<Sighting> {
    let packet = Packet::parse(packet).ok()?;
    let transport = Some(packet.transport()).filter(|transport| transport.first_fragment)?;
    let (source_port, destination_port, payload) = match transport.protocol {
        UDP => {
            let udp = Udp::parse(transport.payload).ok()?;
            (udp.src_port(), udp.dst_port(), udp.payload())
        }
        TCP => {
            let tcp = Tcp::parse(transport.payload).ok()?;
            (tcp.src_port(), tcp.dst_port(), dns::tcp_payload(tcp.payload())?)
        }
        _ => return None,
    };
    let message = Message::parse(payload).ok()?;
    let name = message.question().ok()?.name.to_string().to_ascii_lowercase();
    Some(Sighting {
        time: SystemTime::UNIX_EPOCH,
        interface: String::new(),
        outgoing: false,
        source: SocketAddr::new(packet.src(), source_port),
        destination: SocketAddr::new(packet.dst(), destination_port),
        tcp: transport.protocol == TCP,
        id: message.id(),
        response: message.is_response(),
        rcode: message.rcode(),
        name: name.trim_end_matches('.').to_owned(),
    })
}
