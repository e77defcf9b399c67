//! A capture to measure with: good queries and their replies, the same every time.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

const SERVERS: u64 = 2000;
const SECONDS: u64 = 600;
/// One of so many queries has EDNS: 3 of 10.
const EDNS: &[u8] = b"\0\0\x29\x04\xd0\0\0\x80\0\0\0";

/// The capture in this folder; made if it is not there.
pub(crate) fn made(folder: &Path, packets: u64, resolvers: u32) -> anyhow::Result<PathBuf> {
    let path = folder.join(format!("{packets}-{resolvers}.pcap"));
    if path.exists() {
        return Ok(path);
    }
    println!("making {}", path.display());
    // Whole or not at all.
    let unfinished = path.with_extension("part");
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&unfinished)?);
    // Microseconds, Ethernet.
    out.write_all(b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\x04\0\x01\0\0\0")?;
    let mut random = Random(1);
    for i in 0..packets / 2 {
        let time = i * SECONDS * 1_000_000 / (packets / 2);
        for packet in exchange(&mut random, resolvers, i) {
            let (seconds, micros) = (1_790_000_000 + time / 1_000_000, time % 1_000_000);
            let length = packet.len() as u64;
            for word in [seconds, micros, length, length] {
                out.write_all(&u32::try_from(word)?.to_le_bytes())?;
            }
            out.write_all(&packet)?;
        }
    }
    out.into_inner()?.sync_all()?;
    std::fs::rename(&unfinished, &path)?;
    Ok(path)
}

/// A query and its reply.
fn exchange(random: &mut Random, resolvers: u32, i: u64) -> [Vec<u8>; 2] {
    let client = 0x0a00_0000 + u32::try_from(random.below(u64::from(resolvers))).unwrap_or(0);
    let server = 0xc000_0200 + u32::try_from(random.below(SERVERS)).unwrap_or(0);
    let port = 1024 + u16::try_from(random.below(64_512)).unwrap_or(0);
    let id = u16::try_from(random.below(65_536)).unwrap_or(0);
    let edns = if random.below(10) < 3 { EDNS } else { &[] };
    let more = u16::from(!edns.is_empty());
    let label = format!("{:x}", i.wrapping_mul(0x9e37_79b9));
    let mut question = vec![u8::try_from(label.len()).unwrap_or(0)];
    question.extend_from_slice(label.as_bytes());
    question.extend_from_slice(b"\x07example\x03com\0\0\x01\0\x01");
    let message = |flags: u16, answers: u16, records: &[u8]| {
        let mut bytes = Vec::with_capacity(128);
        for word in [id, flags, 1, answers, 0, more] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        [&bytes[..], &question, records, edns].concat()
    };
    let record = b"\xc0\x0c\0\x01\0\x01\0\0\x0e\x10\0\x04\xc0\0\x02\x50";
    [
        frame((client, port), (server, 53), &message(0x0100, 0, &[])),
        frame((server, 53), (client, port), &message(0x8180, 1, record)),
    ]
}

/// Ethernet, IPv4 and UDP around a message.
fn frame(from: (u32, u16), to: (u32, u16), message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len() + 8).unwrap_or(0);
    let mut bytes = Vec::with_capacity(42 + message.len());
    bytes.extend_from_slice(b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\0\x45\0");
    for word in [length + 20, 0, 0, 0x4011, 0] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes.extend_from_slice(&from.0.to_be_bytes());
    bytes.extend_from_slice(&to.0.to_be_bytes());
    let sum: u32 =
        bytes[14..34].chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1])).sum();
    let sum = !(sum + (sum >> 16)) & 0xffff;
    bytes[24..26].copy_from_slice(&u16::try_from(sum).unwrap_or(0).to_be_bytes());
    for word in [from.1, to.1, length, 0] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes.extend_from_slice(message);
    bytes
}

/// `SplitMix64`.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u64::try_from((u128::from(x ^ (x >> 31)) * u128::from(bound)) >> 64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dnsalt_wire::dns::Message;
    use dnsalt_wire::ip::Packet;
    use dnsalt_wire::link::{LinkType, Network, network};
    use dnsalt_wire::udp::Udp;

    #[test]
    fn what_is_made_can_be_read() {
        let mut random = Random(1);
        for i in 0..100 {
            let packets = exchange(&mut random, 10, i);
            let read = packets.each_ref().map(|packet| {
                let Ok(Network::Ip(bytes)) = network(LinkType::ETHERNET, packet) else { panic!() };
                let udp = Udp::parse(Packet::parse(bytes).unwrap().transport().payload).unwrap();
                let message = Message::parse(udp.payload()).unwrap();
                message.question().unwrap();
                (message.id(), message.is_response(), udp.payload().len())
            });
            assert_eq!((read[0].0, read[0].1, read[1].1), (read[1].0, false, true));
            assert_eq!(read[1].2, read[0].2 + 16);
        }
    }
}
